"""The regression line equals SciPy's, with ties and logarithms."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from interp_registry.regression import fit_line, ranks

values = st.lists(st.integers(-50, 50).map(float), min_size=3, max_size=30)


@given(values, st.randoms(use_true_random=False))
def test_correlations_and_line_equal_those_of_scipy(x, random):
    y = [random.choice([a, -a, random.uniform(-9, 9)]) for a in x]
    found = fit_line(x, y)
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert math.isnan(found.pearson)
        return
    slope, intercept, pearson, *_ = stats.linregress(x, y)
    spearman = stats.spearmanr(x, y).statistic
    assert np.allclose([found.slope, found.intercept], [slope, intercept], atol=1e-9)
    assert np.allclose([found.pearson, found.spearman], [pearson, spearman], atol=1e-9)


@given(values)
def test_ranks_equal_those_of_scipy(x):
    assert ranks(x) == list(stats.rankdata(x))


def test_points_without_a_logarithm_are_left_out():
    found = fit_line([1.0, 10.0, 100.0, -1.0, math.nan], [1.0, 2.0, 3.0, 9.0, 9.0], x_log=True)
    assert found.n == 3
    assert found.slope == pytest.approx(1.0)
    assert found.sentence == "Pearson r = +1.00, Spearman rho = +1.00, n = 3"


def test_too_few_points_leave_everything_undefined():
    assert fit_line([1.0], [1.0]).sentence == "Pearson r = undefined, Spearman rho = undefined, n = 1"

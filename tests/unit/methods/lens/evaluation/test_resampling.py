"""Bootstrap intervals: they hold the truth, and whole documents are drawn."""

import math

import pytest
import torch

from interp_plugins.methods.lens.evaluation.resampling import Estimate, mean_estimate, ratio_estimate


def test_a_ratio_is_a_ratio_of_sums_not_a_mean_of_ratios():
    found = ratio_estimate(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0]), torch.tensor([0, 1]))
    assert found.value == 2.0
    found = ratio_estimate(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 9.0]), torch.tensor([0, 1]))
    assert found.value == pytest.approx(0.4)
    assert found.low <= found.value <= found.high


def test_the_interval_of_a_mean_is_about_that_of_the_normal_theory():
    values = torch.randn(400, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = mean_estimate(values, torch.arange(400))
    half = 1.96 * float(values.std()) / 20
    assert found.high - found.low == pytest.approx(2 * half, rel=0.1)


def test_copies_of_a_row_in_one_document_do_not_narrow_the_interval():
    values = torch.randn(50, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    once = mean_estimate(values, torch.arange(50))
    copied = mean_estimate(values.repeat_interleave(10), torch.arange(50).repeat_interleave(10))
    believed = mean_estimate(values.repeat_interleave(10), torch.arange(500))
    assert copied.low == pytest.approx(once.low)
    assert copied.high == pytest.approx(once.high)
    assert believed.high - believed.low < 0.5 * (once.high - once.low)


def test_rows_without_a_value_are_left_out_and_one_document_has_no_interval():
    found = mean_estimate(torch.tensor([1.0, math.nan, 3.0]), torch.tensor([0, 1, 0]))
    assert found.value == 2.0
    assert math.isnan(found.low)
    assert math.isnan(mean_estimate(torch.tensor([math.nan]), torch.tensor([0])).value)


def test_a_complement_turns_the_interval_round():
    assert Estimate(0.25, 0.125, 0.5).complement() == Estimate(0.75, 0.5, 0.875)

"""What a metric's flags say holds for generated data: range, symmetry, invariances, self-similarity, blindness to sample order."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interp_plugins.methods.align.api import align
from interp_plugins.methods.align.metric_choice import metric
from interp_registry.choices import choice_names
from interp_registry.discovery import discover

OPTIONS = {"svcca": {"dim": 3}, "rsa": {"comparison": "pearson"}}
VARIANTS = [
    *((name, OPTIONS.get(name, {})) for name in choice_names(discover().registry.kinds()["metric"])),
    ("rsa", {"dissimilarity": "euclidean"}),
    ("rsa", {"dissimilarity": "cosine"}),
    ("cka", {"kernel": "rbf", "sigma": 4.0}),
    ("distance_correlation", {"biased": False}),
    ("linear_predictivity", {"direction": "mean"}),
    ("cca", {"dim": 3}),
]
EXAMPLES = settings(max_examples=6, deadline=None, derandomize=True)
data = st.tuples(st.integers(0, 10_000), st.integers(24, 40), st.floats(0.2, 3.0))

every_metric = pytest.mark.parametrize(
    ("name", "options"), VARIANTS, ids=lambda v: v if isinstance(v, str) else str(v or "")
)


def make(seed, n, noise, widths=(6, 8)):
    generator = torch.Generator().manual_seed(seed)
    latent = torch.randn(n, 3, generator=generator).double()
    return [
        latent @ torch.randn(3, w, generator=generator).double()
        + noise * torch.randn(n, w, generator=generator).double()
        + 0.5
        for w in widths
    ]


def tolerance(name):
    return 1e-5 if name.startswith("angular") else 1e-8


@every_metric
@EXAMPLES
@given(data)
def test_scores_lie_in_the_stated_range(name, options, drawn):
    x, y = make(*drawn)
    chosen = metric(name, **options)
    low, high = chosen.info.range
    for score in (chosen(x, y), chosen(x, x), chosen(y, x)):
        assert low is None or score >= low - tolerance(name)
        assert high is None or score <= high + tolerance(name)


@every_metric
@EXAMPLES
@given(data)
def test_symmetric_metrics_are_symmetric_and_others_are_not_said_to_be(name, options, drawn):
    x, y = make(*drawn)
    chosen = metric(name, **options)
    if chosen.info.symmetric:
        assert chosen(x, y) == pytest.approx(chosen(y, x), abs=tolerance(name))


@every_metric
@EXAMPLES
@given(data)
def test_a_layer_agrees_with_itself_as_stated(name, options, drawn):
    x, _ = make(*drawn)
    chosen = metric(name, **options)
    if chosen.info.self_score is not None:
        assert chosen(x, x) == pytest.approx(chosen.info.self_score, abs=tolerance(name))


@every_metric
@EXAMPLES
@given(data, st.floats(0.01, 100.0))
def test_stated_invariances_hold_on_both_sides(name, options, drawn, scale):
    x, y = make(*drawn)
    chosen = metric(name, **options)
    score = chosen(x, y)
    for kind in sorted(chosen.info.invariances):
        for moved in ((transformed(x, kind, drawn[0], scale), y), (x, transformed(y, kind, drawn[0], scale))):
            assert chosen(*moved) == pytest.approx(score, abs=1e-6), kind


def transformed(x, kind, seed, scale):
    generator = torch.Generator().manual_seed(seed + 1)
    n, d = x.shape
    square = torch.randn(d, d, generator=generator).double()
    if kind == "rotation":
        return x @ torch.linalg.qr(square).Q
    if kind == "invertible":
        return x @ (square + 4 * torch.eye(d).double())
    if kind == "scaling":
        return scale * x
    if kind == "translation":
        return x + torch.randn(d, generator=generator).double()
    assert kind == "row_scaling"
    return x * (0.1 + torch.rand(n, 1, generator=generator).double())


@every_metric
@EXAMPLES
@given(data)
def test_the_order_of_the_samples_does_not_matter_when_both_are_moved(name, options, drawn):
    x, y = make(*drawn)
    chosen = metric(name, **options)
    if name == "linear_predictivity":
        return  # folds are tied to the rows
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(drawn[0]))
    assert chosen(x[order], y[order]) == pytest.approx(chosen(x, y), abs=tolerance(name))


@every_metric
def test_breaking_the_pairing_lowers_agreement(name, options):
    x, y = make(0, 40, 0.2)
    neighbours = {"topk": 4} if "topk" in metric(name).options else {}
    chosen = metric(name, **options, **neighbours)
    sign = 1 if chosen.info.higher_is_better else -1
    null = align([x], [y], metric=chosen, normalize=False, null=20, keep_null_scores=True).null_scores
    assert sign * chosen(x, y) > (sign * null).max()


@pytest.mark.parametrize("name", ["cka", "mutual_knn"])
def test_translation_is_no_invariance_of_inner_product_neighbours(name):
    x, y = make(0, 40, 0.2)
    chosen = metric(name)
    changed = abs(chosen(x + 5, y) - chosen(x, y)) > 1e-6
    assert changed == ("translation" not in chosen.info.invariances)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("mutual_knn", {"topk": 10}, 10 / 199),
        ("unbiased_cka", {}, 0.0),
        ("debiased_cka", {}, 0.0),
        ("distance_correlation", {"biased": False}, 0.0),
    ],
)
def test_known_null_means(name, options, expected):
    """The mean over permutations is within four standard errors of the value that theory gives."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(200, d, generator=generator) for d in (64, 300))
    chosen = metric(name, **options)
    assert chosen.info.has_known_null
    null = align([x], [y], metric=chosen, null=300, keep_null_scores=True).null_scores.ravel()
    assert abs(null.mean() - expected) < 4 * null.std() / np.sqrt(len(null))


def test_biased_cka_of_wide_independent_layers_is_far_from_zero_and_unbiased_is_not():
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(256, 1024, generator=generator) for _ in range(2))
    assert metric("cka")(x, y) > 0.7
    assert abs(metric("unbiased_cka")(x, y)) < 0.02

"""Every metric equals a slow implementation written from its definition."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from interp_plugins.methods.align.api import align
from interp_plugins.methods.align.metric_choice import metric
from interp_plugins.metrics.predictivity import fold_of_samples
from interp_registry.choices import choice_names
from interp_registry.discovery import discover

_path = Path(__file__).parents[2] / "reference" / "similarity.py"
_spec = importlib.util.spec_from_file_location("similarity_reference", _path)
slow = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(slow)

N, K = 40, 5
KNN = {"topk": K}
CASES = {
    "mutual_knn": (KNN, lambda x, y: slow.mutual_knn(x, y, K)),
    "cycle_knn": (KNN, lambda x, y: slow.cycle_knn(x, y, K)),
    "lcs_knn": (KNN, lambda x, y: slow.lcs_knn(x, y, K)),
    "edit_distance_knn": (KNN, lambda x, y: slow.edit_distance_knn(x, y, K)),
    "jaccard_knn": (KNN, lambda x, y: slow.jaccard_knn(x, y, K)),
    "rank_similarity": (KNN, lambda x, y: slow.rank_similarity(x, y, K)),
    "second_order_cosine": (KNN, lambda x, y: slow.second_order_cosine(x, y, K)),
    "cka": ({}, slow.cka),
    "unbiased_cka": ({}, lambda x, y: slow.cka(x, y, biased=False)),
    "debiased_cka": ({}, lambda x, y: slow.cka(x, y, biased=False)),
    "streaming_cka": ({}, slow.cka),
    "rbf_cka": ({}, lambda x, y: slow.cka(x, y, kernel="rbf")),
    "angular_cka": ({}, lambda x, y: math.acos(slow.cka(x, y))),
    "cknna": (KNN, lambda x, y: slow.cknna(x, y, K)),
    "svcca": ({"dim": 4}, lambda x, y: slow.svcca(x, y, 4)),
    "cca": ({}, lambda x, y: slow.cca(x, y).mean()),
    "pwcca": ({}, slow.pwcca),
    "procrustes": ({}, slow.procrustes),
    "angular_procrustes": ({}, lambda x, y: math.acos(1 - slow.procrustes(x, y) / 2)),
    "rsa": ({}, lambda x, y: slow.rsa(x, y, "spearman", "correlation")),
    "distance_correlation": ({}, slow.distance_correlation),
    "linear_predictivity": (
        {"folds": 4, "alpha": 0.3},
        lambda x, y: slow.linear_predictivity(x, y, fold_of_samples(N, 4, 0).tolist(), 0.3),
    ),
}
OPTIONS = [
    ("cka", {"kernel": "rbf", "sigma": 3.0}, lambda x, y: slow.cka(x, y, kernel="rbf", sigma=3.0)),
    ("cka", {"kernel": "rbf", "biased": False}, lambda x, y: slow.cka(x, y, kernel="rbf", biased=False)),
    ("cknna", {"topk": K, "biased": True}, lambda x, y: slow.cknna(x, y, K, biased=True)),
    ("cca", {"squared": True}, lambda x, y: (slow.cca(x, y) ** 2).mean()),
    ("distance_correlation", {"biased": False}, slow.distance_correlation_unbiased),
    *[
        ("rsa", {"comparison": c, "dissimilarity": d}, lambda x, y, c=c, d=d: slow.rsa(x, y, c, d))
        for c in ("pearson", "spearman", "kendall")
        for d in ("correlation", "cosine", "euclidean", "squared")
    ],
]


@pytest.fixture(scope="module")
def models():
    generator = torch.Generator().manual_seed(3)
    latent = torch.randn(N, 4, generator=generator).double()

    def layers(widths):
        return [
            latent @ torch.randn(4, width, generator=generator).double()
            + 0.5 * torch.randn(N, width, generator=generator).double()
            + 0.3
            for width in widths
        ]

    return layers([7, 9, 6]), layers([8, 6])


def assert_equals(models, chosen, definition):
    x, y = models
    scores = align(x, y, metric=chosen, normalize=False).scores
    expected = [[definition(a.numpy(), b.numpy()) for b in y] for a in x]
    np.testing.assert_allclose(scores, expected, rtol=1e-7, atol=1e-7)


def test_every_metric_that_ships_has_a_definition_here():
    assert {name for name in choice_names(discover().registry.kinds()["metric"]) if name in CASES} == set(CASES)
    shipped = [
        name
        for name in choice_names(discover().registry.kinds()["metric"])
        if metric(name).config.impl.startswith("interp_plugins.")
    ]
    assert set(shipped) == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_scores_equal_the_definition(models, name):
    options, definition = CASES[name]
    assert_equals(models, metric(name, **options), definition)


@pytest.mark.parametrize(
    ("name", "options", "definition"), OPTIONS, ids=lambda v: str(v) if isinstance(v, dict) else None
)
def test_scores_equal_the_definition_with_other_options(models, name, options, definition):
    assert_equals(models, metric(name, **options), definition)


@pytest.mark.parametrize("name", CASES)
def test_permuting_samples_by_reindexing_equals_preparing_again(models, name):
    """The fast null against the obvious one: shuffle the features of y, prepare and score again."""
    from interp_plugins.methods.align.calibration import null_scores, permutations

    x, y = models
    chosen, drawn = metric(name, **CASES[name][0]), permutations(N, 5, seed=1)
    fast = null_scores(chosen, chosen.prepare(x), chosen.prepare(y), drawn, y)
    again = [chosen.score_pairs(chosen.prepare(x), chosen.prepare([layer[p] for layer in y])) for p in drawn]
    np.testing.assert_allclose(fast, torch.stack(again).numpy(), rtol=0, atol=1e-9)
    swapped = null_scores(chosen, chosen.prepare(y), chosen.prepare(x), drawn, x)
    again = [chosen.score_pairs(chosen.prepare(y), chosen.prepare([layer[p] for layer in x])) for p in drawn]
    np.testing.assert_allclose(swapped, torch.stack(again).numpy(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_single_precision_agrees_with_double(models, name):
    x, y = models
    chosen = metric(name, **CASES[name][0])
    double = align(x, y, metric=chosen, normalize=False).scores
    single = align([a.float() for a in x], [b.float() for b in y], metric=chosen, normalize=False).scores
    np.testing.assert_allclose(single, double, rtol=0, atol=2e-6)


def test_both_directions_of_linear_predictivity(models):
    x, y = models
    forward = align(x, y, metric=metric("linear_predictivity"), normalize=False).scores
    backward = align(y, x, metric=metric("linear_predictivity", direction="backward"), normalize=False).scores
    mean = align(x, y, metric=metric("linear_predictivity", direction="mean"), normalize=False).scores
    reverse = align(y, x, metric=metric("linear_predictivity"), normalize=False).scores
    np.testing.assert_allclose(backward.T, forward, atol=1e-12)
    np.testing.assert_allclose(mean, (forward + reverse.T) / 2, atol=1e-12)

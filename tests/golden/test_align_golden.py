"""Scores of the published implementation on synthetic features, reproduced through the library's `align`."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from interp_plugins.methods.align.api import align, metric
from interp_plugins.metrics.preparation import clamp_threshold

HERE = Path(__file__).parent / "align"
GOLDEN = json.loads((HERE / "golden.json").read_text())
VARIANTS = {
    "raw": {"normalize": False},
    "raw_l2": {"normalize": True},
    "clampq95_l2": {"normalize": True, "clamp": "quantile"},
    "clampq95exact_l2": {"normalize": True, "clamp": "quantile-exact"},
}
NEIGHBOUR_METRICS = ["mutual_knn", "cycle_knn", "lcs_knn", "edit_distance_knn"]
EXACT, SINGLE, DOUBLE = 1e-6, 2e-6, 1e-7

variants = pytest.mark.parametrize("variant", VARIANTS)
ks = pytest.mark.parametrize("k", [5, 10])


@pytest.fixture(scope="module")
def features():
    tensors = load_file(HERE / "golden.safetensors")
    return [tensors[f"x.{i}"] for i in range(3)], [tensors[f"y.{j}"] for j in range(2)]


@pytest.fixture(scope="module")
def prepared_double(features):
    """Features prepared in float32, as the published code does, then cast to float64."""
    from interp_plugins.metrics.preparation import prepare_features

    return {
        name: [
            [layer.double() for layer in prepare_features(side, options.get("clamp"), options["normalize"])]
            for side in features
        ]
        for name, options in VARIANTS.items()
    }


def expect(result, variant, key, tolerance):
    np.testing.assert_allclose(result.scores, np.array(GOLDEN["variants"][variant][key]), rtol=0, atol=tolerance)
    assert result.scores.dtype == np.float64


@variants
@ks
@pytest.mark.parametrize("name", NEIGHBOUR_METRICS)
def test_neighbour_metrics_have_exactly_the_published_neighbours(features, variant, k, name):
    expect(align(*features, metric=name, topk=k, **VARIANTS[variant]), variant, f"{name}_k{k}", EXACT)


@variants
@ks
@pytest.mark.parametrize("name", ["cycle_knn", "cknna"])
def test_asymmetric_metrics_keep_the_order_of_x_and_y(features, variant, k, name):
    x, y = features
    swapped = align(y, x, metric=name, topk=k, compat="platonic", **VARIANTS[variant])
    expected = np.array(GOLDEN["variants"][variant][f"{name}_swapped_k{k}"])
    np.testing.assert_allclose(swapped.scores.T, expected, rtol=0, atol=SINGLE)


@variants
@pytest.mark.parametrize("name", ["cka", "unbiased_cka"])
def test_cka_family_in_single_and_double_precision(features, prepared_double, variant, name):
    expect(align(*features, metric=name, compat="platonic", **VARIANTS[variant]), variant, name, SINGLE)
    double = align(*prepared_double[variant], metric=name, compat="platonic", normalize=False)
    expect(double, variant, f"{name}_f64", DOUBLE)


@variants
def test_cka_with_an_rbf_kernel_of_width_one(features, variant):
    kernel = metric("cka", kernel="rbf", sigma=1.0)
    expect(align(*features, metric=kernel, compat="platonic", **VARIANTS[variant]), variant, "cka_rbf_sigma1", SINGLE)


@variants
@ks
def test_cknna_unbiased_biased_and_in_double_precision(features, prepared_double, variant, k):
    options = VARIANTS[variant]
    expect(align(*features, metric="cknna", topk=k, compat="platonic", **options), variant, f"cknna_k{k}", SINGLE)
    biased = metric("cknna", biased=True, topk=k, compat="platonic")
    expect(align(*features, metric=biased, **options), variant, f"cknna_biased_k{k}", SINGLE)
    double = align(*prepared_double[variant], metric="cknna", topk=k, compat="platonic", normalize=False)
    expect(double, variant, f"cknna_f64_k{k}", DOUBLE)


@variants
def test_exact_svcca(features, variant):
    expect(align(*features, metric="svcca", **VARIANTS[variant]), variant, "svcca_dim10_exact", 1e-6)


@variants
@pytest.mark.skipif(torch.__version__ != GOLDEN["torch"], reason="the sketch depends on the build of torch")
def test_published_svcca_with_the_seed_reset_for_every_pair(features, variant):
    result = align(*features, metric="svcca", compat="platonic", **VARIANTS[variant])
    expect(result, variant, "svcca_dim10_manual_seed0_per_pair", 1e-5)


@variants
@pytest.mark.parametrize("name", [*NEIGHBOUR_METRICS, "cka", "unbiased_cka", "cknna"])
def test_best_pair_is_the_published_one_with_x_first(features, variant, name):
    published = GOLDEN["variants"][variant]["compute_score_best(x,y)"][f"{name}_k10"]
    score, layers = align(*features, metric=name, topk=10, compat="platonic", **VARIANTS[variant]).best
    assert list(layers) == published["indices"]
    assert score == pytest.approx(published["score"], abs=SINGLE)


@variants
def test_an_array_of_stacked_layers_scores_as_the_list_does(features, variant):
    x, y = features
    stacked = align(torch.stack(x, dim=1).numpy(), torch.stack(y, dim=1).numpy(), **VARIANTS[variant])
    expect(stacked, variant, "mutual_knn_k10", EXACT)


@pytest.mark.parametrize("key", ["x.0", "x.1", "x.2", "y.0", "y.1", "x_stacked", "y_stacked"])
def test_clamp_thresholds(features, key):
    side, _, index = key.partition(".")
    layers = features["xy".index(side[0])]
    group = layers if "stacked" in key else [layers[int(index)]]
    expected = GOLDEN["remove_outliers_thresholds"][key]
    assert clamp_threshold(group, expected["q"], exact=False) == pytest.approx(expected["nonexact"], abs=1e-6)
    assert clamp_threshold(group, expected["q"], exact=True) == pytest.approx(expected["exact"], abs=1e-6)

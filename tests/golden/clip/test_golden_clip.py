"""Reference values of losses, cuts and benchmark scores: every number within its tolerance."""

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from interp_plugins.losses.api import loss
from interp_plugins.losses.eigengap import laplacian_eigenvalues
from interp_plugins.losses.spectral import cross_singular_values
from interp_plugins.methods.bench import metrics
from interp_plugins.methods.cuts.bipartite import bipartite

FOLDER = Path(__file__).parent
CASES = {case["id"]: case for case in json.loads((FOLDER / "expected.json").read_text())["cases"]}


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    return load_file(FOLDER / "inputs.safetensors")


def ids(*prefixes: str) -> list[str]:
    return [name for name in CASES if name.startswith(prefixes)]


def assert_close(ours, right, tol: float) -> None:
    if isinstance(right, dict):
        for key, value in right.items():
            assert_close(ours[key], value, tol)
    elif isinstance(right, list):
        assert len(ours) >= len(right)
        for one, other in zip(ours, right, strict=False):
            assert_close(one, other, tol)
    else:
        assert abs(float(ours) - right) <= tol * max(1, abs(right))


def inputs(case, tensors):
    return [tensors[name] for name in case["inputs"]]


@pytest.mark.parametrize("name", ids("cka_"))
def test_cka(name, tensors):
    case = CASES[name]
    assert_close(loss("cka", **case["args"])(*inputs(case, tensors)), case["right"], case["tol"])
    assert_close(loss("cka", compat=True, **case["args"])(*inputs(case, tensors)), case["original"], case["tol"])


@pytest.mark.parametrize("name", ids("svd_"))
def test_cross_covariance_spectrum_and_loss(name, tensors):
    case = CASES[name]
    assert_close(loss("svd", reduction="sum", **case["args"])(*inputs(case, tensors)), case["right"], case["tol"])
    if "singular_values" in case:
        values = cross_singular_values(*inputs(case, tensors), normalize=case["args"]["normalize"], reduction="sum")
        assert_close(values, case["singular_values"], case["tol"])
        assert_close(loss("svd", compat=True, **case["args"])(*inputs(case, tensors)), case["original"], case["tol"])


@pytest.mark.parametrize("name", ids("clipsvd_"))
def test_pair_cosine_with_spectrum(name, tensors):
    case = CASES[name]
    ours = loss("clip_svd", reduction="sum", **case["args"])(*inputs(case, tensors))
    assert_close(ours, case["right"], case["tol"])
    assert_close(loss("clip_svd", compat=True, **case["args"])(*inputs(case, tensors)), case["original"], case["tol"])


@pytest.mark.parametrize("name", ids("infonce_"))
def test_infonce(name, tensors):
    case = CASES[name]
    assert_close(loss("infonce", **case["args"])(*inputs(case, tensors)), case["right"], case["tol"])


@pytest.mark.parametrize("name", ids("ncut_"))
def test_eigengap_loss_and_its_earlier_sign(name, tensors):
    case = CASES[name]
    assert_close(loss("ncut", **case["args"])(*inputs(case, tensors)), case["right"], case["tol"])
    assert_close(loss("ncut", compat=True, **case["args"])(*inputs(case, tensors)), case["original"], case["tol"])


@pytest.mark.parametrize("name", ids("lapeigs_"))
def test_laplacian_eigenvalues(name, tensors):
    case = CASES[name]
    assert_close(laplacian_eigenvalues(*inputs(case, tensors), **case["args"]), case["right"], case["tol"])


@pytest.mark.parametrize("name", ids("bipartite_"))
def test_bipartite_cut_has_the_right_spectrum_and_finds_the_planted_blocks(name, tensors):
    from sklearn.metrics import adjusted_rand_score

    case = CASES[name]
    cut = bipartite(*inputs(case, tensors), **case["args"])
    assert_close(cut.sigma, case["right"]["sigma"], case["tol"])
    assert_close(cut.laplacian_eigenvalues, case["right"]["laplacian_eigs_first6"], case["tol"])
    source = case["inputs"][0]
    planted = torch.cat([tensors[f"{source}_rows"], tensors[f"{source}_cols"]])
    assert adjusted_rand_score(planted, torch.cat([cut.row_labels, cut.column_labels])) == 1.0


def renamed(original: dict) -> dict:
    return {
        way: {key.replace("recall_at_", "recall@"): v for key, v in scores.items()} for way, scores in original.items()
    }


@pytest.mark.parametrize("name", ids("retr_"))
def test_retrieval(name, tensors):
    case = CASES[name]
    sides = inputs(case, tensors)
    if "texts" in case["args"]:
        sides = [sides[0], sides[1][::5]]
    ours = metrics.retrieval(*sides)
    if case["right"] is not None:
        assert_close(ours, case["right"], case.get("tol", 1e-6))
    if case["original"] is not None and name != "retr_ties":
        assert_close(metrics.retrieval(*sides, compat=True), renamed(case["original"]), 1e-6)


def test_tied_retrieval_counts_ties_as_wrong(tensors):
    ours = metrics.retrieval(tensors["img_tie"], tensors["txt_tie"])
    for way in ("i2t", "t2i"):
        assert ours[way]["recall@1"] == pytest.approx(2 / 3, abs=1e-9)
        assert ours[way]["mean_rank"] == pytest.approx(4 / 3, abs=1e-9)
        assert ours[way]["median_rank"] == 1.0


@pytest.mark.parametrize("name", ids("cls_"))
def test_classification(name, tensors):
    case = CASES[name]
    logits, labels = inputs(case, tensors)
    ours = metrics.classification(logits, labels)
    right = dict(case["right"])
    if logits.shape[1] < 5:
        assert right.pop("top5_accuracy") == 1.0
        assert math.isnan(ours["top5_accuracy"])
        assert metrics.classification(logits, labels, compat=True)["top5_accuracy"] == 1.0
    assert_close(ours, right, case["tol"])


@pytest.mark.parametrize("name", ids("wino_"))
def test_winoground(name, tensors):
    case = CASES[name]
    sides = inputs(case, tensors)
    sides = sides * 4 if len(sides) == 1 else sides
    assert_close(metrics.winoground(*sides), case["right"], case.get("tol", 1e-6))


def test_the_public_names_take_the_arguments_that_are_promised(tensors):
    import interp_cli as interp

    def right(name: str):
        return CASES[name]["right"], CASES[name]["tol"]

    x, y, unit_x, unit_y = (tensors[name] for name in ("X1", "Y1", "Xn1", "Yn1"))
    svd = interp.loss("svd", k=3, alpha=1.0, beta=0.5, normalize=True, reduction="sum")(x, y)
    assert_close(svd, *right("svd_1_k3_1"))
    mean = interp.loss("svd", k=3, alpha=1.0, beta=0.5, normalize=True, reduction="mean")(x, y)
    assert float(mean) == pytest.approx(float(svd) / len(x), rel=1e-5)
    both = interp.loss("clip_svd", k=3, alpha=1.0, beta=0.5, gamma=1.0, normalize=True, reduction="sum")(unit_x, unit_y)
    assert_close(both, *right("clipsvd_1_k3"))
    assert_close(interp.loss("cka", center=True)(tensors["X0"], tensors["Y0"]), *right("cka_0_c"))
    assert_close(interp.loss("ncut", k=2, alpha=1.0, beta=0.5)(tensors["lam0"]), *right("ncut_0_k2"))
    case = CASES["infonce_1"]
    assert_close(interp.loss("infonce", scale=1 / 0.07)(*inputs(case, tensors)), *right("infonce_1"))
    retrieval = interp.bench_metrics.retrieval(tensors["img_m"], tensors["txt_m"], owner=tensors["owner_m"])
    assert_close(retrieval, *right("retr_multi"))
    assert {"top1_accuracy", "top5_accuracy"} < set(
        interp.bench_metrics.classification(tensors["logits0"], tensors["labels0"])
    )
    quads = [tensors[f"w0_{cell}"] for cell in ("c0_i0", "c0_i1", "c1_i0", "c1_i1")]
    assert_close(interp.bench_metrics.winoground(*quads), *right("wino_0"))
    assert_close(interp.cuts.bipartite(tensors["A0"], n_clusters=3).sigma, right("bipartite_0")[0]["sigma"], 1e-5)


def test_every_case_is_covered():
    known = ids("cka_", "svd_", "clipsvd_", "infonce_", "ncut_", "lapeigs_", "bipartite_", "retr_", "cls_", "wino_")
    assert sorted(known) == sorted(CASES)
    assert len(CASES) == 69

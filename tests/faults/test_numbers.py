"""Numbers that are not what a method expects give a defined result or one clear error, never a silent wrong score."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from broken_models import Weights, changed_copy
from torch import Tensor

import interp_cli as interp
from interp_cli.__main__ import run as command
from interp_registry.choices import MetricConfig, choice_names
from interp_registry.discovery import discover
from interp_registry.errors import DataError

N, D = 40, 12


def drawn(n: int = N, d: int = D, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def changed(index: Any, value: Any) -> Tensor:
    x = drawn()
    x[index] = value
    return x


IMPOSSIBLE = {
    "a NaN": changed((3, 2), math.nan),
    "an infinity": changed((3, 2), math.inf),
    "constant features": torch.ones(N, D),
    "zeros": torch.zeros(N, D),
    "squares beyond float32": drawn() * 1e30,
    "squares below float32": drawn() * 1e-30,
    "no sample": drawn(0),
    "one sample": drawn(1),
    "two samples": drawn(2),
}
"""No metric can score these."""

ODD = {
    "a row of zeros": changed(5, 0.0),
    "duplicate rows": changed(slice(1, 10), 0.5),
    "a constant feature": changed((slice(None), 3), 7.0),
    "one feature": drawn(N, 1),
    "three samples": drawn(3),
    "fewer samples than neighbours": drawn(6, 30),
}
"""A metric may score these or say why it cannot."""


def metrics() -> list[str]:
    discover()
    return choice_names(MetricConfig)


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_every_metric_refuses_what_nothing_can_score(case: str):
    x = IMPOSSIBLE[case]
    for name in metrics():
        with pytest.raises(DataError, match="layer 0 of x"):
            interp.align([x], [drawn(len(x), 5, seed=1)], metric=name)
        with pytest.raises(DataError, match="of y"):
            interp.align([drawn(N, 5, seed=1)], [drawn(N, 5, seed=2), x], metric=name)


@pytest.mark.parametrize("case", ODD)
def test_every_metric_scores_odd_features_or_says_why_not(case: str):
    x = ODD[case]
    scored = 0
    for name in metrics():
        try:
            result = interp.align([x], [drawn(len(x), 5, seed=1)], metric=name)
        except DataError as error:
            assert "\n" not in str(error)  # noqa: PT017 - a score is right as well
        else:
            assert math.isfinite(float(result.scores[0, 0])), name
            scored += 1
    assert scored >= (5 if len(x) < N else 20)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_features_in_half_precision_have_the_results_of_the_same_numbers_in_float32(dtype: torch.dtype):
    def outcome(x: Tensor, name: str) -> float | str:
        try:
            return float(interp.align([x], [drawn(len(x), 5, seed=1)], metric=name).scores[0, 0])
        except DataError as error:
            return str(error)

    for case, x in {**ODD, **IMPOSSIBLE}.items():
        for name in ("cka", "mutual_knn", "svcca", "procrustes"):
            assert outcome(x.to(dtype), name) == outcome(x.to(dtype).float(), name), (case, name)


def test_identical_inputs_of_duplicates_score_at_the_top():
    x = ODD["duplicate rows"]
    for name in ("cka", "mutual_knn", "jaccard_knn"):
        assert float(interp.align([x], [x], metric=name).scores[0, 0]) == pytest.approx(1.0, abs=1e-5)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cka": interp.loss("cka", center=True),
    "infonce": interp.loss("infonce", scale=10.0),
    "svd": interp.loss("svd", k=3, alpha=1.0, beta=0.5, normalize=True, reduction="mean"),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_of_odd_embeddings_is_finite_and_of_broken_ones_is_not_a_number(name: str):
    loss = LOSSES[name]
    for case, x in {
        **ODD,
        "constant features": torch.ones(N, D),
        "one sample": drawn(1),
        "zeros": torch.zeros(N, D),
    }.items():
        y = drawn(*x.shape, seed=1).requires_grad_()
        value = loss(x, y)
        assert value.isfinite(), case
        value.backward()
        assert y.grad is not None
        assert y.grad.isfinite().all(), case
    for case in ("a NaN", "an infinity"):
        try:
            assert loss(IMPOSSIBLE[case], drawn(seed=1)).isnan(), case
        except DataError as error:
            assert "not finite" in str(error)  # noqa: PT017 - a NaN and this message are both right
    with pytest.raises(DataError, match="0 pairs"):
        loss(drawn(0), drawn(0))


@pytest.mark.parametrize("case", ["a NaN", "an infinity"])
def test_scores_of_image_text_models_refuse_what_is_not_finite(case: str):
    x = IMPOSSIBLE[case]
    with pytest.raises(DataError, match="not finite"):
        interp.bench_metrics.retrieval(x, drawn(seed=1))
    with pytest.raises(DataError, match="not finite"):
        interp.bench_metrics.retrieval(drawn(seed=1), x)
    with pytest.raises(DataError, match="not finite"):
        interp.bench_metrics.classification(x, torch.zeros(N, dtype=torch.long))
    column = x[:, 2]
    with pytest.raises(DataError, match="not finite"):
        interp.bench_metrics.winoground(column, column, column, column)
    with pytest.raises(DataError, match="not finite"):
        interp.cuts.bipartite(x.abs(), n_clusters=2)


def test_embeddings_that_are_all_the_same_are_never_right():
    same = torch.ones(N, D)
    scores = interp.bench_metrics.retrieval(same, same)
    assert scores["i2t"]["recall@1"] == scores["t2i"]["recall@1"] == 0
    assert interp.bench_metrics.classification(same, torch.zeros(N, dtype=torch.long))["top1_accuracy"] == 0


def test_one_pair_is_scored_with_the_interval_that_one_pair_deserves():
    scores = interp.bench_metrics.retrieval(drawn(1), drawn(1))
    low, high = scores["interval"]["i2t"]["recall@1"]
    assert scores["i2t"]["recall@1"] == 1.0
    assert low < 0.25
    assert high == 1.0


@pytest.mark.parametrize(
    ("affinity", "message"),
    [
        (drawn(), "negative"),
        (torch.zeros(4, 4), "all zero"),
        (drawn(1).abs(), "clusters"),
        (drawn(0), "rows and columns"),
    ],
)
def test_cuts_of_graphs_that_cannot_be_cut_say_so(affinity: Tensor, message: str):
    with pytest.raises(DataError, match=message):
        interp.cuts.bipartite(affinity, n_clusters=2)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_model_whose_weights_are_broken_is_named_and_its_features_are_not_stored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], broken_model: Callable[[float], Path], value: float
):
    folder = broken_model(value)
    code = command(
        ["extract", str(folder), "--dataset", "shapes", "--limit", "8", "--out", str(tmp_path / "out"), "--no-report"]
    )
    message = capsys.readouterr().err
    assert code == 2
    assert folder.name in message
    assert "finite" in message
    assert "Traceback" not in message


@pytest.fixture
def broken_model(tmp_path: Path) -> Callable[[float], Path]:
    """A copy of the smallest embedded language model with one weight replaced."""

    def make(value: float) -> Path:
        def change(weights: Weights) -> None:
            name = next(name for name in weights if "layers.1" in name and weights[name].ndim == 2)
            weights[name][0, 0] = value

        return changed_copy(tmp_path / "broken-lm", "lm-d32", change)

    return make


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["infonce", "cka", "svd", "clip_svd"])
def test_losses_leave_mixed_precision_alone(name: str, kind: torch.dtype):
    source = torch.Generator().manual_seed(0)
    x, y = torch.randn(32, 16, generator=source), torch.randn(32, 16, generator=source)
    loss = interp.loss(name)
    with torch.autocast("cpu", kind):
        mixed, constant = loss(x, y), loss(torch.full((32, 16), 3.0), y)
    torch.testing.assert_close(mixed, loss(x, y), rtol=0, atol=0)
    assert torch.isfinite(constant)

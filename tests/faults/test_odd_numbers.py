"""The page docs/odd_numbers.md says what becomes of odd numbers; here every cell of it is computed anew, on every device there is."""

import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from markdown_tables import tables
from torch import Tensor

import interp_cli as interp
from interp_registry.choices import LossConfig, MetricConfig, choice_names
from interp_registry.discovery import discover
from interp_registry.errors import DataError

PAGE = Path(__file__).parents[2] / "docs" / "odd_numbers.md"
METRICS, LOSSES = tables(PAGE)[:2]
N, D = 40, 12

DEVICES = [
    "cpu",
    *(["cuda"] if torch.cuda.is_available() else []),
    *(["mps"] if torch.backends.mps.is_available() else []),
]


def drawn(n: int = N, d: int = D, seed: int = 0) -> Tensor:
    """Independent numbers, in float64: what is made of them holds to rounding in whatever type they are converted to."""
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)).double()


def changed(row: object, value: float) -> Tensor:
    x = drawn()
    x[row] = value
    return x


FEATURES = {
    "a NaN": changed((3, 2), math.nan),
    "an infinity": changed((3, 2), math.inf),
    "the same in every sample": torch.full((N, D), 0.3).double(),
    "different in length only": drawn(N, 1).abs() * drawn(1),
    "up to 1e30": 1e30 * drawn(),
    "up to 1e-30": 1e-30 * drawn(),
    "2 samples": drawn(2),
    "3 samples": drawn(3),
    "6 samples": drawn(6),
    "12 samples of 30 features": drawn(12, 30),
    "rows 1 to 9 the same": changed(slice(1, 10), 0.5),
    "two different rows": drawn(2).repeat(N // 2, 1),
    "one row apart from the others": torch.cat([torch.ones(N - 1, D), -torch.ones(1, D)]).double(),
    "all pairs equally far": torch.eye(N).double(),
    "a row of zeros": changed(5, 0.0),
    "a constant feature": changed((slice(None), 3), 7.0),
    "one feature": drawn(N, 1),
}
PAIRS = FEATURES | {
    "zeros": torch.zeros(N, D).double(),
    "one pair": drawn(1),
    "no pair": drawn(0),
}


def types(device: str) -> list[torch.dtype]:
    """Types that a device computes in, for metrics the first two."""
    return [torch.float32, torch.bfloat16 if device == "mps" else torch.float64, torch.bfloat16]


def groups() -> dict[str, list[str]]:
    """The metrics of each column of the page."""
    listed = re.findall(r"^- \*\*(\w+)\*\*: (.*)$", PAGE.read_text(), re.MULTILINE)
    named = {name: re.findall(r"`(\w+)`", text) for name, text in listed}
    return named | {title: [title.strip("`")] for title in METRICS[0] if title.startswith("`")}


def holds(cell: str, compute: Callable[[], float]) -> str | None:
    """None if a cell of the page says what a computation gives, else what it gave."""
    try:
        value = compute()
    except DataError as error:
        found = re.fullmatch("“(.*)”", cell)
        return None if found and found[1] in str(error) else str(error)
    right = math.isfinite(value) if cell == "score" else cell == "NaN" if math.isnan(value) else False
    if re.fullmatch(r"-?[\d.]+", cell):
        right = math.isclose(value, float(cell), abs_tol=1e-6)
    return None if right else f"{value}"


def test_the_page_names_every_metric_and_loss_once_and_every_input():
    discover()
    assert sorted(name for names in groups().values() for name in names) == sorted(choice_names(MetricConfig))
    assert sorted(title.strip("`") for title in LOSSES[0] if title.startswith("`")) == sorted(choice_names(LossConfig))
    assert [row["features"] for row in METRICS] == list(FEATURES)
    assert {row["features"] for row in LOSSES} <= set(PAIRS)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("row", METRICS, ids=lambda row: row["features"])
def test_metrics_do_with_odd_features_what_the_page_says(row: dict[str, str], device: str):
    discover()
    wrong = {}
    for dtype in types(device)[:2]:
        x = FEATURES[row["features"]].to(dtype)
        y = drawn(len(x), seed=1).to(dtype)
        for title, names in groups().items():
            for name in names:
                said = holds(row[title], lambda x=x, y=y, name=name: score(x, y, name, device))
                if said is not None:
                    wrong[name, str(dtype)] = said
    assert not wrong


def score(x: Tensor, y: Tensor, name: str, device: str = "cpu") -> float:
    return float(interp.align([x], [y], metric=name, device=device).scores[0, 0])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("row", LOSSES, ids=lambda row: row["features"])
def test_losses_do_with_odd_embeddings_what_the_page_says(row: dict[str, str], device: str):
    discover()
    wrong = {}
    for dtype in types(device):
        x = PAIRS[row["features"]].to(device, dtype)
        for name in (title for title in row if title.startswith("`")):
            said = holds(row[name], lambda x=x, name=name: loss(x, name.strip("`")))
            if said is not None:
                wrong[name, str(dtype)] = said
    assert not wrong


def loss(x: Tensor, name: str) -> float:
    """The loss against other embeddings; where it is finite, so is its gradient."""
    y = drawn(*x.shape, seed=1).to(x).requires_grad_()
    value = interp.loss(name)(x, y)
    if value.isfinite():
        value.backward()
        assert y.grad is not None
        assert y.grad.isfinite().all(), name
    return float(value.detach())


@pytest.mark.parametrize("device", DEVICES)
def test_scores_of_odd_features_do_not_depend_on_device_threads_or_company(device: str):
    """Alone or among other layers, with one thread or two, here or on an accelerator: the same to rounding."""
    discover()
    odd = [FEATURES[name] for name in ("rows 1 to 9 the same", "a constant feature", "a row of zeros")]
    y = drawn(seed=1)
    threads = torch.get_num_threads()
    for name in choice_names(MetricConfig):
        alone = [score(x, y, name) for x in odd]
        try:
            torch.set_num_threads(2 if threads == 1 else 1)
            together = interp.align(odd, [y], metric=name, device=device).scores[:, 0].tolist()
        finally:
            torch.set_num_threads(threads)
        assert together == pytest.approx(alone, rel=5e-5, abs=5e-5), name


def test_features_that_differ_in_length_only_are_scored_where_length_counts():
    lengths = FEATURES["different in length only"]
    result = interp.align([lengths], [3 * lengths], metric="cka", normalize=False)
    assert float(result.scores[0, 0]) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    ("n", "metric", "ci"),
    [(4, "unbiased_cka", "jackknife"), (11, "mutual_knn", "auto"), (12, "mutual_knn", "subsample"), (3, "rsa", "auto")],
)
def test_an_interval_of_too_few_samples_is_refused_with_their_number(n: int, metric: str, ci: str):
    x, y = drawn(n), drawn(n, seed=1)
    assert math.isfinite(score(x, y, metric))
    with pytest.raises(DataError, match=f"{n} samples are too few for an interval of {metric}.*leave --ci out"):
        interp.align([x], [y], metric=metric, ci=ci)

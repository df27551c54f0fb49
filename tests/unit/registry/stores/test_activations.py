"""The activation store: append, resume, read, shuffle."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from interp_registry.errors import CorruptError, DataError, UnknownNameError, UsageError
from interp_registry.stores.activations import ActivationEntry, ActivationPlan, ActivationStore, Appender, vector_name
from interp_registry.stores.features import FeatureRequest
from interp_registry.stores.tables import Column

REQUEST = FeatureRequest("m", "texts", "f00d", pools=("none",), dtype="bfloat16")
PLAN = ActivationPlan({"3": 4, "5": 6}, {"token_id": Column("int64"), "doc_id": Column("int64")}, shard_rows=8)
LENGTHS = [5, 3, 1, 7, 20, 2, 4, 9, 8, 6]


def stream(start: int = 0) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Batches of different lengths, each of them a function of its number."""
    for number in range(start, len(LENGTHS)):
        source = torch.Generator().manual_seed(number)
        length = LENGTHS[number]
        yield (
            number,
            {
                "layer/3": torch.randn(length, 4, generator=source).bfloat16(),
                "layer/5": torch.randn(length, 6, generator=source).bfloat16(),
                "token_id": torch.randint(100, (length,), generator=source),
                "doc_id": torch.full((length,), number),
            },
        )


def dump(entry: ActivationEntry, stop_after: int | None = None) -> None:
    """Write the stream, going on where it stopped; optionally stop after some batches."""
    appender = Appender(entry)
    todo, count = stream(appender.cursor or 0), 0
    while (item := next(todo, None)) is not None:
        if count == stop_after:
            return
        jump = appender.append(*item)
        todo, count = (todo if jump is None else stream(jump)), count + 1
    appender.finish({"tokens": appender.n_rows})


def everything(name: str) -> Tensor:
    return torch.cat([batch[name] for _, batch in stream()])


@pytest.fixture
def entry(tmp_path: Path) -> ActivationEntry:
    return ActivationStore(tmp_path).open(REQUEST, PLAN)


@pytest.fixture
def done(entry: ActivationEntry) -> ActivationEntry:
    dump(entry)
    return ActivationEntry(entry.path)


def test_the_stream_is_stored_in_order_in_shards_of_equal_size(done: ActivationEntry):
    assert done.n_rows == sum(LENGTHS)
    assert done.offsets.tolist() == [0, 8, 16, 24, 32, 40, 48, 56, 64, 65]
    for name in done.columns:
        assert torch.equal(done.column(name), everything(name))
    assert done.layers == ("3", "5")
    assert done.totals == {"tokens": 65}


@pytest.mark.parametrize("stop_after", range(1, 10))
def test_an_interrupted_dump_goes_on_to_the_same_bytes(done: ActivationEntry, tmp_path: Path, stop_after: int):
    entry = ActivationStore(tmp_path / "other").open(REQUEST, PLAN)
    dump(entry, stop_after)
    dump(ActivationEntry(entry.path), 2)
    dump(ActivationEntry(entry.path))
    found = {path.name: path.read_bytes() for path in entry.path.iterdir()}
    assert found == {path.name: path.read_bytes() for path in done.path.iterdir()}


@pytest.mark.parametrize("lost", [(0,), (3,), (8,), (2, 6)])
def test_a_corrupt_shard_is_written_again_and_the_others_are_kept(done: ActivationEntry, flip, lost):
    before = {path.name: path.read_bytes() for path in done.path.iterdir()}
    for index in lost:
        flip(done.shard_path(index), done.shard_path(index).stat().st_size - 1)
    with pytest.raises(CorruptError, match=f"shard-0000{lost[0]}"):
        ActivationEntry(done.path).column("layer/5")
    assert [problem.path for problem in done.repair()] == [done.shard_path(index) for index in lost]
    kept = {index: done.shard_path(index).stat().st_mtime_ns for index in done.present_shards()}
    dump(ActivationEntry(done.path))
    assert {index: done.shard_path(index).stat().st_mtime_ns for index in kept} == kept
    assert {path.name: path.read_bytes() for path in done.path.iterdir()} == before


def test_rows_are_read_in_any_order_and_more_than_once(done: ActivationEntry):
    rows = torch.tensor([64, 0, 8, 7, 7, 31])
    found = done.read(rows)
    assert set(found) == {"layer/3", "layer/5", "token_id", "doc_id"}
    for name, values in found.items():
        assert torch.equal(values, everything(name)[rows])
    assert list(done.read(rows, ["doc_id"])) == ["doc_id"]
    assert done.read(torch.tensor([], dtype=torch.int64))["layer/3"].shape == (0, 4)


def test_rows_and_columns_that_do_not_exist_are_refused(done: ActivationEntry):
    with pytest.raises(DataError, match="rows 3 to 65"):
        done.read(torch.tensor([3, 65]))
    with pytest.raises(DataError, match="rows -1"):
        done.read(torch.tensor([-1]))
    with pytest.raises(UnknownNameError, match="did you mean doc_id"):
        done.read(torch.tensor([0]), ["docid"])
    with pytest.raises(UnknownNameError):
        done.column("layer/4")


def test_the_order_depends_on_seed_and_epoch_only(done: ActivationEntry):
    first = done.order(0, 1)
    assert sorted(first.tolist()) == list(range(65))
    assert torch.equal(first, ActivationEntry(done.path).order(0, 1))
    assert not torch.equal(first, done.order(0, 2))
    assert not torch.equal(first, done.order(1, 1))


def test_a_chosen_part_is_shuffled_within_itself(done: ActivationEntry):
    rows = torch.arange(10, 30)
    assert sorted(done.order(0, 0, rows).tolist()) == rows.tolist()


def test_a_window_keeps_batches_within_few_shards(done: ActivationEntry):
    def shards_per_batch(order: Tensor) -> int:
        shards = torch.searchsorted(done.offsets, order, right=True) - 1
        return max(len(set(shards[start : start + 16].tolist())) for start in range(0, 48, 16))

    order = done.order(0, 0, window=2)
    assert sorted(order.tolist()) == list(range(65))
    assert shards_per_batch(order) <= 4 < shards_per_batch(done.order(0, 0))
    assert not torch.equal(order, order.sort().values)
    with pytest.raises(UsageError, match="window"):
        done.order(0, 0, rows=order, window=2)


def test_batches_go_on_at_any_place(done: ActivationEntry):
    order = done.order(0, 0)
    batches = list(done.batches(10, order, ["token_id"]))
    assert len(batches) == 6
    assert torch.equal(torch.cat([b["token_id"] for b in batches]), everything("token_id")[order[:60]])
    rest = list(done.batches(10, order, ["token_id"], start=4))
    assert torch.equal(rest[0]["token_id"], batches[4]["token_id"])


def test_a_stream_that_goes_on_elsewhere_is_refused(entry: ActivationEntry):
    dump(entry, 6)
    appender = Appender(ActivationEntry(entry.path))
    batches = dict(stream())
    with pytest.raises(UsageError, match="end in batch 4, the stream begins at 1"):
        appender.append(1, batches[1])


def test_unfinished_activations_refuse_to_be_read(entry: ActivationEntry):
    dump(entry, 6)
    with pytest.raises(DataError, match="not complete"):
        _ = ActivationEntry(entry.path).n_rows


def test_planned_shards_may_have_any_number_of_rows_and_be_written_in_any_order(entry: ActivationEntry):
    batches = dict(stream())
    for number in (2, 0, 1):
        assert entry.write_shard(number, batches[number], {"documents": [number]})
    entry.finish(3)
    assert entry.offsets.tolist() == [0, 5, 8, 9]
    assert torch.equal(entry.column("layer/3"), everything("layer/3")[:9])


def test_the_default_shard_has_about_128_mebibytes():
    plan = ActivationPlan({"7": 4096}).to_json("bfloat16")
    assert plan["shard_rows"] * (4096 * 2 + 20) == pytest.approx(128 << 20, rel=1e-3)


def test_columns_are_not_named_like_layers():
    with pytest.raises(UsageError, match="differently named"):
        ActivationPlan({"7": 4}, {vector_name(7): Column("int64")}).to_json("float32")
    with pytest.raises(UsageError, match="need layers"):
        ActivationPlan({}).to_json("float32")

"""The feature store: plan, write, resume, read."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from interp_registry.errors import CorruptError, DataError, UnknownNameError, UsageError
from interp_registry.stores.features import FeatureEntry, FeaturePlan, FeatureRequest, FeatureStore, feature_name
from interp_registry.stores.tables import Column

Write = Callable[[FeatureEntry, int], bool]
Flip = Callable[[Path, int], None]


def test_what_is_written_is_read_for_every_layer_pooling_and_column(finished: FeatureEntry, content: dict[str, Tensor]):
    for pool in ("avg", "last"):
        for layer in ("0", "1.pre_norm", "1"):
            assert torch.equal(finished.read(layer, pool), content[feature_name(pool, layer)])
    assert torch.equal(finished.column("loss"), content["loss"])


def test_order_names_and_totals_are_kept(finished: FeatureEntry):
    assert finished.layers == ("0", "1.pre_norm", "1")
    assert finished.widths == {"0": 3, "1.pre_norm": 5, "1": 5}
    assert finished.ids == [f"sample {row}" for row in range(10)]
    assert finished.totals == {"n_params": 7}
    assert finished.provenance == {"torch": "1.2.3"}


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_each_type_of_number_comes_back_bit_for_bit(store: FeatureStore, dtype: str):
    request = FeatureRequest("m", "d", "f", dtype=dtype)
    entry = store.open(request, FeaturePlan(3, 8, {"0": 4}))
    values = torch.randn(3, 4, generator=torch.Generator().manual_seed(1)).to(getattr(torch, dtype))
    entry.write_shard(0, {"avg/0": values}, ["a", "b", "c"])
    entry.finish()
    assert torch.equal(entry.read(0), values)


def test_a_mapped_layer_can_be_changed_without_changing_the_file(store: FeatureStore):
    entry = store.open(FeatureRequest("m", "d", "f"), FeaturePlan(2, 2, {"0": 4}))
    entry.write_shard(0, {"avg/0": torch.ones(2, 4)}, ["a", "b"])
    entry.finish()
    entry.read("0").zero_()
    assert torch.equal(entry.read("0"), torch.ones(2, 4))
    assert entry.problems() == []


def test_shards_are_missing_until_they_are_written_in_any_order(entry: FeatureEntry, write: Write):
    assert entry.missing_shards() == [0, 1, 2]
    write(entry, 2)
    write(entry, 0)
    assert entry.missing_shards() == [1]


def test_the_first_writer_wins(entry: FeatureEntry, write: Write):
    assert write(entry, 1)
    before = entry.shard_path(1).read_bytes()
    assert not write(entry, 1)
    assert entry.shard_path(1).read_bytes() == before


def test_two_writers_make_the_same_bytes(tmp_path: Path, request_: FeatureRequest, plan: FeaturePlan, write: Write):
    files = []
    for name, order in (("a", (0, 1, 2)), ("b", (2, 0, 1))):
        entry = FeatureStore(tmp_path / name).open(request_, plan)
        for index in order:
            write(entry, index)
        entry.finish({"loss": 0.1})
        files.append({path.name: path.read_bytes() for path in entry.path.iterdir()})
    assert files[0] == files[1]


def test_an_unfinished_entry_refuses_to_be_read_and_says_how_to_go_on(entry: FeatureEntry, write: Write):
    write(entry, 0)
    with pytest.raises(DataError, match=r"1 of 3 shards are there .*goes on where it stopped"):
        entry.read("0", "avg")


def test_finishing_with_a_missing_shard_is_refused(entry: FeatureEntry, write: Write):
    write(entry, 0)
    with pytest.raises(DataError, match="no shard 1"):
        entry.finish()
    assert not entry.complete


def test_another_plan_for_the_same_request_is_refused_and_the_field_is_named(
    entry: FeatureEntry, store: FeatureStore, request_: FeatureRequest, plan: FeaturePlan
):
    with pytest.raises(UsageError, match="shard_rows is 4 there, 5 here"):
        store.open(request_, dataclasses.replace(plan, shard_rows=5))


def test_other_provenance_is_no_other_plan(
    entry: FeatureEntry, store: FeatureStore, request_: FeatureRequest, plan: FeaturePlan
):
    assert store.open(request_, plan, {"torch": "9"}).provenance == {"torch": "1.2.3"}


def test_one_flipped_bit_in_the_data_is_named_refused_and_repaired(finished: FeatureEntry, flip: Flip, write: Write):
    path = finished.shard_path(1)
    whole = path.read_bytes()
    flip(path, path.stat().st_size - 3)
    damaged = FeatureEntry(finished.path)
    with pytest.raises(CorruptError, match=path.name):
        damaged.missing_shards()
    with pytest.raises(CorruptError, match=path.name):
        damaged.read("1.pre_norm", "last")
    assert [problem.path for problem in damaged.repair()] == [path]
    assert damaged.missing_shards() == [1]
    assert not damaged.complete
    write(damaged, 1)
    damaged.finish({"n_params": 7})
    assert path.read_bytes() == whole


def test_a_flipped_bit_elsewhere_does_not_disturb_the_reading_of_a_sound_layer(finished: FeatureEntry, flip: Flip):
    part = finished.shard(1).parts["last/1"]
    flip(finished.shard_path(1), finished.shard(1).data_start + part.begin)
    damaged = FeatureEntry(finished.path)
    damaged.read("0", "avg")
    with pytest.raises(CorruptError, match="last/1"):
        damaged.read("1", "last")


def test_a_shard_of_another_table_is_refused(finished: FeatureEntry, store: FeatureStore, plan: FeaturePlan):
    other = store.open(FeatureRequest("other", "world", "f00d", pools=("avg", "last"), dtype="bfloat16"), plan)
    other.shard_path(0).write_bytes(finished.shard_path(0).read_bytes())
    with pytest.raises(CorruptError, match="belongs to another place"):
        other.missing_shards()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("loss"), "loss"),
        (lambda t: t.update(extra=torch.zeros(4)), "extra"),
        (lambda t: t.update(loss=torch.zeros(4)), "float32"),
        (lambda t: t.update(loss=torch.zeros(3, dtype=torch.float64)), "4 rows"),
        (lambda t: t.update({"avg/0": torch.zeros(4, 9, dtype=torch.bfloat16)}), "avg/0"),
    ],
)
def test_tensors_that_do_not_fit_the_plan_are_refused(entry, content, change, message):
    tensors = {name: tensor[:4] for name, tensor in content.items()}
    change(tensors)
    with pytest.raises(UsageError, match=message):
        entry.write_shard(0, tensors, list("abcd"))
    assert entry.present_shards() == []


def test_unknown_layers_and_poolings_are_named_with_a_suggestion(finished: FeatureEntry):
    with pytest.raises(UnknownNameError, match="layer '7'"):
        finished.read(7, "avg")
    with pytest.raises(UnknownNameError, match="did you mean last"):
        finished.read("0", "lats")
    with pytest.raises(UsageError, match="several poolings"):
        finished.read("0")


def test_entries_are_found_by_request_by_key_and_by_its_beginning(
    finished: FeatureEntry, store: FeatureStore, request_: FeatureRequest
):
    found = store.find(request_)
    assert found is not None
    assert found.path == finished.path
    assert store.get(finished.key).path == store.get("org-m").path == finished.path
    assert store.find(dataclasses.replace(request_, prompt="{}")) is None
    with pytest.raises(UnknownNameError):
        store.get("nobody")
    assert store.keys() == [finished.key]


def test_an_ambiguous_key_lists_what_it_could_be(store: FeatureStore, plan: FeaturePlan):
    for fingerprint in ("a", "b"):
        store.open(FeatureRequest("same", "d", fingerprint, pools=("avg", "last")), plan)
    with pytest.raises(UsageError, match=r"could be same-.*, same-"):
        store.get("same")


def test_every_field_of_a_request_changes_its_key(request_: FeatureRequest):
    changes = [
        {"model": "org-model"},
        {"dataset": "w"},
        {"fingerprint": "beef"},
        {"pools": ("last", "avg")},
        {"layers": "all"},
        {"dtype": "float32"},
        {"revision": "main"},
        {"prompt": "{}"},
        {"options": {"quantize": "4bit"}},
    ]
    keys = {dataclasses.replace(request_, **change).key for change in changes}
    assert len(keys | {request_.key}) == len(changes) + 1
    assert {field for change in changes for field in change} == {f.name for f in dataclasses.fields(request_)}


@pytest.mark.parametrize("text", ["float32", "float31[3]", "float32[3,]", "float32[-1]", "", "float32[a]"])
def test_a_wrong_column_type_is_refused(text: str):
    with pytest.raises(UsageError, match="column"):
        Column.parse(text)


def test_an_empty_plan_is_refused():
    with pytest.raises(DataError, match="0 samples"):
        FeaturePlan(0, 4, {"0": 3})


def test_a_lost_done_file_is_written_again(finished: FeatureEntry):
    (finished.path / "DONE.json").unlink()
    again = FeatureEntry(finished.path)
    again.rebuild()
    assert again.complete
    assert again.totals is None
    assert again.problems() == []

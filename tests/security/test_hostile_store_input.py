"""Hostile names and files: nothing leaves the store, nothing is executed, nothing exhausts the memory."""

import json
import resource
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from interp_registry.errors import CorruptError, DataError, InterpError, UsageError
from interp_registry.stores.checkpoint import CheckpointStore
from interp_registry.stores.features import FeaturePlan, FeatureRequest, FeatureStore
from interp_registry.stores.keys import key_of, slug
from interp_registry.stores.maintenance import verify
from interp_registry.stores.pt_files import read_pt
from interp_registry.stores.records import read_record, replace_record
from interp_registry.stores.shards import open_shard, write_shard

HOSTILE = [
    "../../etc/passwd",
    "..",
    ".",
    "",
    "/etc/passwd",
    "C:\\Windows",
    "a\x00b",
    "a\nb",
    "x" * 300,
    "ü" * 300,
    "model\u202egpj.exe",
    "~root",
    "$(touch pwned)",
    "; rm -rf *",
    "-rf",
    "a/b",
    "a_b",
    "a-b",
    "A-b",
    "con",
    "\ud800",
    "a\u0301",
    "\u00e1",
    "<script>",
    "*",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_model_of_any_name_is_stored_below_the_store_and_found_again(tmp_path: Path, name: str):
    store = FeatureStore(tmp_path / "store")
    request = FeatureRequest(name, name, name, prompt=name)
    entry = store.open(request, FeaturePlan(2, 2, {"0": 1}))
    entry.write_shard(0, {"avg/0": torch.ones(2, 1)}, [name, "b"])
    entry.finish({"name": name})
    found = store.find(request)
    assert found is not None
    assert found.ids == [name, "b"]
    assert found.request["model"] == name
    assert found.path.parent == tmp_path / "store" / "features"
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_hostile_names_have_different_keys():
    assert len({key_of(name, {}) for name in HOSTILE}) == len(HOSTILE)


names = st.text(st.characters(codec=None), max_size=400)


@settings(deadline=None, derandomize=True)
@given(names)
def test_every_key_is_one_plain_short_file_name(name: str):
    for made in (key_of(name, {}), slug(name)):
        assert made
        assert made[0] not in ".-"
        assert len(made) <= 97
        assert set(made) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")


@settings(deadline=None, derandomize=True)
@given(names, names)
def test_different_names_have_different_keys(a: str, b: str):
    assert (key_of(a, {}) == key_of(b, {})) == (a == b)


def headed(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(raw) if length is None else length).to_bytes(8, "little") + raw + data


def entry(**changes: Any) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}


def sealed(**parts: Any) -> dict[str, Any]:
    info = {"sha256": "0" * 64, "parts": dict.fromkeys(parts, "0" * 32), "seal": "0" * 64}
    return {"__metadata__": {"interp": json.dumps(info)}, **parts}


LIES: dict[str, bytes] = {
    "empty": b"",
    "seven bytes": b"1234567",
    "header beyond the end": headed(b"{}", length=2**63),
    "header of 2^64 - 1": b"\xff" * 8 + b"{}",
    "header of 100 MB": headed(b"{}", length=100_000_001),
    "no JSON": headed(b"\xff\xfe"),
    "not an object": headed([1, 2]),
    "nested a million deep": headed(b"[" * 1_000_000),
    "a number of a million digits": headed(b"1" * 1_000_000),
    "no metadata": headed({"a": entry()}, bytes(8)),
    "metadata is a list": headed({"__metadata__": []}),
    "metadata is no JSON": headed({"__metadata__": {"interp": "{"}}),
    "no digests": headed({"__metadata__": {"interp": "{}"}, "a": entry()}, bytes(8)),
    "unknown type": headed(sealed(a=entry(dtype="Q8")), bytes(8)),
    "negative offset": headed(sealed(a=entry(data_offsets=[-8, 0])), bytes(8)),
    "end before beginning": headed(sealed(a=entry(data_offsets=[8, 0])), bytes(8)),
    "offset beyond the end": headed(sealed(a=entry(data_offsets=[0, 2**62])), bytes(8)),
    "shape too large": headed(sealed(a=entry(shape=[2**40, 2**40])), bytes(8)),
    "negative shape": headed(sealed(a=entry(shape=[-1, -2])), bytes(8)),
    "fractional shape": headed(sealed(a=entry(shape=[2.0])), bytes(8)),
    "shape of booleans": headed(sealed(a=entry(shape=[True, 2])), bytes(8)),
    "entry is a list": headed(sealed(a=[1, 2, 3]), bytes(8)),
    "entry is null": headed(sealed(a=None), bytes(8)),
    "three offsets": headed(sealed(a=entry(data_offsets=[0, 8, 8])), bytes(8)),
    "two tensors in one place": headed(sealed(a=entry(), b=entry()), bytes(8)),
    "a gap": headed(sealed(a=entry(data_offsets=[8, 16])), bytes(16)),
    "data left over": headed(sealed(a=entry()), bytes(9)),
    "a seal that does not fit": headed(sealed(a=entry()), bytes(8)),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_shard_that_lies_is_corrupt_and_named(tmp_path: Path, lie: str):
    path = tmp_path / "shard-00000.safetensors"
    path.write_bytes(LIES[lie])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CorruptError, match="shard-00000"):
        open_shard(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_a_safetensors_file_of_others_is_refused_in_a_store(tmp_path: Path):
    path = tmp_path / "theirs.safetensors"
    save_file({"a": torch.ones(3)}, path, {"format": "pt"})
    with pytest.raises(CorruptError, match="no metadata 'interp'"):
        open_shard(path)


def test_our_shards_are_plain_safetensors_for_others(tmp_path: Path):
    from safetensors.torch import load_file

    tensors = {"b": torch.arange(3), "a": torch.ones(2, 2, dtype=torch.bfloat16), "c": torch.tensor([True])}
    with (tmp_path / "ours.safetensors").open("w+b") as file:
        write_shard(file, tensors, {"index": 0})
    found = load_file(tmp_path / "ours.safetensors")
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)


class Executed:
    """What a pickle that runs code looks like."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.mark,)


def evil_pt(path: Path, mark: Path) -> None:
    torch.save({"weights": torch.ones(2), "x": Executed(mark)}, path)


def evil_old_pt(path: Path, mark: Path) -> None:
    torch.save({"x": Executed(mark)}, path, _use_new_zipfile_serialization=False)


def evil_npy(path: Path, mark: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.array([Executed(mark)], dtype=object))


def evil_zip(path: Path, mark: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../evil", "x")
        archive.writestr("archive/data.pkl", b"cos\nsystem\n(S'touch %s'\ntR." % str(mark).encode())


@pytest.mark.parametrize("make", [evil_pt, evil_old_pt, evil_npy, evil_zip])
def test_a_file_with_code_is_refused_and_not_executed(tmp_path: Path, make: Callable[[Path, Path], None]):
    mark = tmp_path / "executed"
    make(tmp_path / "evil.pt", mark)
    with pytest.raises(DataError, match=r"evil.pt cannot be read without executing"):
        read_pt(tmp_path / "evil.pt")
    assert not mark.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["evil.pt"]


@pytest.mark.parametrize("data", [b"", b"\x80\x04.", b"PK\x03\x04", b"x" * 1000])
def test_garbage_is_refused_as_well(tmp_path: Path, data: bytes):
    (tmp_path / "garbage.pt").write_bytes(data)
    with pytest.raises(DataError, match=r"garbage.pt"):
        read_pt(tmp_path / "garbage.pt")


def test_plain_tensors_are_read(tmp_path: Path):
    torch.save({"feats": torch.ones(2, 3), "loss": 0.5, "mask": None}, tmp_path / "plain.pt")
    found = read_pt(tmp_path / "plain.pt")
    assert found["loss"] == 0.5
    assert torch.equal(found["feats"], torch.ones(2, 3))


def test_a_checkpoint_with_code_in_it_is_not_executed(tmp_path: Path):
    store, mark = CheckpointStore(tmp_path / "checkpoints"), tmp_path / "executed"
    checkpoint = store.save(1, {"w": torch.ones(2)}, {"a": 1})
    evil_pt(checkpoint.path / "state.pt", mark)
    with pytest.raises(CorruptError, match=r"state.pt"):
        store.latest()
    with pytest.raises(CorruptError, match=r"state.pt"):
        checkpoint.state()
    assert not mark.exists()


@pytest.mark.parametrize("text", ["", "null", "[]", '{"sha256": 1}', "{" * 100_000, '{"a": NaN, "sha256": ""}', "\x00"])
def test_hostile_records_are_corrupt(tmp_path: Path, text: str):
    (tmp_path / "record.json").write_text(text)
    with pytest.raises(CorruptError, match=r"record.json"):
        read_record(tmp_path / "record.json")


@pytest.mark.parametrize("missing", ["plan", "request", "provenance", "hash", "columns", "shard_rows"])
def test_a_well_formed_manifest_without_a_field_is_corrupt(tmp_path: Path, missing: str):
    entry = FeatureStore(tmp_path).open(FeatureRequest("m", "d", "f"), FeaturePlan(2, 2, {"0": 1}))
    content = dict(entry.manifest)
    (content if missing in content else content["plan"]).pop(missing)
    replace_record(entry.path / "manifest.json", content)
    with pytest.raises(CorruptError, match=f"manifest.json is corrupt: its field '{missing}'"):
        FeatureStore(tmp_path).get(entry.key)
    assert [problem.path.name for problem in verify(entry.path)] == ["manifest.json"]


def test_a_well_formed_done_file_without_a_field_is_corrupt(tmp_path: Path):
    entry = FeatureStore(tmp_path).open(FeatureRequest("m", "d", "f"), FeaturePlan(2, 2, {"0": 1}))
    replace_record(entry.path / "DONE.json", {"rows": 2})
    assert "field 'shards'" in verify(entry.path)[0].reason
    with pytest.raises(CorruptError, match="shards"):
        _ = entry.totals


def test_a_link_out_of_the_store_is_not_followed_when_a_run_is_sealed(tmp_path: Path):
    from interp_registry.stores.run import RunStore

    secret = tmp_path / "secret"
    secret.write_text("canary")
    run = RunStore(tmp_path / "runs").create("x", {})
    (run.path / "link").symlink_to(secret)
    run.seal()
    assert "link" not in read_record(run.path / "seal.json")["files"]


def test_every_refusal_is_an_error_of_the_tool():
    assert issubclass(CorruptError, InterpError)
    assert (CorruptError.exit_code, DataError.exit_code, UsageError.exit_code) == (3, 2, 2)

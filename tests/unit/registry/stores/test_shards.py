"""One shard: layout, digests, mapping."""

import hashlib
import io
import subprocess
from pathlib import Path

import pytest
import torch
from torch import Tensor

from interp_registry.errors import CorruptError, UsageError
from interp_registry.stores.shards import DTYPES, Shard, open_shard, write_shard

SOURCE = torch.Generator().manual_seed(0)
TENSORS: dict[str, Tensor] = {
    "b": torch.randn(3, 5, generator=SOURCE),
    "a": torch.randn(3, 2, generator=SOURCE).bfloat16(),
    "empty": torch.empty(0, 7),
    "flag": torch.tensor([True, False, True]),
    "number": torch.tensor(5),
    "strided": torch.randn(4, 6, generator=SOURCE)[::2, 1:5],
}


def written(algorithm: str = "sha256") -> bytes:
    file = io.BytesIO()
    write_shard(file, TENSORS, {"index": 3}, algorithm)
    return file.getvalue()


@pytest.fixture
def shard(tmp_path: Path) -> Shard:
    (tmp_path / "shard.safetensors").write_bytes(written())
    return open_shard(tmp_path / "shard.safetensors")


def test_what_is_written_is_read(shard: Shard):
    assert shard.info["index"] == 3
    for name, tensor in TENSORS.items():
        assert torch.equal(shard.tensor(name), tensor)
    shard.verify()
    shard.verify_parts()


def test_the_same_tensors_give_the_same_bytes_every_time_and_in_any_order():
    backwards = io.BytesIO()
    write_shard(backwards, dict(reversed(TENSORS.items())), {"index": 3})
    assert {written() for _ in range(20)} == {backwards.getvalue()}


def test_every_type_is_stored_at_a_multiple_of_its_width(tmp_path: Path):
    tensors = {name: torch.ones(3).to(getattr(torch, name)) for name in DTYPES}
    with (tmp_path / "x").open("w+b") as file:
        write_shard(file, tensors, {})
    shard = open_shard(tmp_path / "x")
    for name, part in shard.parts.items():
        assert (shard.data_start + part.begin) % DTYPES[name][1] == 0
        assert torch.equal(shard.tensor(name), tensors[name])


def test_the_digest_of_the_data_can_be_computed_with_common_tools(shard: Shard):
    length = int.from_bytes(shard.path.read_bytes()[:8], "little")
    command = f"tail -c +{9 + length} {shard.path} | sha256sum"
    found = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)  # noqa: S602
    assert found.stdout.split()[0] == shard.digest == shard.info["sha256"]


def test_the_seal_is_the_digest_of_the_header_with_zeros_in_its_place(shard: Shard):
    head = shard.path.read_bytes()[: shard.data_start]
    assert hashlib.sha256(head.replace(shard.info["seal"].encode(), b"0" * 64)).hexdigest() == shard.info["seal"]


def test_the_fast_digest_may_take_the_place_of_sha256(tmp_path: Path):
    (tmp_path / "x").write_bytes(written("xxh3"))
    shard = open_shard(tmp_path / "x")
    assert (shard.algorithm, len(shard.digest)) == ("xxh3", 32)
    shard.verify()


def test_every_flipped_bit_is_found(tmp_path: Path):
    data, path = written(), tmp_path / "shard.safetensors"
    for position in range(0, len(data) * 8, 29):
        changed = bytearray(data)
        changed[position // 8] ^= 1 << position % 8
        path.write_bytes(changed)
        for check in (Shard.verify, Shard.verify_parts):
            with pytest.raises(CorruptError, match=r"shard.safetensors is corrupt"):
                check(open_shard(path))


def test_a_missing_tensor_is_named(shard: Shard):
    with pytest.raises(CorruptError, match="tensor 'c' is missing"):
        shard.tensor("c")


def test_types_that_cannot_be_stored_are_refused():
    with pytest.raises(UsageError, match="complex64 cannot be stored"):
        write_shard(io.BytesIO(), {"a": torch.ones(2, dtype=torch.complex64)}, {})


def test_a_mapped_tensor_outlives_its_file(shard: Shard):
    tensor = shard.tensor("b")
    shard.path.unlink()
    assert torch.equal(tensor, TENSORS["b"])


def test_gradients_and_other_devices_are_left_behind(tmp_path: Path):
    parameter = torch.nn.Parameter(torch.ones(2))
    with (tmp_path / "x").open("w+b") as file:
        write_shard(file, {"p": parameter}, {})
    assert not open_shard(tmp_path / "x").tensor("p").requires_grad

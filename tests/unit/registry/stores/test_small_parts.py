"""Digests, records and the liveness of processes."""

import hashlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import xxhash

from interp_registry.errors import CorruptError, UsageError
from interp_registry.stores.hashing import OverlappedDigests, fast_digest, hash_file, hash_stream, new_digest
from interp_registry.stores.liveness import host_name, process_alive, process_start
from interp_registry.stores.records import commit_record, read_record, record_bytes, replace_record

DATA = bytes(range(256)) * 40_000


def test_digests_are_those_of_the_libraries(tmp_path: Path):
    (tmp_path / "file").write_bytes(DATA)
    assert hash_file(tmp_path / "file") == hashlib.sha256(DATA).hexdigest()
    assert hash_file(tmp_path / "file", "xxh3") == xxhash.xxh3_128(DATA).hexdigest() == fast_digest(memoryview(DATA))
    assert hash_stream(io.BytesIO(b"")) == hashlib.sha256(b"").hexdigest()


def test_a_stream_starts_where_the_file_stands():
    file = io.BytesIO(DATA)
    file.seek(1000)
    assert hash_stream(file) == hashlib.sha256(DATA[1000:]).hexdigest()


def test_an_unknown_digest_is_refused():
    with pytest.raises(UsageError, match="unknown hash 'md5'"):
        new_digest("md5")


@pytest.mark.parametrize("algorithm", ["sha256", "xxh3"])
def test_digests_computed_beside_the_writing_are_the_same(algorithm: str):
    parts = [memoryview(DATA[:10]), memoryview(b""), memoryview(DATA[10:9_000_000]), memoryview(DATA[9_000_000:])]
    with OverlappedDigests(algorithm) as digests:
        for part in parts:
            digests.add(part)
        whole, fast = digests.finish()
    expected = new_digest(algorithm)
    expected.update(memoryview(DATA))
    assert whole == expected.hexdigest()
    assert fast == [fast_digest(part) for part in parts]


def test_a_record_is_plain_json_with_its_digest(tmp_path: Path):
    content = {"b": [1, 2.5, None], "a": {"é": True}}
    assert commit_record(tmp_path / "r.json", content)
    assert not commit_record(tmp_path / "r.json", {})
    assert read_record(tmp_path / "r.json") == content
    raw = json.loads((tmp_path / "r.json").read_text())
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    assert raw["sha256"] == hashlib.sha256(canonical).hexdigest()
    replace_record(tmp_path / "r.json", {"c": 1})
    assert read_record(tmp_path / "r.json") == {"c": 1}


def test_every_flipped_bit_of_a_record_is_found(tmp_path: Path):
    data = record_bytes({"a": [1.5, True, None], "text": "Aa\n", "n": -3})
    path = tmp_path / "r.json"
    for position in range(0, len(data) * 8, 3):
        changed = bytearray(data)
        changed[position // 8] ^= 1 << position % 8
        path.write_bytes(changed)
        with pytest.raises(CorruptError, match=r"r.json is corrupt"):
            read_record(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), Path("x")])
def test_a_record_refuses_what_is_no_json(value):
    with pytest.raises(UsageError, match="JSON"):
        record_bytes({"a": value})


def test_this_process_is_alive_and_an_ended_one_is_not():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = process_start(child.pid)
    assert process_alive(child.pid, started)
    assert not process_alive(child.pid, "1")
    assert process_alive(os.getpid())
    child.communicate(b"\n")
    assert not process_alive(child.pid, started)
    assert process_start(child.pid) is None


def test_an_ended_child_that_nobody_waited_for_is_not_alive():
    child = subprocess.Popen([sys.executable, "-c", ""])
    while Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        pass
    assert not process_alive(child.pid)
    child.wait()


def test_an_impossible_process_number_is_not_alive():
    assert not process_alive(4_194_304)


def test_the_name_of_the_machine_can_be_part_of_a_file_name():
    assert set(host_name()) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-")

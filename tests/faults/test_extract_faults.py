"""``interp extract`` on a full disk and on damaged records, in process."""

import json
from pathlib import Path

import pytest
from small_disk import small_disk
from small_tables import content

from interp_cli.__main__ import run as interp


@pytest.fixture
def extraction(tmp_path: Path) -> list[str]:
    """The words of an extraction of 64 texts in 16 shards."""
    path = tmp_path / "captions.jsonl"
    path.write_text("".join(json.dumps({"text": f"a small red circle {'x ' * (i % 7)}"}) + "\n" for i in range(64)))
    return ["extract", "lm-d32", "--dataset", str(path), "--shard-rows", "4", "--progress", "none", "--no-report"]


def entry_of(home: Path) -> Path:
    return next((home / "store" / "features").iterdir())


@pytest.mark.parametrize("name", ["manifest.json", "DONE.json"])
def test_a_damaged_record_is_named_and_repair_computes_nothing_again(extraction, tmp_path: Path, capsys, name: str):
    words = [*extraction, "--out", str(tmp_path / "home")]
    assert interp(words) == 0
    entry = entry_of(tmp_path / "home")
    whole, times = content(entry), {path.name: path.stat().st_mtime_ns for path in entry.glob("shard-*")}
    data = bytearray(whole[name])
    data[40] ^= 1
    (entry / name).write_bytes(data)
    capsys.readouterr()
    assert interp(words) == 3
    assert name in capsys.readouterr().err
    assert interp([*words, "--repair"]) == 0
    assert content(entry) == whole
    assert {path.name: path.stat().st_mtime_ns for path in entry.glob("shard-*")} == times


@pytest.mark.parametrize("left", [0, 30_000, 60_000, 100_000])
def test_a_full_disk_is_one_clear_error_and_the_same_command_goes_on(extraction, tmp_path: Path, capsys, left: int):
    assert interp([*extraction, "--out", str(tmp_path / "whole")]) == 0
    whole = content(entry_of(tmp_path / "whole"))
    with small_disk(tmp_path / "disk") as disk:
        home = disk.path / "home"
        disk.fill(left)
        capsys.readouterr()
        assert interp([*extraction, "--out", str(home)]) in (1, 3)
        said = capsys.readouterr().err
        assert "No space left on device" in said
        assert "Traceback" not in said
        if (home / "store").exists():
            assert interp(["store", "verify", "--out", str(home)]) == 0
            assert not list((home / "store").rglob("*.tmp"))
        disk.clear()
        assert interp([*extraction, "--out", str(home)]) == 0
        assert content(entry_of(home)) == whole

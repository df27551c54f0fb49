"""Records of a launch are there whole or not at all."""

import errno
import os

import pytest

from interp_cli.launch.atomic import create_json, read_json, replace_json


@pytest.mark.parametrize("write", [create_json, replace_json])
def test_a_record_that_cannot_be_written_leaves_nothing_behind(tmp_path, monkeypatch, write):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    write(tmp_path / "first.json", {"a": 1})
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path / "second.json", {"a": 2})
    assert [path.name for path in tmp_path.iterdir()] == ["first.json"]
    assert read_json(tmp_path / "first.json") == {"a": 1}

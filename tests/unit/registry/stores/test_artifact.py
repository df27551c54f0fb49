"""The commit protocol, call by call."""

import errno
import os
from pathlib import Path

import pytest

from interp_registry.errors import ResourceError
from interp_registry.stores.artifact import commit, make_folder, replace, stale, temporary_name
from interp_registry.stores.liveness import host_name


def put(data: bytes):
    return lambda file: file.write(data)


def test_the_first_writer_wins_and_the_second_is_told(tmp_path: Path):
    assert commit(tmp_path / "a", put(b"one"))
    assert not commit(tmp_path / "a", put(b"two"))
    assert (tmp_path / "a").read_bytes() == b"one"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_replacing_gives_the_new_content(tmp_path: Path):
    for data in (b"one", b"two"):
        replace(tmp_path / "a", put(data))
        assert (tmp_path / "a").read_bytes() == data
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_the_file_is_synced_before_it_gets_its_name_and_the_folder_after(tmp_path: Path, monkeypatch):
    calls: list[str] = []
    for name in ("open", "fsync", "link", "unlink"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, n=name, r=real, **k: [calls.append(n), r(*a, **k)][1])
    commit(tmp_path / "a", put(b"x"))
    assert calls == ["open", "fsync", "link", "open", "fsync", "unlink"]


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK])
def test_without_hard_links_the_file_is_renamed_unless_the_name_is_taken(tmp_path: Path, monkeypatch, number: int):
    def no_links(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", no_links)
    assert commit(tmp_path / "a", put(b"one"))
    assert not commit(tmp_path / "a", put(b"two"))
    assert (tmp_path / "a").read_bytes() == b"one"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_system_that_cannot_sync_folders_is_let_be(tmp_path: Path, monkeypatch):
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):  # noqa: PTH112
            raise OSError(errno.EINVAL, "folders cannot be synced")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    assert commit(tmp_path / "a", put(b"x"))


def test_an_error_of_the_writer_leaves_nothing(tmp_path: Path):
    def fail(file) -> None:
        file.write(b"half")
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        commit(tmp_path / "a", fail)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_missing_is_named(tmp_path: Path):
    with pytest.raises(ResourceError, match=r"cannot write .*missing/a: No such file"):
        commit(tmp_path / "missing" / "a", put(b"x"))


def test_a_file_where_a_folder_should_be_is_named(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match=r"cannot write .*file/deep"):
        make_folder(tmp_path / "file" / "deep")


def test_folders_are_made_with_their_parents_and_may_be_there(tmp_path: Path):
    assert make_folder(tmp_path / "a" / "b" / "c").is_dir()
    assert make_folder(tmp_path / "a" / "b" / "c").is_dir()


def test_a_temporary_name_says_who_writes_and_is_stale_when_that_process_is_gone(tmp_path: Path):
    name = temporary_name(tmp_path / "shard-00000.safetensors").name
    assert name.startswith(f".shard-00000.safetensors.{host_name()}.{os.getpid()}.")
    assert name.endswith(".tmp")
    assert not stale(tmp_path / name)
    assert stale(tmp_path / name.replace(f".{os.getpid()}.", ".4194304."))
    assert not stale(tmp_path / name.replace(host_name(), "elsewhere"))
    assert not stale(tmp_path / "shard-00000.safetensors")

"""The commit protocol, call by call."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from interp_registry.errors import ResourceError
from interp_registry.stores.artifact import (
    commit,
    make_folder,
    remove_folder,
    replace,
    replace_text,
    resource_error,
    stale,
    temporary_name,
    whole_folder,
)
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


def fill(final: Path, text: str, **how: bool) -> None:
    with whole_folder(final, **how) as fresh:
        (fresh / "inner").mkdir()
        (fresh / "inner" / text).write_text(text)


def texts(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path):
    for text in ("one", "two"):
        fill(tmp_path / "a", text)
        assert texts(tmp_path) == [text]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_folder_that_is_there_is_kept_if_that_is_asked_for(tmp_path: Path):
    fill(tmp_path / "a", "one", replaced=False)
    fill(tmp_path / "a", "two", replaced=False)
    assert texts(tmp_path) == ["one"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_block_that_fails_leaves_the_folder_that_was_there(tmp_path: Path):
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise KeyError("mine")

    fill(tmp_path / "a", "one")
    with pytest.raises(KeyError, match="mine"), whole_folder(tmp_path / "a") as fresh:
        fail(fresh)
    assert texts(tmp_path) == ["one"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_another_writer_at_the_same_time_is_no_error(tmp_path: Path, monkeypatch):
    """The other one puts its folder there after ours was found to be in the way, and takes it away before we can."""
    real, others = os.rename, iter(("appears", "vanishes"))

    def rename(old: Path, new: Path) -> None:
        what = next(others, None)
        if what == "appears":
            (tmp_path / "a").mkdir()
            (tmp_path / "a" / "theirs").touch()
        elif what == "vanishes":
            (tmp_path / "a" / "theirs").unlink()
            (tmp_path / "a").rmdir()
        real(old, new)

    monkeypatch.setattr(os, "rename", rename)
    fill(tmp_path / "a", "ours")
    assert next(others, None) is None
    assert texts(tmp_path) == ["ours"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_every_file_of_a_folder_is_synced_before_it_gets_its_name(tmp_path: Path, monkeypatch):
    calls: list[str] = []
    for name in ("fsync", "rename"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, n=name, r=real: [calls.append(n), r(*a)][1])
    fill(tmp_path / "a", "one")
    assert calls == ["fsync", "fsync", "fsync", "rename", "fsync"]


def test_a_removed_folder_is_hidden_first(tmp_path: Path, monkeypatch):
    fill(tmp_path / "a", "one")
    monkeypatch.setattr(shutil, "rmtree", lambda path, **_: None)
    remove_folder(tmp_path / "a")
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".a.")
    assert left.name.endswith(".tmp")
    with pytest.raises(ResourceError, match=r"cannot write .*a: No such file"):
        remove_folder(tmp_path / "a")


def test_text_is_written_in_utf_8_and_line_ends_are_left(tmp_path: Path):
    for text in ("Käse\n", "a\r\nb"):
        replace_text(tmp_path / "a", text)
        assert (tmp_path / "a").read_bytes() == text.encode()


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "said otherwise", "/disk/file"),
        OSError(errno.EDQUOT, "quota", "/disk/file"),
        OSError(errno.EFBIG, "too large", "/disk/file"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_known_however_a_library_words_it(error: Exception):
    found = resource_error(error)
    assert found is not None
    assert found.message.startswith("cannot write /disk/file: " if isinstance(error, OSError) else "cannot write: ")
    assert "make space, then run the same command again" in str(found.hint)


@pytest.mark.parametrize(
    "error", [OSError(errno.EACCES, "no"), OSError("no number"), ValueError("os error"), KeyError(28)]
)
def test_other_errors_are_no_full_disk(error: Exception):
    assert resource_error(error) is None

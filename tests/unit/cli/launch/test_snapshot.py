"""Code snapshots: complete, without secrets, and invisible to the user's repository."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from interp_cli.launch.snapshot import installed_versions, mapped_path, repository_of, take_snapshot
from interp_registry.errors import InterpError

CANARY = "canary-0123456789abcdef"


def _git(root: Path, *arguments: str) -> str:
    settings = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *settings, *arguments], cwd=root, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repo"
    (root / "pkg").mkdir(parents=True)
    _git(root, "init", "-q", "-b", "main")
    (root / "pkg" / "code.py").write_text("x = 1\n")
    (root / ".gitignore").write_text("*.big\n")
    (root / ".env").write_text(f"T={CANARY}\n")
    _git(root, "add", "-f", ".")
    _git(root, "commit", "-q", "-m", "first")
    (root / "pkg" / "code.py").write_text("x = 2\n")
    (root / "pkg" / "staged.py").write_text("s\n")
    _git(root, "add", "pkg/staged.py")
    (root / "pkg" / "new file.py").write_text("n\n")
    (root / "data.big").write_text("ignored\n")
    for name in ("server.pem", ".env.local", "id_rsa", "deep/.aws/credentials", "notes.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{CANARY}\n")
    return root


def _fingerprint(root: Path) -> tuple[str, ...]:
    index = hashlib.sha256((root / ".git" / "index").read_bytes()).hexdigest()
    refs = _git(root, "for-each-ref", "refs/heads", "refs/tags", "refs/remotes", "refs/stash")
    return index, refs, _git(root, "status", "--porcelain"), (root / ".git" / "HEAD").read_text()


def test_the_snapshot_holds_the_working_tree_without_secrets(repository: Path, tmp_path: Path) -> None:
    target = tmp_path / "shot"
    shot = take_snapshot(repository, "id1", target, secrets=[CANARY])
    files = sorted(str(path.relative_to(target)) for path in target.rglob("*") if path.is_file())
    assert files == [".gitignore", "pkg/code.py", "pkg/new file.py", "pkg/staged.py"]
    assert (target / "pkg" / "code.py").read_text() == "x = 2\n"
    assert shot.left_out == ("notes.txt",)
    assert _git(repository, "rev-parse", "refs/interp/launch/id1").strip() == shot.commit
    assert (
        _git(repository, "rev-parse", f"{shot.commit}^").strip()
        == shot.head
        == _git(repository, "rev-parse", "HEAD").strip()
    )
    assert CANARY not in _git(repository, "ls-tree", "-r", shot.commit)


def test_index_branches_and_status_are_bit_identical(repository: Path, tmp_path: Path) -> None:
    before = _fingerprint(repository)
    take_snapshot(repository, "id2", tmp_path / "shot", secrets=[CANARY])
    index = hashlib.sha256((repository / ".git" / "index").read_bytes()).hexdigest()
    assert index == before[0]
    assert _fingerprint(repository) == before


def test_the_tools_own_output_and_large_untracked_files_are_left_out(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interp_cli.launch.snapshot._MAX_UNTRACKED_BYTES", 1000)
    (repository / "runs" / "launches").mkdir(parents=True)
    (repository / "runs" / "x.txt").write_text("output")
    (repository / "weights[1].bin").write_bytes(b"0" * 2000)
    shot = take_snapshot(
        repository,
        "id3",
        tmp_path / "shot",
        exclude=[repository / "runs" / "launches", repository / "runs", repository],
    )
    assert not (tmp_path / "shot" / "runs").exists()
    assert not (tmp_path / "shot" / "weights[1].bin").exists()
    assert shot.left_out == ("weights[1].bin",)


def test_a_file_that_is_ignored_but_was_added_by_force_is_there(repository: Path, tmp_path: Path) -> None:
    _git(repository, "add", "-f", "data.big")
    take_snapshot(repository, "id7", tmp_path / "shot")
    assert (tmp_path / "shot" / "data.big").read_text() == "ignored\n"


def test_a_repository_without_commits_can_be_snapshot(tmp_path: Path) -> None:
    root = tmp_path / "fresh"
    root.mkdir()
    _git(root, "init", "-q")
    (root / "a.py").write_text("1")
    shot = take_snapshot(root, "id4", tmp_path / "shot")
    assert shot.head == ""
    assert (tmp_path / "shot" / "a.py").read_text() == "1"


def test_hooks_of_the_repository_do_not_run(repository: Path, tmp_path: Path) -> None:
    for name in ("reference-transaction", "post-index-change", "pre-commit"):
        hook = repository / ".git" / "hooks" / name
        hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/hooked\n")
        hook.chmod(0o755)
    take_snapshot(repository, "id5", tmp_path / "shot")
    assert not (tmp_path / "hooked").exists()


def test_a_broken_repository_is_one_clear_error(repository: Path, tmp_path: Path) -> None:
    (repository / ".git" / "index").write_bytes(b"nonsense" * 100)
    with pytest.raises(InterpError, match=r"git .* failed in"):
        take_snapshot(repository, "id6", tmp_path / "shot")


def test_folders_of_the_path_move_to_the_snapshot(repository: Path, tmp_path: Path) -> None:
    shot = tmp_path / "shot"
    (shot / "pkg").mkdir(parents=True)
    entries = [
        str(repository),
        str(repository / "pkg"),
        str(repository / ".venv" / "lib" / "site-packages"),
        "/usr/lib",
        "",
    ]
    assert mapped_path(repository, shot, entries) == [str(shot), str(shot / "pkg")]


def test_the_repository_of_a_folder_is_found(repository: Path, tmp_path: Path) -> None:
    assert repository_of(repository / "pkg") == repository
    outside = tmp_path / "outside"
    outside.mkdir()
    assert repository_of(outside) is None


def test_versions_of_what_is_installed_are_listed() -> None:
    versions = installed_versions()
    assert versions["interp-cli"]
    assert list(versions) == sorted(versions)

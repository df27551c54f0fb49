"""The user's code as it is at launch: a commit that no branch knows, unpacked once into the launch folder.

Works on a copy of the index, so that the user's index, branches, remotes and working tree stay as they are. Secrets (``.env*``, keys,
files that hold the value of a secret variable), large untracked files and the tool's own output are left out.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from interp_registry.errors import InterpError

__all__ = ["SECRET_FILES", "Snapshot", "installed_versions", "mapped_path", "repository_of", "take_snapshot"]

SECRET_FILES = (
    ".env*", "*.pem", "*.key", "*.p12", "*.pfx", "id_rsa*", "id_ed25519*", "id_ecdsa*", ".netrc", ".npmrc", ".pypirc", ".git-credentials",
    "credentials*", "secrets.*", "*.token",
)  # fmt: skip
"""File names that no snapshot holds."""

_MAX_UNTRACKED_BYTES = 50 * 2**20
_NOBODY = {
    "GIT_AUTHOR_NAME": "interp", "GIT_AUTHOR_EMAIL": "interp@localhost",
    "GIT_COMMITTER_NAME": "interp", "GIT_COMMITTER_EMAIL": "interp@localhost",
}  # fmt: skip


@dataclass(frozen=True)
class Snapshot:
    """Code that a launch runs.

    Attributes:
        commit: The commit made for it.
        ref: The private reference that keeps the commit.
        head: The commit that the working tree was based on; "" in a repository without commits.
        root: Top of the repository.
        left_out: Untracked files that were too large, and files that hold a secret.
    """

    commit: str
    ref: str
    head: str
    root: Path
    left_out: tuple[str, ...] = ()


def repository_of(folder: Path) -> Path | None:
    """Top of the git repository that a folder is in; None outside one, or without git."""
    git = shutil.which("git")
    if git is None:
        return None
    command = [git, "rev-parse", "--show-toplevel"]
    answer = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603 - git
    return Path(answer.stdout.strip()) if answer.returncode == 0 and answer.stdout.strip() else None


def take_snapshot(
    root: Path, launch_id: str, target: Path, *, exclude: Iterable[Path] = (), secrets: Sequence[str] = ()
) -> Snapshot:
    """Commit the working tree privately and unpack it into ``target``.

    Args:
        root: Top of the repository.
        launch_id: Names the reference ``refs/interp/launch/<id>``.
        target: Folder that is made.
        exclude: Folders that are left out if they lie inside the repository (where the tool writes).
        secrets: Texts that no file of the snapshot may hold.

    Raises:
        InterpError: A git command failed.
    """
    with tempfile.TemporaryDirectory(prefix="interp-index-") as scratch:
        git = _Git(root, Path(scratch) / "index")
        git.copy_index()
        large = git.large_untracked()
        leave = [*_name_patterns(), *_inside(exclude, root), *(f":(exclude,literal,top){name}" for name in large)]
        git.run("add", "-A", "--", ":/", *leave)
        git.run("rm", "-r", "-q", "--cached", "--ignore-unmatch", "--", *_name_patterns(exclude=False))
        telling = git.files_with(secrets)
        if telling:
            git.run("rm", "-q", "--cached", "--", *(f":(literal,top){name}" for name in telling))
        head = git.head()
        parents = ["-p", head] if head else []
        commit = git.run("commit-tree", git.run("write-tree"), *parents, "-m", f"interp launch {launch_id}")
    ref = f"refs/interp/launch/{launch_id}"
    git.run("update-ref", ref, commit)
    _unpack(root, commit, target)
    return Snapshot(commit, ref, head, root, (*large, *telling))


@dataclass(frozen=True)
class _Git:
    """git on a private index; never touches the user's."""

    root: Path
    index: Path

    def run(self, *arguments: str, accept: Sequence[int] = (0,), stdin: str | None = None, private: bool = True) -> str:
        environment = {**os.environ, **_NOBODY, "GIT_OPTIONAL_LOCKS": "0"}
        if private:
            environment["GIT_INDEX_FILE"] = str(self.index)
        command = ["git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", *arguments]
        answer = subprocess.run(  # noqa: S603 - git, arguments as a list
            command, cwd=self.root, env=environment, input=stdin, capture_output=True, text=True, check=False
        )
        if answer.returncode not in accept:
            words = answer.stderr.strip().splitlines()
            raise InterpError(
                f"git {arguments[0]} failed in {self.root}: {words[-1] if words else answer.returncode}",
                "mend it, or launch with --no-snapshot",
            )
        return answer.stdout.strip()

    def copy_index(self) -> None:
        path = self.root / self.run("rev-parse", "--git-path", "index", private=False)
        if path.exists():
            shutil.copyfile(path, self.index)

    def head(self) -> str:
        return self.run("rev-parse", "--verify", "--quiet", "HEAD", accept=(0, 1))

    def large_untracked(self) -> list[str]:
        names = self.run("ls-files", "--others", "--exclude-standard", "-z").split("\0")
        return [name for name in names if name and _size(self.root / name) > _MAX_UNTRACKED_BYTES]

    def files_with(self, secrets: Sequence[str]) -> list[str]:
        """Files of the index that hold one of the texts; these go through standard input, not the process list."""
        if not secrets:
            return []
        found = self.run(
            "grep", "--cached", "-l", "-z", "-F", "-f", "-", "--", ":/", accept=(0, 1), stdin="\n".join(secrets) + "\n"
        )
        return [name for name in found.split("\0") if name]


def _size(path: Path) -> int:
    return path.lstat().st_size if path.is_file() or path.is_symlink() else 0


def _name_patterns(*, exclude: bool = True) -> list[str]:
    magic = ":(exclude,glob,top,icase)" if exclude else ":(glob,top,icase)"
    return [f"{magic}**/{name}" for name in SECRET_FILES] + [
        f"{magic}**/{name}/**" for name in (".ssh", ".aws", ".env*")
    ]


def _inside(folders: Iterable[Path], root: Path) -> list[str]:
    inside = (folder.resolve() for folder in folders)
    top = root.resolve()
    return [
        f":(exclude,literal,top){folder.relative_to(top)}"
        for folder in inside
        if folder.is_relative_to(top) and folder != top
    ]


def _unpack(root: Path, commit: str, target: Path) -> None:
    """Unpack a commit through ``git archive``; a reader never sees a part of it under the final name."""
    scratch = target.with_name(f".{target.name}.tmp")
    scratch.mkdir(parents=True)
    with subprocess.Popen(["git", "archive", "--format=tar", commit], cwd=root, stdout=subprocess.PIPE) as archive:  # noqa: S603, S607
        if archive.stdout is not None:
            with tarfile.open(fileobj=archive.stdout, mode="r|") as tar:
                tar.extractall(scratch, filter="tar")
    if archive.returncode != 0:
        raise InterpError(f"git archive {commit} failed in {root}", "launch with --no-snapshot")
    scratch.rename(target)


def mapped_path(root: Path, snapshot: Path, entries: Sequence[str] | None = None) -> list[str]:
    """Where Python finds the snapshot's packages: each folder of ``sys.path`` inside the repository, moved to the snapshot.

    Args:
        root: Top of the repository.
        snapshot: Folder that the code was unpacked into.
        entries: Folders to map; ``sys.path`` by default.
    """
    top = root.resolve()
    mapped = [snapshot]
    for entry in sys.path if entries is None else entries:
        folder = Path(entry).resolve() if entry else None
        if folder is None or not folder.is_relative_to(top) or "site-packages" in folder.parts:
            continue
        there = snapshot / folder.relative_to(top)
        if there.is_dir() and there not in mapped:
            mapped.append(there)
    return [str(folder) for folder in mapped]


def installed_versions() -> dict[str, str]:
    """Names and versions of all installed distributions, sorted: what a launch without git is pinned to."""
    found: dict[str, str] = {}
    for dist in distributions():
        header = _header(dist.read_text("METADATA") or "")
        if "Name" in header and "Version" in header:
            found.setdefault(header["Name"], header["Version"])
    return dict(sorted(found.items()))


def _header(metadata: str) -> dict[str, str]:
    """The fields of a METADATA file up to name and version, which come first; the standard library parses all of it, ten times slower."""
    header: dict[str, str] = {}
    for line in metadata.splitlines():
        name, _, value = line.partition(": ")
        header.setdefault(name, value)
        if not line or {"Name", "Version"} <= header.keys():
            break
    return header

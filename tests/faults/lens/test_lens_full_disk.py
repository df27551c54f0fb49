"""The commands of lenses on a full disk and under a file-size limit: one clear line, nothing half-written, going on with space."""

import resource
import shutil
from pathlib import Path

import pytest
import torch
from child_processes import fork, wait
from small_disk import small_disk

from interp_cli.__main__ import run as interp

pytestmark = pytest.mark.slow

SMALL = (
    "--limit",
    "60",
    "--layers",
    "1",
    "--positions",
    "random:2,min:6",
    "--no-report",
    "--device",
    "cpu",
    "--progress",
    "none",
)
COMMANDS = {
    "dump": ("lens", "dump", "lm-d32", *SMALL),
    "tuned": ("lens", "train", "tuned", "lm-d32", *SMALL, "--steps", "3", "--method.batch_size", "16"),
    "consistency": ("lens", "train", "consistency", "lm-d32", *SMALL, "--steps", "2", "--method.batch_size", "8"),
    "eval": ("lens", "eval", "logit", "--model", "lm-d32", *SMALL, "--suite", "swap"),
}


def check(home: Path, said: str, reason: str) -> None:
    """One clear error; what was written is whole."""
    assert reason in said
    assert "Traceback" not in said
    assert not list(home.rglob("*.tmp"))
    if (home / "store").exists():
        assert interp(["store", "verify", "--out", str(home)]) == 0


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> Path:
    """A home with the activations."""
    home = tmp_path_factory.mktemp("lens") / "home"
    assert interp([*COMMANDS["dump"], "--out", str(home)]) == 0
    return home


@pytest.mark.parametrize("left", [0, 30_000])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_is_one_clear_error_and_the_same_command_goes_on(
    stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, left: int
):
    with small_disk(tmp_path / "disk", 16) as disk:
        home = disk.path / "home"
        if name != "dump":
            shutil.copytree(stored / "store", home / "store")
        disk.fill(left)
        capsys.readouterr()
        assert interp([*COMMANDS[name], "--out", str(home)]) in (1, 3)
        check(home, capsys.readouterr().err, "No space left on device")
        disk.clear()
        assert interp([*COMMANDS[name], "--out", str(home)]) == 0


@pytest.mark.parametrize("name", ["dump", "consistency"])
def test_a_file_size_limit_is_reported_like_a_full_disk(stored: Path, tmp_path: Path, capfd, name: str):
    home = tmp_path / "home"
    if name != "dump":
        shutil.copytree(stored / "store", home / "store")

    def limited() -> None:
        torch.set_num_threads(1)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, 8_000))
        assert interp([*COMMANDS[name], "--out", str(home)]) == 1

    assert wait(fork(limited)) == 0
    check(home, capfd.readouterr().err, "File too large")
    assert interp([*COMMANDS[name], "--out", str(home)]) == 0

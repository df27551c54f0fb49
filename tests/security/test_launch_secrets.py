"""A canary in HF_TOKEN and WANDB_API_KEY is found nowhere in what a launch writes."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

CANARY = "canary-7f3a91bd55e0"


def _git(root: Path, *arguments: str) -> None:
    settings = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *settings, *arguments], cwd=root, check=True, capture_output=True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    _git(root, "init", "-q")
    (root / "code.py").write_text("x = 1\n")
    (root / ".env").write_text(f"HF_TOKEN={CANARY}\n")
    _git(root, "add", "-f", ".")
    _git(root, "commit", "-q", "-m", "first")
    (root / "notes.md").write_text(f"my token is {CANARY}\n")
    return root


def test_no_secret_is_written_anywhere(project: Path, tmp_path: Path, own_home: Path) -> None:
    environment = {
        **os.environ,
        "HF_TOKEN": CANARY,
        "WANDB_API_KEY": CANARY,
        "HTTP_PROXY": f"http://me:{CANARY}@proxy:1",
        "OMP_NUM_THREADS": "1",
    }
    command = [
        sys.executable,
        "-P",
        "-m",
        "interp_cli",
        "launch",
        "local",
        "--json",
        "--pass-env",
        "WANDB_API_KEY",
        "--",
        "catalog",
        "list",
    ]
    answer = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=120)
    assert answer.returncode == 0, answer.stderr
    folder = Path(json.loads(answer.stdout)["folder"])
    deadline = time.monotonic() + 60
    while not (folder / "state" / "0.json").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert json.loads((folder / "state" / "0.json").read_text())["state"] == "done"
    written = [path for path in own_home.rglob("*") if path.is_file()]
    assert len(written) > 5
    assert (folder / "snapshot" / "code.py").is_file()
    assert [str(path) for path in written if CANARY.encode() in path.read_bytes()] == []
    assert CANARY not in answer.stdout + answer.stderr


def test_a_secret_among_the_arguments_is_refused(project: Path, own_home: Path) -> None:
    command = [
        sys.executable,
        "-P",
        "-m",
        "interp_cli",
        "launch",
        "print",
        "--",
        "catalog",
        "show",
        "modelsets",
        CANARY,
    ]
    answer = subprocess.run(
        command, cwd=project, env={**os.environ, "HF_TOKEN": CANARY}, capture_output=True, text=True, timeout=120
    )
    assert answer.returncode == 2
    assert "the value of HF_TOKEN" in answer.stderr
    assert CANARY not in answer.stdout + answer.stderr
    assert not list(own_home.rglob("launch.json"))

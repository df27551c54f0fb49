"""A command line that starts in milliseconds, and small data to run it on."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from forked_cli import SERVER, CommandLine


@pytest.fixture(scope="session")
def cli_server() -> "Iterator[subprocess.Popen[str]]":
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
    server = subprocess.Popen(
        [sys.executable, str(SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert server.stdout.readline() == "ready\n"
    yield server
    server.stdin.close()
    server.stdout.close()
    server.wait()


@pytest.fixture
def cli(cli_server, tmp_path) -> CommandLine:
    return CommandLine(cli_server, tmp_path / "home")


@pytest.fixture(scope="session")
def captions(tmp_path_factory) -> Path:
    """96 short texts in the words of the embedded world."""
    path = tmp_path_factory.mktemp("data") / "captions.jsonl"
    words = ["a small red circle", "above a blue square", "in the darkness", "and a green ring"]
    rows = [{"text": " ".join(words[: 1 + i % 4]) + f" {'x' * (i % 7)}"} for i in range(96)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path

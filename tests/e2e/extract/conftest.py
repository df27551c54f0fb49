"""Small data to run the command line on."""

import json
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def captions(tmp_path_factory) -> Path:
    """96 short texts in the words of the embedded world."""
    path = tmp_path_factory.mktemp("data") / "captions.jsonl"
    words = ["a small red circle", "above a blue square", "in the darkness", "and a green ring"]
    rows = [{"text": " ".join(words[: 1 + i % 4]) + f" {'x' * (i % 7)}"} for i in range(96)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path

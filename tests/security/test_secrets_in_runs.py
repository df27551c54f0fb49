"""Canary tokens in the environment and on the command line are found nowhere in what a run writes."""

import json
from pathlib import Path

import pytest

from interp_cli.__main__ import run as interp
from interp_registry.events import JsonlSink, read_events

CANARIES = {
    "HF_TOKEN": "canary-of-the-hub-1",
    "HUGGING_FACE_HUB_TOKEN": "canary-of-the-hub-2",
    "WANDB_API_KEY": "canary-of-a-tracker",
    "AWS_SECRET_ACCESS_KEY": "canary-of-a-cloud",
    "DATABASE_PASSWORD": "canary-of-a-database",
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in CANARIES.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "home"


def files_with_a_canary(home: Path) -> list[str]:
    files = [path for path in home.rglob("*") if path.is_file()]
    assert files
    return [str(path) for path in files if b"canary" in path.read_bytes() or b"canary" in str(path).encode()]


def extraction(tmp_path: Path, home: Path, *more: str) -> list[str]:
    captions = tmp_path / "captions.jsonl"
    captions.write_text("".join(json.dumps({"text": f"a red circle {i}"}) + "\n" for i in range(8)))
    return ["extract", *more, "--dataset", str(captions), "--progress", "none", "--out", str(home)]


def test_tokens_of_the_environment_are_written_nowhere(tmp_path: Path, home: Path):
    assert interp(extraction(tmp_path, home, "lm-d32")) == 0
    assert files_with_a_canary(home) == []


def test_tokens_of_the_command_line_are_written_nowhere_even_when_the_run_fails(tmp_path: Path, home: Path):
    name = f"nobody/{CANARIES['HF_TOKEN']}"
    assert interp(extraction(tmp_path, home, "lm-d32", name)) == 3
    assert files_with_a_canary(home) == []


def test_tokens_in_events_are_hidden(home: Path):
    home.mkdir()
    with JsonlSink(home / "events.jsonl") as sink:
        sink.message(f"https://user:{CANARIES['DATABASE_PASSWORD']}@host failed", "error")
        sink.scalar("loss", 0.5, 3)
    assert files_with_a_canary(home) == []
    events = list(read_events(home / "events.jsonl"))
    assert events[0].text == "https://user:[hidden]@host failed"
    assert events[1].value == 0.5

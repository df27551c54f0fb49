"""A hub that stops in the middle of its answer or gives wrong files is named, and Ctrl-C ends the waiting (slow tier)."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny_models
from fake_hub import FakeHub, fake_hub
from transformers import AutoModelForCausalLM

pytestmark = pytest.mark.slow


def start(hub: FakeHub, home: Path, *words: str, patience: int) -> subprocess.Popen[str]:
    """The command as a process of its own: the hub's address is read when its library is imported."""
    own = {"INTERP_HOME": str(home / "interp"), "HF_HOME": str(home / "hf"), "HF_ENDPOINT": hub.address}
    env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "0", "NO_PROXY": "127.0.0.1", **own}
    command = [sys.executable, "-m", "interp_cli", *words, "--limit", "4", "--no-report", "--json"]
    settings = env | {"HF_HUB_DOWNLOAD_TIMEOUT": str(patience)}
    return subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


FAULTS = {
    "fake/stalls": "the hub stopped answering while fake/stalls was fetched",
    "fake/ends": "the hub stopped answering while fake/ends was fetched",
    "fake/shorter": "fake/shorter",
    "fake/torn": "fake/torn cannot be loaded from the hub",
}


def test_downloads_that_go_wrong_are_named_in_one_line_each_and_the_other_models_go_on(tmp_path: Path):
    tiny_models.build(AutoModelForCausalLM, tiny_models.language_config("gpt2")).save_pretrained(tmp_path / "tiny")
    with fake_hub() as hub:
        hub.folders = dict.fromkeys(FAULTS, tmp_path / "tiny")
        hub.stalls, hub.cut = {"fake/stalls"}, {"fake/ends"}
        hub.changed["fake/shorter"] = lambda content: content[:-1000]
        hub.changed["fake/torn"] = lambda content: b"\xff" * 1000 + content[1000:]
        process = start(hub, tmp_path, "extract", *FAULTS, "lm-d32", "--dataset", "shapes", patience=1)
        out, err = process.communicate(timeout=240)
    assert process.returncode == 3, err
    failures = {failure["item"]: failure["message"] for failure in json.loads(out)["failures"]}
    assert failures.keys() == FAULTS.keys()
    assert not [item for item, message in failures.items() if FAULTS[item] not in message], failures
    assert not [message for message in failures.values() if "report" in message]
    assert [row["model"] for row in json.loads(out)["features"]] == ["lm-d32"]
    assert "Traceback" not in err


def test_control_c_ends_the_waiting_for_a_silent_hub(tmp_path: Path):
    with fake_hub() as hub:
        hub.silent = True
        process = start(hub, tmp_path, "extract", "fake/tiny", "--dataset", "shapes", patience=300)
        assert hub.asked.wait(timeout=120)
        process.send_signal(signal.SIGINT)
        begin = time.monotonic()
        _out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert time.monotonic() - begin < 30
    assert "Traceback" not in err

"""``interp ui`` for real: Aim's interface answers over HTTP and knows the runs of the home folder. Slow tier."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from interp_registry.contracts.method import Result
from interp_registry.events import JsonlSink
from interp_registry.stores.run import RunStore

pytestmark = pytest.mark.slow
pytest.importorskip("aim")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(url, seconds):
    """What an address answers, asked again until it does."""
    until = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - loopback
                return answer.status, answer.read().decode()
        except (urllib.error.URLError, OSError):
            if time.monotonic() > until:
                raise
            time.sleep(0.5)


def test_the_interface_answers_and_shows_a_run_that_was_made_without_aim(tmp_path):
    run = RunStore(tmp_path / "runs").create("align", {"metric": "cka"})
    with JsonlSink(run.events) as sink:
        sink.scalar("loss", 0.5, 0)
    run.finish(Result(scalars={"score": 0.5}).to_json())
    port = free_port()
    words = [sys.executable, "-m", "interp_cli", "ui", "--out", str(tmp_path), "--port", str(port)]
    ui = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        status, page = get(f"http://127.0.0.1:{port}/", 180)
        assert status == 200
        assert "<title>Aim" in page
        _, project = get(f"http://127.0.0.1:{port}/api/projects/", 30)
        assert json.loads(project)["path"].startswith(str(tmp_path / "runs"))
        _, experiments = get(f"http://127.0.0.1:{port}/api/experiments/", 30)
        assert "align" in [entry["name"] for entry in json.loads(experiments)]
    finally:
        os.killpg(ui.pid, signal.SIGTERM)
        said = ui.communicate(timeout=30)[1].decode()
    assert "imported 1 runs" in said

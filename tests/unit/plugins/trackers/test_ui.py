"""`interp ui` starts a server and leaves none of its processes behind."""

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from child_processes import fork, wait

from interp_plugins.trackers import ui

SERVER = """
import os, subprocess, sys, time
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open(sys.argv[1] + ".new", "w").write(str(worker.pid))
os.replace(sys.argv[1] + ".new", sys.argv[1])
time.sleep(60)
"""


def ended(pid: int) -> bool:
    """Whether a process is gone, or a zombie that nobody has waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_until(what) -> None:
    deadline = time.monotonic() + 30
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_the_servers_own_processes_end_with_it(tmp_path: Path, signum: int):
    note = tmp_path / "worker"

    def serve() -> None:
        signal.signal(signum, signal.default_int_handler)
        ui._serve([sys.executable, "-c", SERVER, str(note)])

    child = fork(serve)
    wait_until(note.exists)
    os.kill(child, signum)
    assert wait(child) == 1
    wait_until(partial(ended, int(note.read_text())))


def test_the_exit_code_is_the_servers():
    assert ui._serve([sys.executable, "-c", "raise SystemExit(3)"]) == 3

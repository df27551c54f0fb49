"""The process starts and ends quickly, and loses nothing by it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = """
import gc, sys
from interp_cli.interpreter import exit_code_kept, imports_are_done, start_quickly

class Garbage:
    def __del__(self):
        print("taken down")

start_quickly()
assert gc.get_threshold()[0] > 10_000
import atexit, tempfile, threading, time
kept = Garbage()
atexit.register(print, "an exit function")
folder = tempfile.TemporaryDirectory()
threading.Thread(target=lambda: (time.sleep(0.2), print("a thread"))).start()
imports_are_done()
assert gc.get_threshold()[0] < 10_000 < gc.get_freeze_count()
print(folder.name, flush=True)
"""


def ended(program: str, **streams: object) -> subprocess.CompletedProcess[str]:
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        [sys.executable, "-c", program], text=True, check=False, env=buffered, **{"stdout": subprocess.PIPE, **streams}
    )


@pytest.mark.parametrize(("said", "code"), [("0", 0), ("3", 3), ("143", 143), ("None", 0), ("'a word'", 1)])
def test_threads_and_exit_functions_end_and_no_module_is_taken_down(said: str, code: int):
    done = ended(f"{_PROGRAM}\nprint('the last line')\nwith exit_code_kept():\n    sys.exit({said})")
    folder, *lines = done.stdout.splitlines()
    assert lines == ["the last line", "a thread", "an exit function"]
    assert not Path(folder).exists()
    assert done.returncode == code


def test_an_error_that_nobody_handles_is_no_success():
    assert ended(f"{_PROGRAM}\nraise OSError", stderr=subprocess.DEVNULL).returncode == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
def test_output_that_cannot_be_written_in_the_end_is_no_success():
    program = (
        "from interp_cli.interpreter import *; start_quickly(); print('text', end='')\nwith exit_code_kept(): exit(0)"
    )
    with Path("/dev/full").open("w") as full:
        assert ended(program, stdout=full).returncode == 120
        line = [sys.executable, "-m", "interp_cli", "cite", "align"]
        done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr


def test_ctrl_c_before_signals_are_handled_ends_the_command_in_silence():
    program = """
import os, signal
import interp_cli.__main__ as cli
signal.signal(signal.SIGINT, signal.default_int_handler)  # what starts the tests may ignore it
cli.show_any_text = lambda *streams: os.kill(os.getpid(), signal.SIGINT)
cli.main()
"""
    done = ended(program, stderr=subprocess.PIPE)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")

"""A signal that arrives while a library makes classes from strings ends the program with the exit code that it chose."""

import os
import subprocess
import sys
from pathlib import Path

_PROGRAM = """
import os, signal, sys
from interp_cli.signals import stop_on_signals

try:
    with stop_on_signals():
        exec("os.kill(os.getpid(), signal.SIGINT)", {"os": os, "signal": signal})
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_an_interruption_inside_exec_leaves_the_exit_code_alone(tmp_path: Path):
    (tmp_path / "program.py").write_text(_PROGRAM)
    path = os.pathsep.join(entry for entry in (os.environ.get("PYTHONPATH"), *sys.path) if entry)
    ended = subprocess.run(
        [sys.executable, "-m", "program"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, check=False
    )
    assert ended.returncode == 130

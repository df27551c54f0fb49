"""What the live dashboard costs: processor time of a command without it and with it, side by side.

Run it on an idle machine::

    OMP_NUM_THREADS=1 python benchmarks/dashboard_overhead.py [--repeats 3] [--columns 100] -- spd run tms_5-2 --steps 1500

Both runs are processes of their own under a pseudo-terminal, in an empty folder each, alternately; their processor time is what the
operating system says when they end, imports included. The processor time of the thread that redraws is counted apart, inside the
process: it does not depend on what else the machine does. Goal: under 1 % of the command's.
"""

import argparse
import fcntl
import os
import pty
import statistics
import struct
import sys
import tempfile
import termios
from pathlib import Path

_CHILD = """
import sys
from pathlib import Path
from interp_cli import dashboard
from interp_cli.__main__ import run

stop = dashboard.Redrawer.stop

def noted(self):
    stop(self)
    Path(sys.argv[1]).write_text(f"{self.cpu_seconds} {self.frames}")

dashboard.Redrawer.stop = noted
sys.exit(run(sys.argv[2:]))
"""


def measure(command: list[str], progress: str, columns: int) -> tuple[float, float, int]:
    """Processor seconds of the process, those of its redraws, and the number of redraws.

    Raises:
        RuntimeError: The command failed; the end of what it printed is the message.
    """
    with tempfile.TemporaryDirectory() as scratch:
        note = Path(scratch) / "note"
        words = [*command, "--progress", progress, "--no-report", "--out", str(Path(scratch) / "home")]
        child, terminal = pty.fork()
        if child == 0:
            fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
            os.execv(sys.executable, [sys.executable, "-c", _CHILD, str(note), *words])  # noqa: S606 - no shell
        printed = _drain(terminal)
        _, status, usage = os.wait4(child, 0)
        if os.waitstatus_to_exitcode(status) != 0:
            raise RuntimeError(printed[-2000:].decode(errors="replace"))
        redraws, frames = note.read_text().split() if note.exists() else ("0", "0")
        return usage.ru_utime + usage.ru_stime, float(redraws), int(frames)


def _drain(terminal: int) -> bytes:
    """Everything that is printed on the terminal until the process has ended."""
    printed = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # Linux says so when the last process that had the terminal is gone
            return printed
        if not part:
            return printed
        printed = (printed + part)[-100_000:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--columns", type=int, default=100)
    parser.add_argument("command", nargs="+", help="words after `interp`")
    options = parser.parse_args()
    without: list[float] = []
    shown: list[tuple[float, float, int]] = []
    for _ in range(options.repeats):
        without.append(measure(options.command, "none", options.columns)[0])
        shown.append(measure(options.command, "rich", options.columns))
        cpu, redraws, frames = shown[-1]
        print(
            f"  none {without[-1]:.2f} s   rich {cpu:.2f} s, {frames} redraws of {redraws:.3f} s together", flush=True
        )
    median, live = statistics.median(without), statistics.median(cpu for cpu, _, _ in shown)
    share = statistics.median(redraws / cpu for cpu, redraws, _ in shown)
    spread = (max(without) - min(without)) / median
    print(f"interp {' '.join(options.command)}, median of {options.repeats}:")
    print(f"  processor time {median:.2f} s without, {live:.2f} s with the dashboard: {live / median - 1:+.2%}")
    print(f"  (runs without it differ by {spread:.2%} among themselves)")
    print(f"  redraws alone  {share:.2%} of the command's processor time (goal: under 1 %)")


if __name__ == "__main__":
    main()

"""A real interactive shell on a pseudo-terminal: type into it, and read what its screen shows."""

import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from fcntl import ioctl
from pathlib import Path

COMMANDS = {
    "bash": ["bash", "--noprofile", "-i"],
    "zsh": ["zsh", "-i"],
    "fish": ["fish", "-i"],
}
PROMPT = "READY>"
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?<>=]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][0-9A-B]|[=>78NOPc])")


class RealShell:
    """An interactive ``bash``, ``zsh`` or ``fish`` with a home folder of its own, in which ``interp`` is on the path.

    Args:
        kind: Which shell.
        home: Its home folder.
    """

    def __init__(self, kind: str, home: Path) -> None:
        self.kind, self.home, self._shown = kind, home, ""
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.chdir(home)
            os.execvpe(COMMANDS[kind][0], COMMANDS[kind], self._environment())  # noqa: S606 - never returns
        ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", 60, 100, 0, 0))

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("INTERP_HOME", "INTERP_CONFIG", "HF_HUB_OFFLINE")}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**kept, "HOME": str(self.home), "PATH": path, "TERM": "xterm", "LC_ALL": "C.UTF-8"}

    def type(self, keys: str, forget: bool = True) -> None:
        """Press keys; a TAB is ``\\t``, Enter is ``\\r``. What was shown before is forgotten."""
        self.read(0.1)
        self._shown = "" if forget else self._shown
        os.write(self._fd, keys.encode())

    def read(self, quiet: float) -> str:
        """What was shown since the last keys, when nothing came for ``quiet`` seconds; control sequences are left out."""
        while select.select([self._fd], [], [], quiet)[0]:
            try:
                got = os.read(self._fd, 65536).decode(errors="replace")
            except OSError:
                break
            if "\x1b[c" in got or "\x1b[0c" in got:  # fish asks what terminal this is, and waits for the answer
                os.write(self._fd, b"\x1b[?62c")
            self._shown += got
        return _ESCAPES.sub("", self._shown).replace("\x08", "")

    def wait_for(self, *words: str, seconds: float = 20.0) -> str:
        """Read until all ``words`` are shown."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            shown = self.read(0.1)
            if all(word in shown for word in words):
                return shown
        raise AssertionError(f"{self.kind} does not show {words} but {self.read(0.1)!r}")

    def close(self) -> None:
        """End the shell."""
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._fd)

"""The command line in forks of a process that has imported everything; see ``cli_server.py``."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

SERVER = Path(__file__).with_name("cli_server.py")


@dataclass
class Answer:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its output, printed with ``--json``."""
        return json.loads(self.out)

    @property
    def text(self) -> str:
        """All it said."""
        return self.out + self.err


class Server:
    """A process that has imported everything and runs commands in forks."""

    def __init__(self, **variables: str) -> None:
        quiet = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
        self._process = subprocess.Popen(
            [sys.executable, str(SERVER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **quiet, **variables},
        )
        assert self._read() == "ready"

    def ask(self, **request: Any) -> Any:
        """Send a request and read the answer."""
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """Let it end."""
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


@dataclass
class Running:
    """A command at work."""

    server: Server
    pid: int
    folder: Path
    code: int | None = None

    def poll(self, seconds: float = 0.0) -> int | None:
        """Its exit code, minus the signal that killed it, or nothing if it runs for longer than so many seconds."""
        if self.code is None:
            self.code = self.server.ask(wait=self.pid, seconds=seconds)["code"]
        return self.code

    def wait(self, seconds: float = 300.0) -> Answer:
        """Wait until it ends."""
        if self.poll(seconds) is None:
            self.send(signal.SIGKILL)
            raise AssertionError(f"it ran for more than {seconds} s")
        said = [self.folder / name for name in ("out", "err")]
        return Answer(self.code, *(path.read_text() if path.exists() else "" for path in said))

    def send(self, signum: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, signum)


@dataclass
class CommandLine:
    """Runs ``interp`` with arguments; every call is a process of its own."""

    server: Server
    home: Path
    started: list[Running] = field(default_factory=list)

    def __call__(self, *arguments: object, file_size: int | None = None, **env: str) -> Answer:
        """Run a command to its end."""
        return self.start(*arguments, file_size=file_size, **env).wait()

    def start(self, *arguments: object, file_size: int | None = None, **env: str) -> Running:
        """Begin a command."""
        folder = Path(mkdtemp(prefix="interp-cli-"))  # not beside the home: that disk may be full
        answer = self.server.ask(
            argv=[str(argument) for argument in arguments],
            env={"INTERP_HOME": str(self.home), "HF_HUB_OFFLINE": "1", **env},
            cwd=str(self.home.parent),
            out=str(folder / "out") if file_size is None else os.devnull,
            err=str(folder / "err"),
            file_size=file_size,
        )
        self.started.append(Running(self.server, answer["pid"], folder))
        return self.started[-1]

    def end(self) -> None:
        """Kill what still runs."""
        for running in self.started:
            running.send(signal.SIGKILL)
            running.poll(10)
            rmtree(running.folder)

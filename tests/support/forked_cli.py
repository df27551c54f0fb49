"""The command line in forks of a process that has imported everything; see ``cli_server.py``."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
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


class CommandLine:
    """Runs ``interp`` with arguments; every call is a process of its own."""

    def __init__(self, server: "subprocess.Popen[str]", home: Path) -> None:
        self._server, self.home = server, home

    def __call__(self, *arguments: object, kill_at: dict[str, Any] | None = None, **env: str) -> Answer:
        request = {
            "argv": [str(argument) for argument in arguments],
            "env": {"INTERP_HOME": str(self.home), "HF_HUB_OFFLINE": "1", **env},
            "kill_at": kill_at,
            "cwd": str(self.home.parent),
        }
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return Answer(**json.loads(self._server.stdout.readline()))

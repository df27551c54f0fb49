"""Canaries in the environment are found nowhere in what a command writes or says, whether it goes well or fails.

``tests/faults/test_every_command.py`` looks for them in what each command that computes leaves behind.
"""

from pathlib import Path

import pytest
from canaries import CANARY, ENVIRONMENT, files_with_canary
from forked_cli import CommandLine

QUIET = ("--progress", "none")
COMMANDS = {
    "extract": ("extract", "lm-d32", "--limit", "8", *QUIET),
    "a model that cannot be had": ("extract", f"nobody/{CANARY}", "--debug", *QUIET),
    "a model at an address": ("extract", f"https://me:{CANARY}@host/model", *QUIET),
    "a file at an address": ("align", f"https://me:{CANARY}@host/a.npy", "b.npy", *QUIET),
    "a tracker that is not there": (
        "extract",
        "lm-d32",
        "--limit",
        "2",
        "--tracker",
        f"wandb:project={CANARY}",
        "--no-report",
        *QUIET,
    ),
    "a wrong setting": ("extract", "lm-d32", "--limit", CANARY),
    "settings": ("config", "show"),
    "runs": ("runs", "show"),
    "report": ("report",),
}


CODES = {
    "a model that cannot be had": 1,
    "a model at an address": 2,
    "a file at an address": 2,
    "a wrong setting": 2,
}
"""Of the commands that fail; all others end well."""


@pytest.mark.slow
def test_no_command_writes_or_says_a_secret(cli: CommandLine, tmp_path: Path):
    told, codes = [], {}
    for name, words in COMMANDS.items():
        answer = cli(*words, **ENVIRONMENT)
        codes[name] = answer.code
        told += [f"{name}: {line}" for line in answer.text.splitlines() if CANARY in line]
    assert codes == {name: CODES.get(name, 0) for name in COMMANDS}
    assert files_with_canary(tmp_path) == []
    assert told == []

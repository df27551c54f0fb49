"""How a task tells its launch which run it made, and how it goes on with that run when it is started again."""

import os
from pathlib import Path

from interp_cli.launch.atomic import read_json

__all__ = ["VARIABLE", "resume_words", "tell_launch"]

VARIABLE = "INTERP_RUN_FILE"
"""Variable that names the file into which a command writes the folder of its run."""


def tell_launch(run: Path) -> None:
    """Write a run's folder where the launch looks for it; does nothing outside a launch.

    Processes that the command starts do not see the variable: only the task's own run counts.
    """
    target = os.environ.pop(VARIABLE, "")
    if not target:
        return
    path = Path(target)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(f"{run}\n", encoding="utf-8")
    temporary.replace(path)


def resume_words(run_file: Path) -> list[str]:
    """Options by which a stage goes on with the run of an earlier attempt; none when there is no such run."""
    try:
        run = Path(run_file.read_text(encoding="utf-8").strip())
    except FileNotFoundError:
        return []
    state = read_json(run / "state.json")
    return [f"--resume={run}"] if state is not None and (run / "record.json").is_file() else []

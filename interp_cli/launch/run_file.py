"""How a task tells its launch which run it made, and how it goes on with that run when it is started again."""

import os
from pathlib import Path

from interp_cli.launch.atomic import read_json

__all__ = ["VARIABLE", "resume_words", "tell_launch"]

VARIABLE = "INTERP_RUN_FILE"
"""Variable that names the file into which a command writes the folder of its run."""


def tell_launch(*runs: Path) -> None:
    """Write the folder of a run, or of several in one process, where the launch looks for it; nothing outside a launch.

    Processes that the command starts do not see the variable: only the task's own run counts.
    """
    target = os.environ.pop(VARIABLE, "")
    if not target:
        return
    path = Path(target)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text("".join(f"{run}\n" for run in runs), encoding="utf-8")
    temporary.replace(path)


def resume_words(run_file: Path) -> list[str]:
    """Options by which a stage goes on with the run of an earlier attempt; none when there is no such run, or several."""
    try:
        told = run_file.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return []
    if len(told) > 2:  # several points in one process, which begin anew
        return []
    run = Path(told[0])
    state = read_json(run / "state.json")
    return [f"--resume={run}"] if state is not None and (run / "record.json").is_file() else []

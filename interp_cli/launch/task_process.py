"""Become the command of one task: ``python -m interp_cli.launch.task_process FOLDER TASK PARENT``.

The arguments are read from the folder and handed to the program as they are; no shell sees them.
"""

import os
import sys
from pathlib import Path

from interp_cli.launch.folder import LaunchFolder
from interp_cli.launch.run_file import VARIABLE, resume_words
from interp_registry.process_identity import die_with_parent

__all__ = ["main"]


def main(arguments: list[str]) -> None:
    """Replace this process by the task's command."""
    path, number, parent = arguments
    die_with_parent(int(parent))
    folder = LaunchFolder(Path(path))
    task, description = folder.tasks()[int(number)], folder.describe()
    program = description.get("program") or [sys.executable, "-P", "-m", "interp_cli"]
    resume = resume_words(Path(os.environ[VARIABLE])) if description.get("resumable") and VARIABLE in os.environ else []
    os.execv(program[0], [*program, *task.argv, *resume])  # noqa: S606 - without a shell is the point


if __name__ == "__main__":
    main(sys.argv[1:])

"""Run one task of a launch: ``python -m interp_cli.launch.run_task FOLDER TASK``; what a queue's script executes."""

import logging
import os
import sys
from pathlib import Path

from interp_cli.launch.folder import LaunchFolder
from interp_cli.launch.leases import claim
from interp_cli.launch.supervise import Inbox, Queue, supervise

__all__ = ["main"]

_log = logging.getLogger(__name__)


def main(arguments: list[str]) -> int:
    """Claim the task and run it; a task that has ended, or that another process works on, is left alone.

    Returns:
        The exit code of the command; 0 when there was nothing to do.
    """
    folder, task = LaunchFolder(Path(arguments[0])), int(arguments[1])
    inbox = Inbox()
    inbox.install()
    queue = Queue.from_environment(os.environ)
    if folder.ended(task) is not None:
        _log.warning("task %d has ended already", task)
        return 0
    log = queue.log or str(folder.logs / f"{os.environ.get('INTERP_AGENT', 'local')}_{task}.out")
    lease = claim(folder.leases, task, job=queue.job, restart=queue.restart, log=log)
    if lease is None:
        _log.warning("another process works on task %d", task)
        return 0
    return supervise(folder, lease, inbox, queue)


if __name__ == "__main__":
    logging.basicConfig(format="interp launch: %(message)s")
    sys.exit(main(sys.argv[1:]))

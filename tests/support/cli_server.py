"""Runs the command line in forks of one process that has imported everything: a start costs milliseconds, not seconds.

Reads one JSON request per line ({"argv", "env", "kill_at", "cwd"}) and answers with one JSON line ({"code", "out",
"err"}); a killed command has code -9. Started by the fixture ``cli`` of the end-to-end tests.
"""

import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    """Import, then serve until the input ends."""
    import datasets  # noqa: F401
    import timm  # noqa: F401
    import transformers  # noqa: F401

    from interp_cli.__main__ import main as interp
    from interp_registry.discovery import discover

    discover()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(serve(json.loads(line), interp)) + "\n")
        sys.stdout.flush()


def serve(request: dict, interp) -> dict:
    """Run one command in a fork."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = os.fork()
        if child == 0:
            run(request, interp, out.fileno(), err.fileno())
        status = watch(child, request["kill_at"])
        out.seek(0)
        err.seek(0)
        return {"code": os.waitstatus_to_exitcode(status), "out": out.read(), "err": err.read()}


def watch(child: int, kill_at: dict | None) -> int:
    """Wait for the fork; with ``kill_at`` ({"pattern", "count", "delay"}) kill it when so many files are there."""
    if kill_at is None:
        return os.waitpid(child, 0)[1]
    folder = Path(kill_at["folder"])
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        if len(list(folder.glob(kill_at["pattern"]))) >= kill_at["count"]:
            time.sleep(kill_at["delay"])
            os.kill(child, signal.SIGKILL)
            return os.waitpid(child, 0)[1]
        time.sleep(0.001)


def run(request: dict, interp, out: int, err: int) -> None:
    """What the fork does; it never returns."""
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.argv = ["interp", *request["argv"]]
    code = 1
    try:
        interp()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:  # noqa: BLE001 - the fork reports whatever happened, and ends
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()

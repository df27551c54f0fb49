"""Runs the command line in forks of one process that has imported everything: a start costs milliseconds, not seconds.

Reads one JSON request per line and answers with one JSON line. {"argv", "env", "cwd", "out", "err", "file_size"} starts a
command whose output goes to the files ``out`` and ``err``, and answers {"pid"}; with a ``file_size`` no file may become
larger, and with EMULATED_MPS in its environment the command finds a device "mps" and writes to the file of that name how many
kernels ran on it. {"wait", "seconds"} waits for that process and answers {"code"}: null while it runs, -9 when it was killed.
``zoo build`` and ``zoo verify`` are short there. Started by the fixture ``cli_server``.
"""

import gc
import json
import os
import resource
import signal
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path


def main() -> None:
    """Import, then serve until the input ends."""
    gc.disable()
    import datasets  # noqa: F401
    import plotly.graph_objects  # noqa: F401
    import pytest
    import scipy.ndimage  # noqa: F401
    import timm  # noqa: F401
    import transformers  # noqa: F401
    from small_world import shrink_zoo

    import interp_plugins.models.language
    import interp_plugins.models.timm  # noqa: F401
    from interp_cli.__main__ import main as interp
    from interp_registry.discovery import discover

    for method in discover().methods.values():
        for stage in method.stages:
            stage.load_run()
    shrink_zoo(pytest.MonkeyPatch())
    gc.enable()
    gc.freeze()  # a fork that looks for garbage would copy every page
    tell("ready")
    for line in sys.stdin:
        request = json.loads(line)
        tell(wait(request["wait"], request["seconds"]) if "wait" in request else start(request, interp))
    os._exit(0)  # to take down all modules takes seconds


def tell(answer: object) -> None:
    """One line for the tests."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def start(request: dict, interp) -> dict[str, int]:
    """Run one command in a fork."""
    child = os.fork()
    if child == 0:
        run(request, interp)
    return {"pid": child}


def wait(child: int, seconds: float) -> dict[str, int | None]:
    """Wait for a fork, for so long at most."""
    deadline = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return {"code": os.waitstatus_to_exitcode(status)}
        if time.monotonic() > deadline:
            return {"code": None}
        time.sleep(0.001)


def run(request: dict, interp) -> None:
    """What the fork does; it never returns."""
    # a signal before the command's first line ends it as if it had not begun
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    for descriptor, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    if request["file_size"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_size"], request["file_size"]))
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.argv = ["interp", *request["argv"]]
    code = 1
    try:
        with devices():
            interp()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:  # noqa: BLE001 - the fork reports whatever happened, and ends
        import traceback

        traceback.print_exc()
    finally:
        threading._shutdown()  # as at the end of every process: threads that write finish what they have begun
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


@contextmanager
def devices():
    """The devices of this machine, and an emulated one where EMULATED_MPS is set."""
    if "EMULATED_MPS" not in os.environ:
        yield
        return
    from emulated_mps import emulated_mps

    with emulated_mps() as emulation:
        try:
            yield
        finally:
            Path(os.environ["EMULATED_MPS"]).write_text(str(emulation.n_kernels))


if __name__ == "__main__":
    main()

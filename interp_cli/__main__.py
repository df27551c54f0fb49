"""Entry point of the ``interp`` command: run the application; every error becomes one message and an exit code."""

import io
import os
import signal
import sys
from collections.abc import Sequence

from interp_cli.interpreter import exit_code_kept, start_quickly
from interp_cli.signals import Interruption, StopFlag, stop_on_signals
from interp_registry.errors import InterpError, InterruptedRunError, ResourceError, UnknownNameError

__all__ = ["main", "run", "show_any_text"]


def main() -> None:
    """Run ``interp`` with the process's arguments and exit."""
    start_quickly()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # before the first line and after the last one Ctrl-C ends the process in silence
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    show_any_text(sys.stdout, sys.stderr)
    with exit_code_kept():
        sys.exit(run(sys.argv[1:]))


def show_any_text(*streams: object) -> None:
    """Let streams escape what their encoding lacks, such as the bytes of a file name that is no UTF-8."""
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def run(argv: Sequence[str]) -> int:
    """Run one command line.

    Args:
        argv: The words after ``interp``.

    Returns:
        0 done, 1 failed, 2 wrong usage, 3 partly failed or corrupt, 130/143 interrupted.
    """
    words = list(argv)
    if "--debug" in words:
        os.environ["INTERP_DEBUG"] = "1"
        words = [word for index, word in enumerate(words) if word != "--debug" or "--" in words[:index]]
    try:
        with stop_on_signals() as flag:
            return _run_handled(words, flag)
    except KeyboardInterrupt as err:  # in the last moment, while what handled signals before is put back
        return _report(InterruptedRunError(err.signum if isinstance(err, Interruption) else signal.SIGINT))


def _run_handled(words: list[str], flag: StopFlag) -> int:
    try:
        code = _run_application(words)
        sys.stdout.flush()
    except Exception as err:  # noqa: BLE001 - the outermost seam: users see messages, not tracebacks
        return _report(_interruption(err, flag.signum) or err)
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    if code == 128 + signal.SIGINT:  # typer too makes this of every KeyboardInterrupt, and says nothing
        return _report(InterruptedRunError(flag.signum or signal.SIGINT))
    return code


def _interruption(err: Exception, signum: int | None) -> InterruptedRunError | None:
    """What ended the command, when a signal did: libraries and Python itself turn what a signal raises into other errors."""
    told = err if isinstance(err, InterruptedRunError) else None  # whoever raised it may not know which signal came
    if signum is None:
        return told
    interruption = InterruptedRunError(signum, told.hint if told else None)
    interruption.__cause__ = err
    return interruption


def _run_application(words: list[str]) -> int:
    from interp_cli.app import build_app

    if "_INTERP_COMPLETE" in os.environ or any(word.endswith("-completion") for word in words):
        from interp_cli.typer_completion import mend

        mend()
    code = build_app()(words, prog_name="interp", standalone_mode=False)
    return code if isinstance(code, int) else 0


def _report(err: Exception) -> int:
    import typer

    from interp_cli import console
    from interp_cli.report.visible import visible_lines
    from interp_registry.stores.artifact import resource_error
    from interp_registry.stores.environment import redact

    usage_error = typer.BadParameter.__bases__[0]  # typer keeps click's own class private
    if os.environ.get("INTERP_DEBUG") == "1":
        import traceback

        sys.stderr.write(visible_lines(redact("".join(traceback.format_exception(err)))))
    if isinstance(err, UnknownNameError):
        from interp_cli.culprits import left_out

        err.hint = "; ".join(filter(None, (err.hint, left_out(err))))
    if isinstance(err, InterpError):
        console.show_error(err)
        return err.exit_code
    if isinstance(err, usage_error):
        text = err.format_message()  # pyright: ignore[reportAttributeAccessIssue]
        if type(err).__name__ == "NoArgsIsHelpError":  # a group alone: its help page, which is no error message
            sys.stderr.write(f"{text}\n")
        else:
            console.show_error(InterpError(text))
        return 2
    if isinstance(err, BrokenPipeError):
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - so that the interpreter can flush at exit
        return 1
    console.show_error(resource_error(err) or _foreign(err))
    return 1


def _foreign(err: Exception) -> InterpError:
    """What an error of a library means to the user; one that no code foresaw is a defect."""
    if isinstance(err, MemoryError):
        return ResourceError(f"memory is not enough: {err}", "ask for less at once")
    from interp_cli.culprits import culprit

    plugin = culprit(err)
    if plugin is None and isinstance(err, OSError) and err.filename is not None:
        return InterpError(f"{err.strerror}: {err.filename}", "check the path and its permissions")
    whose = "a defect, please report it" if plugin is None else f"an error of {plugin}"
    return InterpError(f"{type(err).__name__}: {err}".strip(), f"this is {whose}; --debug shows the traceback")


if __name__ == "__main__":
    main()

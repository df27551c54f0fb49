"""Entry point of the ``interp`` command: run the application; every error becomes one message and an exit code."""

import errno
import os
import sys
from collections.abc import Sequence

import typer

from interp_registry.errors import InterpError, ResourceError

__all__ = ["main", "run"]

# typer keeps click's exception classes private; its public BadParameter derives from them.
_ClickUsageError: type[Exception] = typer.BadParameter.__bases__[0]


def main() -> None:
    """Run ``interp`` with the process's arguments and exit."""
    sys.exit(run(sys.argv[1:]))


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
        from interp_cli.app import build_app

        if "_INTERP_COMPLETE" in os.environ or any(word.endswith("-completion") for word in words):
            from interp_cli.typer_completion import mend

            mend()
        code = build_app()(words, prog_name="interp", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except Exception as err:  # noqa: BLE001 - the outermost seam: users see messages, not tracebacks
        return _report(err)
    except KeyboardInterrupt:
        return 130


def _report(err: Exception) -> int:
    from interp_cli import console
    from interp_cli.report.visible import visible_lines
    from interp_registry.stores.environment import redact

    if os.environ.get("INTERP_DEBUG") == "1":
        import traceback

        sys.stderr.write(visible_lines(redact("".join(traceback.format_exception(err)))))
    if isinstance(err, InterpError):
        console.show_error(err)
        return err.exit_code
    if isinstance(err, _ClickUsageError):
        text = err.format_message()  # pyright: ignore[reportAttributeAccessIssue]
        if type(err).__name__ == "NoArgsIsHelpError":  # a group alone: its help page, which is no error message
            sys.stderr.write(f"{text}\n")
        else:
            console.show_error(InterpError(text))
        return 2
    if isinstance(err, BrokenPipeError):
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - so that the interpreter can flush at exit
        return 1
    if isinstance(err, OSError) and err.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        console.show_error(ResourceError(f"the disk is full: {err}", "make space and give the same command again"))
        return 1
    reason = f"{type(err).__name__}: {err}".strip()
    from interp_cli.culprits import culprit

    plugin = culprit(err)
    whose = "a defect, please report it" if plugin is None else f"an error of {plugin}"
    console.show_error(InterpError(reason, f"this is {whose}; --debug shows the traceback"))
    return 1


if __name__ == "__main__":
    main()

"""The error tree; every error that a user can meet derives from :class:`InterpError`.

    InterpError                  1    something failed
    ├── UsageError               2    wrong usage or configuration: the user can mend it
    │   ├── UnknownNameError     2    no such model, metric, field, command ... (did you mean?)
    │   ├── ConfigError          2    a configuration value is wrong; carries its key
    │   └── DataError            2    the data cannot be used as asked (empty, wrong modality, k >= n)
    ├── MissingDependencyError   1    an optional package or a file of the hub is not here
    │   └── OfflineError         1    it would have to be downloaded, and the network is off or absent
    ├── PluginError              1    a plugin broke its contract
    ├── ResourceError            1    disk or memory is not enough
    ├── PartialFailureError      3    part of the work failed; the rest is stored
    ├── CorruptError             3    a stored file is not what was written
    └── InterruptedRunError    130    SIGINT (130) or SIGTERM (143); carries how to resume

A message quotes the wrong value, says what was expected and, in :attr:`InterpError.hint`, what to do next.
"""

import difflib
from collections.abc import Iterable

__all__ = [
    "ConfigError",
    "CorruptError",
    "DataError",
    "InterpError",
    "InterruptedRunError",
    "MissingDependencyError",
    "OfflineError",
    "PartialFailureError",
    "PluginError",
    "ResourceError",
    "UnknownNameError",
    "UsageError",
    "near_names",
]


class InterpError(Exception):
    """Base of all errors shown to users as one message, without a traceback.

    Args:
        message: What went wrong, quoting the wrong value, in one line where possible.
        hint: What to do next; shown on a line of its own.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message} ({self.hint})"


class UsageError(InterpError):
    """The command line or configuration is wrong; exit code 2."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name is not among the known ones.

    Args:
        kind: What was named ("metric", "model type", "field", ...).
        name: The unknown name.
        known: The names that would have been right.
        where: Where it was given ("--metric", "line 3 of run.yaml"), if that helps.
        newest_first: The known names begin with their time, and people mean late ones.
    """

    def __init__(
        self, kind: str, name: str, known: Iterable[str], where: str | None = None, newest_first: bool = False
    ) -> None:
        self.kind, self.name, self.known = kind, name, sorted(known, reverse=newest_first)
        near = near_names(name, self.known)
        place = f" ({where})" if where else ""
        if near:
            hint = f"did you mean {' or '.join(near)}?"
        elif self.known:
            shown = ", ".join(self.known[:12]) + (", ..." if len(self.known) > 12 else "")
            hint = f"{'the latest' if newest_first else 'known'}: {shown}"
        else:
            hint = f"no {kind} is registered"
        super().__init__(f"unknown {kind} {name!r}{place}", hint)


class ConfigError(UsageError):
    """A configuration value is wrong.

    Args:
        message: What is wrong.
        key: Dotted path of the field, e.g. ``model.dtype``.
        hint: What to do next.
    """

    def __init__(self, message: str, key: str | None = None, hint: str | None = None) -> None:
        self.key = key
        super().__init__(f"{key}: {message}" if key else message, hint)


class DataError(UsageError):
    """The data cannot be used in the way that was asked for."""


class MissingDependencyError(InterpError):
    """An optional package, or weights that must come from the hub, are not here."""


class OfflineError(MissingDependencyError):
    """Something would have to be downloaded, and the network is off or does not answer."""


class PluginError(InterpError):
    """A plugin broke its contract; the message names it."""


class ResourceError(InterpError):
    """Disk or memory is not enough for what was asked."""


class PartialFailureError(InterpError):
    """Part of the work failed; what succeeded is stored. Exit code 3."""

    exit_code = 3


class CorruptError(InterpError):
    """A stored file is not what was written; the message names it. Exit code 3."""

    exit_code = 3


class InterruptedRunError(InterpError):
    """The run was interrupted by a signal.

    Args:
        signum: The signal's number; the exit code is 128 plus it.
        hint: The command that resumes the run.
    """

    def __init__(self, signum: int, hint: str | None = None) -> None:
        self.signum = signum
        self.exit_code = 128 + signum
        super().__init__("interrupted", hint)


def near_names(name: str, known: Iterable[str], n: int = 3) -> list[str]:
    """Known names that resemble ``name``, most alike first.

    Compares without case, and also takes names that ``name`` is the beginning of.

    Args:
        name: What the user wrote.
        known: What would have been right.
        n: How many to return at most.

    Returns:
        At most ``n`` names; empty when nothing resembles it.
    """
    by_lower = {k.lower(): k for k in known}
    lowered = name.lower()
    near = difflib.get_close_matches(lowered, list(by_lower), n=n, cutoff=0.6)
    begun = [k for k in sorted(by_lower) if len(lowered) >= 3 and k.startswith(lowered) and k not in near]
    return [by_lower[k] for k in (near + begun)[:n]]

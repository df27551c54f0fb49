"""Start the experiment trackers that the user chose, behind the guard that leaves out one that fails."""

from collections.abc import Mapping
from typing import Any

from interp_cli.context import Context
from interp_registry.choices import TrackerConfig
from interp_registry.contracts.method import Result
from interp_registry.contracts.tracker import GuardedTracker, TrackedRun, Tracker
from interp_registry.errors import UnknownNameError
from interp_registry.patience import patience
from interp_registry.user_config import user_config

__all__ = ["chosen_trackers", "start_tracker", "track_result"]


def chosen_trackers(context: Context) -> list[TrackerConfig]:
    """The trackers of the command line and those of the user's configuration, each once."""
    chosen = list(context.options.tracker)
    known = TrackerConfig.get_known_choices()
    for name in user_config().trackers:
        if name not in known:
            raise UnknownNameError("tracker", name, known, "trackers in the user's configuration")
        if not any(isinstance(config, known[name]) for config in chosen):
            chosen.append(known[name]())
    return chosen


class _Deferred(Tracker):
    """A tracker that is built when it starts, so that the guard also holds for building it."""

    def __init__(self, config: TrackerConfig) -> None:
        self._config = config
        self._inner: Any = None

    def start(self, run: TrackedRun) -> None:
        """Build the tracker and begin to keep ``run``."""
        self._inner = self._config.build()
        self._inner.start(run)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Keep named numbers at a step."""
        self._inner.log(values, step)

    def image(self, name: str, png: bytes, step: int) -> None:
        """Keep a PNG picture at a step."""
        self._inner.image(name, png, step)

    def close(self) -> None:
        """Finish."""
        self._inner.close()


def start_tracker(context: Context) -> GuardedTracker:
    """One tracker that hands everything on to the chosen ones; one that fails or hangs is reported and left out.

    Of several processes that share the work, the main one alone has any.
    """
    configs = chosen_trackers(context) if context.is_main else []
    chosen = [(TrackerConfig.get_choice_name(type(config)), _Deferred(config)) for config in configs]
    tracker = GuardedTracker(chosen, context.events, patience())
    run = context.run
    tracker.start(TrackedRun(run.id, run.command, run.path, run.config, context.offline))
    return tracker


def track_result(context: Context, result: Result) -> None:
    """Hand the numbers of a result to the chosen trackers; without any, nothing happens and none is loaded."""
    numbers = {
        f"result/{name}": float(value) for name, value in result.scalars.items() if isinstance(value, (int, float))
    }
    if numbers and chosen_trackers(context):
        context.tracker.log(numbers, 0)

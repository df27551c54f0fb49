"""Start the experiment trackers that the user chose, behind the guard that leaves out one that fails."""

from interp_cli.context import Context
from interp_registry.choices import TrackerConfig
from interp_registry.contracts.method import Result
from interp_registry.contracts.tracker import GuardedTracker, TrackedRun, Tracker
from interp_registry.errors import UnknownNameError
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


def start_tracker(context: Context) -> Tracker:
    """One tracker that hands everything on to the chosen ones; one that cannot be built is reported and left out."""
    built: list[tuple[str, Tracker]] = []
    for config in chosen_trackers(context):
        name = TrackerConfig.get_choice_name(type(config))
        try:
            built.append((name, config.build()))
        except Exception as err:  # noqa: BLE001 - a tracker never stops a run
            context.events.message(f"tracker {name!r} is left out: {err}", "warning")
    tracker = GuardedTracker(built, context.events)
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

"""The points of a sweep: all combinations in file order, or samples; with names and command lines."""

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from interp_cli.launch.folder import Task
from interp_cli.launch.sweep_file import MAX_POINTS, Range, Sweep, Values
from interp_registry.errors import UsageError

__all__ = [
    "Point", "Sampler", "command_of", "experiments_of", "grid", "option_words", "point_name", "points_of", "short_names", "tasks_of",
]  # fmt: skip


@dataclass(frozen=True)
class Point:
    """One point of a sweep.

    Attributes:
        experiment: Its experiment, "" without.
        params: Dotted key -> value, in file order.
        name: ``key-value_key-value``, with keys as short as they can be.
    """

    experiment: str
    params: Mapping[str, Any]
    name: str


def points_of(sweep: Sweep, experiments: Sequence[str] | None = None) -> list[Point]:
    """All points of a grid or random sweep, experiment by experiment; the same file gives the same points.

    Args:
        sweep: The file.
        experiments: Experiments to run; those of the file by default.

    Raises:
        UsageError: There are no points or too many, or the points depend on results (tpe).
    """
    if sweep.settings.method == "tpe":
        raise UsageError(f"{sweep.path}: the points of a tpe sweep depend on results", "they are chosen while it runs")
    found: list[Point] = []
    for experiment in experiments_of(sweep, experiments):
        space = sweep.space(experiment)
        chosen = grid(space) if sweep.settings.method == "grid" else _samples(sweep, space)
        found += [Point(experiment, params, point_name(params)) for params in chosen]
    return found


def experiments_of(sweep: Sweep, wanted: Sequence[str] | None) -> list[str]:
    """The experiments of a sweep; ``[""]`` when the file has only a global block and none are asked for."""
    if wanted:
        return list(dict.fromkeys(wanted))
    return list(sweep.experiments) or [""]


def grid(space: Mapping[str, Values | Range]) -> Iterator[dict[str, Any]]:
    """All combinations; the first key varies slowest.

    Raises:
        UsageError: There are more than 100 000.
    """
    listed = {key: leaf.values for key, leaf in space.items() if isinstance(leaf, Values)}
    n_points = math.prod(len(values) for values in listed.values())
    if n_points > MAX_POINTS:
        raise UsageError(
            f"the sweep has {n_points} points", f"at most {MAX_POINTS}; use `sweep: {{method: random, n_points: N}}`"
        )
    for combination in itertools.product(*listed.values()):
        yield dict(zip(listed, combination, strict=True))


def _samples(sweep: Sweep, space: Mapping[str, Values | Range]) -> list[dict[str, Any]]:
    sampler = Sampler(sweep, space)
    return [sampler.ask()[1] for _ in range(sweep.settings.n_points)]


class Sampler:
    """Optuna's samplers over one space, without any storage: the history is told again when a sweep goes on.

    Args:
        sweep: Settings and seed.
        space: What varies.
        salt: Added to the seed; how many points an earlier process chose.
    """

    def __init__(self, sweep: Sweep, space: Mapping[str, Values | Range], salt: int = 0) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        seed, settings = sweep.settings.seed + salt, sweep.settings
        sampler = (
            optuna.samplers.RandomSampler(seed=seed)
            if settings.method == "random"
            else optuna.samplers.TPESampler(seed=seed)
        )
        self._space = dict(space)
        self._distributions = {key: _distribution(leaf) for key, leaf in space.items()}
        self._study = optuna.create_study(direction=settings.goal, sampler=sampler)

    def ask(self) -> tuple[Any, dict[str, Any]]:
        """A new trial and its parameters."""
        trial = self._study.ask(self._distributions)
        return trial, {key: _value(self._space[key], trial.params[key]) for key in self._space}

    def tell(self, trial: Any, value: float | None) -> None:
        """What came of a trial; None when it failed."""
        import optuna

        if value is None or not math.isfinite(value):
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(trial, value)

    def remember(self, params: Mapping[str, Any], value: float | None) -> None:
        """Add a point of an earlier process."""
        import optuna

        if value is None or not math.isfinite(value):
            return
        internal = {key: _internal(self._space[key], params[key]) for key in self._space}
        self._study.add_trial(
            optuna.trial.create_trial(params=internal, distributions=self._distributions, value=value)
        )


def _distribution(leaf: Values | Range) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(leaf, Values):
        return CategoricalDistribution(tuple(range(len(leaf.values))))
    if leaf.whole:
        return IntDistribution(int(leaf.low), int(leaf.high), log=leaf.log, step=int(leaf.step or 1))
    return FloatDistribution(leaf.low, leaf.high, log=leaf.log, step=leaf.step)


def _value(leaf: Values | Range, chosen: Any) -> Any:
    return leaf.values[chosen] if isinstance(leaf, Values) else chosen


def _internal(leaf: Values | Range, value: Any) -> Any:
    return leaf.values.index(value) if isinstance(leaf, Values) else value


def short_names(keys: Mapping[str, Any] | Sequence[str]) -> dict[str, str]:
    """Dotted keys -> the shortest ends that tell them apart."""
    names: dict[str, str] = {}
    for key in keys:
        parts = key.split(".")
        ends = (".".join(parts[-n:]) for n in range(1, len(parts) + 1))
        names[key] = next(
            end for end in ends if sum(k == end or k.endswith(f".{end}") for k in keys) == 1 or end == key
        )
    return names


def point_name(params: Mapping[str, Any]) -> str:
    """``key-value_key-value`` with short keys."""
    names = short_names(params)
    return "_".join(f"{names[key]}-{_text(value)}" for key, value in params.items())


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return value if isinstance(value, str) else json.dumps(value)


def option_words(params: Mapping[str, Any]) -> list[str]:
    """Parameters as options of a command line: ``--a.b=value``."""
    return [f"--{key}={_option_text(value)}" for key, value in params.items()]


def _option_text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (str, int, float)):
        return str(value)
    return json.dumps(value)


def command_of(command: Sequence[str], point: Point) -> tuple[str, ...]:
    """The command line of a point: ``{experiment}`` replaced, its parameters as options.

    Raises:
        UsageError: The point belongs to an experiment that the command does not mention.
    """
    if point.experiment and not any("{experiment}" in word for word in command):
        raise UsageError(
            f"the sweep has the experiment {point.experiment!r}, but the command {' '.join(command)!r} does not use {{experiment}}",
            "write {experiment} where its name belongs",
        )
    words = [word.replace("{experiment}", point.experiment) for word in command]
    return (*words, *option_words(point.params))


def tasks_of(points: Sequence[Point], command: Sequence[str]) -> list[Task]:
    """Task i is point i."""
    return [Task(i, command_of(command, p), _task_name(p), dict(p.params), p.experiment) for i, p in enumerate(points)]


def _task_name(point: Point) -> str:
    return f"{point.experiment} {point.name}".strip()

"""Read a sweep file: what varies, in which experiments, and how points are chosen.

A file is YAML with a ``global:`` block, one block per experiment, or both, and an optional ``sweep:`` block::

    sweep: {method: random, n_points: 50, seed: 0, metric: recall, goal: maximize}
    global:
      seed: {values: [0, 1]}
      optimizer:
        lr: {min: 1.0e-4, max: 1.0e-2, log: true}
    tms_5-2:
      losses:
        - type: importance_minimality
          coeff: {values: [1.0e-3, 3.0e-3]}

Blocks nest as the configuration does. A leaf is ``{values: [...]}`` or a range ``{min, max}`` with ``log``, ``step`` or ``int``. An
experiment's block is merged over the global one; its leaves replace the global leaves. Lists hold items told apart by ``type``,
``classname`` or ``name``.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from interp_registry.config_io import read_yaml
from interp_registry.errors import ConfigError, UnknownNameError, UsageError

__all__ = ["MAX_POINTS", "Range", "Sweep", "SweepSettings", "Values", "read_sweep"]

MAX_POINTS = 100_000
"""Most points of a sweep, per experiment."""

_LARGEST_SEED = 2**31 - 1  # the generators take 32 bits, and later processes add to it
_LARGEST = 2**53  # whole numbers beyond are no longer told apart
_DISCRIMINATORS = ("type", "classname", "name")
_RANGE_KEYS = frozenset({"min", "max", "log", "step", "int"})
_METHODS = ("grid", "random", "tpe")
_GOALS = ("maximize", "minimize")


@dataclass(frozen=True)
class Values:
    """A leaf that takes each of some values."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Range:
    """A leaf that takes any number in a range, ends included.

    Attributes:
        low: Smallest value.
        high: Largest value.
        log: Whether the logarithm is uniform.
        step: Distance of the values, None for any.
        whole: Whether only whole numbers are taken.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None
    whole: bool = False


@dataclass(frozen=True)
class SweepSettings:
    """How points are chosen.

    Attributes:
        method: "grid" (all combinations), "random", or "tpe" (Optuna's tree-structured Parzen estimator).
        n_points: Number of points per experiment; grids have their own.
        seed: Seed of the choice.
        metric: Scalar of the results that tpe looks at and that tables begin with.
        goal: "maximize" or "minimize".
    """

    method: str = "grid"
    n_points: int = 0
    seed: int = 0
    metric: str = ""
    goal: Literal["maximize", "minimize"] = "maximize"


@dataclass(frozen=True)
class Sweep:
    """A sweep file.

    Attributes:
        path: The file.
        settings: How points are chosen.
        common: The global block: dotted key -> leaf, in file order.
        experiments: Experiment -> its own block.
        lines: "block.dotted.key" -> line number in the file.
    """

    path: Path
    settings: SweepSettings
    common: Mapping[str, "Values | Range"]
    experiments: Mapping[str, Mapping[str, "Values | Range"]]
    lines: Mapping[str, int] = field(default_factory=dict)

    def space(self, experiment: str) -> dict[str, "Values | Range"]:
        """What varies in an experiment ("" for the global block alone), the global block first.

        Raises:
            UsageError: Neither the experiment nor the global block says anything.
        """
        space = {**self.common, **self.experiments.get(experiment, {})}
        if not space:
            known = ", ".join(self.experiments) or "none"
            raise UsageError(
                f"{self.path} has no parameters for the experiment {experiment!r}", f"it has blocks for: {known}"
            )
        return space

    def where(self, experiment: str, key: str) -> str:
        """Where a key was set, e.g. ``sweep.yaml, line 7``."""
        for block in (experiment, "global"):
            if f"{block}.{key}" in self.lines:
                return f"{self.path}, line {self.lines[f'{block}.{key}']}"
        return str(self.path)


def read_sweep(path: Path) -> Sweep:
    """Read and check a sweep file.

    Raises:
        UsageError: The file is missing, not YAML, or says something that is no sweep; the message names the key and the line.
    """
    data = read_yaml(path)
    lines = _lines(path)
    reader = _Reader(path, lines)
    settings = reader.settings(data.pop("sweep", None))
    blocks = {name: reader.block(name, block) for name, block in data.items()}
    common = blocks.pop("global", {})
    sweep = Sweep(path, settings, common, blocks, lines)
    ranges = [key for block in (common, *blocks.values()) for key, leaf in block.items() if isinstance(leaf, Range)]
    if settings.method == "grid" and ranges:
        raise UsageError(
            f"{path}: {ranges[0]} is a range, a grid needs values", "add `sweep: {method: random, n_points: N}`"
        )
    if settings.method != "grid" and settings.n_points < 1:
        raise ConfigError(f"a {settings.method} sweep needs a number of points", "sweep.n_points", f"set it in {path}")
    if settings.method == "tpe" and not settings.metric:
        raise ConfigError("a tpe sweep needs a metric", "sweep.metric", f"set it in {path} to a scalar of the results")
    return sweep


def _lines(path: Path) -> dict[str, int]:
    """Line of every key, by its dotted path; list items count by their discriminator."""
    lines: dict[str, int] = {}

    def walk(node: yaml.Node | None, prefix: str) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                name = f"{prefix}.{key.value}" if prefix else str(key.value)
                lines[name] = key.start_mark.line + 1
                walk(value, name)
        elif isinstance(node, yaml.SequenceNode):
            for item in node.value:
                walk(item, f"{prefix}.{_told_apart(item)}")

    walk(yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader), "")
    return lines


def _told_apart(item: yaml.Node) -> str:
    if isinstance(item, yaml.MappingNode):
        pairs = {key.value: value.value for key, value in item.value if isinstance(value, yaml.ScalarNode)}
        return next((str(pairs[name]) for name in _DISCRIMINATORS if name in pairs), "?")
    return "?"


@dataclass(frozen=True)
class _Reader:
    path: Path
    lines: Mapping[str, int]

    def wrong(self, place: str, message: str, hint: str) -> UsageError:
        line = self.lines.get(place)
        return UsageError(f"{self.path}{f', line {line}' if line else ''}: {place}: {message}", hint)

    def settings(self, data: Any) -> SweepSettings:
        if data is None:
            return SweepSettings()
        if not isinstance(data, Mapping):
            raise self.wrong("sweep", f"{data!r} is no mapping", "write `sweep: {method: grid}`")
        known = [f.name for f in dataclasses.fields(SweepSettings)]
        for key in data:
            if key not in known:
                raise UnknownNameError(
                    "setting of a sweep", str(key), known, f"{self.path}, line {self.lines.get(f'sweep.{key}')}"
                )
        settings = SweepSettings(**data)
        for name, allowed in (("method", _METHODS), ("goal", _GOALS)):
            if getattr(settings, name) not in allowed:
                raise UnknownNameError(f"{name} of a sweep", str(getattr(settings, name)), allowed, str(self.path))
        for name, most in (("n_points", MAX_POINTS), ("seed", _LARGEST_SEED)):
            value = getattr(settings, name)
            if not isinstance(value, int) or not 0 <= value <= most:
                raise self.wrong(f"sweep.{name}", f"{value!r} is no whole number from 0 to {most}", "write one")
        return settings

    def block(self, name: str, data: Any) -> dict[str, Values | Range]:
        if not isinstance(data, Mapping):
            known = [f.name for f in dataclasses.fields(SweepSettings)]
            example = f"`sweep: {{{name}: {data}}}`" if name in known else "`global: {topk: {values: [5, 10]}}`"
            raise self.wrong(name, f"{data!r} is no mapping", f"parameters stand in a block: write {example}")
        leaves: dict[str, Values | Range] = {}
        self._walk(data, name, "", leaves)
        return leaves

    def _walk(self, data: Mapping[Any, Any], block: str, prefix: str, leaves: dict[str, Values | Range]) -> None:
        for key, value in data.items():
            dotted = f"{prefix}.{key}" if prefix else str(key)
            place = f"{block}.{dotted}"
            leaf = self._leaf(value, place)
            if leaf is not None:
                leaves[dotted] = leaf
            elif isinstance(value, Mapping):
                self._walk(value, block, dotted, leaves)
            elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
                self._items(value, block, dotted, leaves)
            else:
                raise self.wrong(
                    place, f"{value!r} is neither values nor a range", f"write `{key}: {{values: [{value}]}}`"
                )

    def _items(
        self, items: Sequence[Mapping[Any, Any]], block: str, dotted: str, leaves: dict[str, Values | Range]
    ) -> None:
        for item in items:
            name = next((k for k in _DISCRIMINATORS if isinstance(item.get(k), str)), None)
            if name is None:
                raise self.wrong(
                    f"{block}.{dotted}",
                    "an item of the list has no type",
                    f"give each one of {', '.join(_DISCRIMINATORS)}",
                )
            self._walk({k: v for k, v in item.items() if k != name}, block, f"{dotted}.{item[name]}", leaves)

    def _leaf(self, value: Any, place: str) -> Values | Range | None:
        if not isinstance(value, Mapping):
            return None
        if "values" in value:
            return self._values(value, place)
        if {"min", "max"} <= set(value):
            return self._range(value, place)
        return None

    def _values(self, value: Mapping[Any, Any], place: str) -> Values:
        listed = value["values"]
        if len(value) > 1:
            extra = next(str(key) for key in value if key != "values")
            raise self.wrong(place, f"{extra!r} stands beside `values`", "a leaf is `{values: [...]}` alone")
        if not isinstance(listed, list) or not listed:
            raise self.wrong(place, f"values is {listed!r}", "give a list of at least one value")
        return Values(tuple(listed))

    def _range(self, value: Mapping[Any, Any], place: str) -> Range:
        extra = next((str(key) for key in value if key not in _RANGE_KEYS), None)
        if extra is not None:
            raise self.wrong(place, f"{extra!r} is no part of a range", f"a range has {', '.join(sorted(_RANGE_KEYS))}")
        low, high, step = value["min"], value["max"], value.get("step")
        given = [low, high] if step is None else [low, high, step]
        self._check_numbers(given, place)
        log, whole = bool(value.get("log", False)), bool(value.get("int", all(isinstance(n, int) for n in given)))
        if whole and any(number != int(number) for number in given):
            raise self.wrong(place, f"min {low}, max {high}, step {step} of whole numbers", "write whole numbers")
        if not low < high or (log and low <= 0) or (step is not None and (step <= 0 or log)):
            raise self.wrong(
                place, f"min {low}, max {high}, step {step}, log {log}", "min < max; log needs min > 0 and no step"
            )
        return Range(float(low), float(high), log, None if step is None else float(step), whole)

    def _check_numbers(self, given: Sequence[Any], place: str) -> None:
        for number in given:
            if isinstance(number, bool) or not isinstance(number, (int, float)):
                raise self.wrong(place, f"{number!r} is no number", "YAML reads 1e-3 as text; write 1.0e-3")
            if not abs(number) < _LARGEST:
                raise self.wrong(place, f"{number} bounds nothing", f"a range ends before {_LARGEST:g}")

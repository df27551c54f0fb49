"""From what a user wrote (a name, a pattern, options, an object, a function) to a metric."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from interp_plugins.methods.align.inputs import as_layers, check_same_samples
from interp_registry.choices import MetricConfig, choice_names
from interp_registry.contracts.metric import Metric, MetricInfo, State, info_of
from interp_registry.discovery import discover
from interp_registry.errors import PluginError, UnknownNameError, UsageError

__all__ = ["BoundMetric", "FunctionMetric", "metric", "resolve"]


class BoundMetric:
    """A metric with its options, ready to score.

    Calling it scores two matrices; `prepare`, `score_pairs` and (where the metric has them) `null_pairs` and `subset` score all
    pairs of layers of two models.

    Args:
        name: Name to show.
        metric: The implementation.
        config: The options that built it, if any.
    """

    def __init__(self, name: str, metric: Metric, config: MetricConfig | None = None) -> None:
        self.name, self.metric, self.config = name, metric, config

    @property
    def info(self) -> MetricInfo:
        """Range, symmetry, invariances and source."""
        return info_of(self.metric)

    @property
    def options(self) -> dict[str, Any]:
        """The options it was built with."""
        return dataclasses.asdict(self.config) if self.config is not None else {}

    def __call__(self, x: Any, y: Any) -> float:
        """Score two matrices ``[n, d]`` as they are: no clamp, no normalisation.

        Raises:
            DataError: The matrices cannot be compared.
        """
        layers_x, layers_y = as_layers(x, "x"), as_layers(y, "y")
        if len(layers_x) != 1 or len(layers_y) != 1:
            raise UsageError(
                "a metric object scores one pair of [n, d] matrices", "use interp.align for models with several layers"
            )
        check_same_samples(layers_x, layers_y)
        return float(self.score_pairs(self.prepare(layers_x), self.prepare(layers_y))[0, 0])

    def prepare(self, layers: Sequence[Tensor]) -> State:
        """What the metric keeps of a model."""
        return self.metric.prepare(layers)

    def score_pairs(self, x: State, y: State) -> Tensor:
        """float64 ``[Lx, Ly]``.

        Raises:
            PluginError: The metric returned something else.
        """
        returned = self.metric.score_pairs(x, y)
        try:
            scores = torch.as_tensor(returned)
        except (TypeError, ValueError, RuntimeError) as err:
            kind = type(returned).__name__
            raise PluginError(f"metric {self.name!r} returned a {kind} that is no matrix of numbers: {err}") from err
        if scores.ndim != 2 or scores.is_complex():
            raise PluginError(
                f"metric {self.name!r} returned {scores.dtype} of shape {tuple(scores.shape)}; expected real [Lx, Ly]",
                "see contracts.metric",
            )
        return scores.double()

    def __repr__(self) -> str:
        options = "".join(f", {key}={value!r}" for key, value in self.options.items())
        return f"metric({self.name!r}{options})"


class FunctionMetric:
    """A metric from a plain function of two matrices that returns a number; every pair of layers is one call.

    Args:
        function: ``(x [n, d], y [n, e]) -> float``.
    """

    def __init__(self, function: Callable[[Tensor, Tensor], Any]) -> None:
        self.function = function
        self.info = MetricInfo(summary=getattr(function, "__name__", "function"), source="given by the caller")

    def prepare(self, layers: Sequence[Tensor]) -> State:
        """The layers themselves."""
        return {str(index): layer for index, layer in enumerate(layers)}

    def score_pairs(self, x: State, y: State) -> Tensor:
        """One call per pair of layers."""
        rows = [[float(self.function(x[str(i)], y[str(j)])) for j in range(len(y))] for i in range(len(x))]
        return torch.tensor(rows, dtype=torch.float64)


def metric(name: str, **options: Any) -> BoundMetric:
    """A metric by name, with options; call it on two matrices or give it to `align`.

    Args:
        name: A registered metric, e.g. ``"cka"``; ``interp plugins list --kind metric`` lists them.
        options: The metric's own: ``topk``, ``kernel``, ``sigma``, ``biased``, ``dim``, ``method``, ``seed``, ...

    Raises:
        UnknownNameError: No such metric, or the metric has no such option.
        UsageError: An option has a wrong value.
    """
    config_class = _config_class(name)
    fields = {field.name for field in dataclasses.fields(config_class) if field.init}
    for option in options:
        if option not in fields:
            raise UnknownNameError("option", option, fields, where=f"metric {name!r}")
    return _bind(name, config_class(**options))


def resolve(choice: Any, topk: int | None = None, compat: str | None = None) -> BoundMetric:
    """A metric from a name, a configuration, a metric object or a function.

    Args:
        choice: What the user gave as ``metric=``.
        topk: Number of neighbours for a metric given by name or configuration, if it has that option.
        compat: Sets the option ``compat`` of metrics that have it.

    Raises:
        UsageError: ``choice`` is none of these, or ``compat`` is unknown.
    """
    if compat not in (None, "platonic"):
        raise UsageError(f"compat={compat!r} is unknown", "use 'platonic' or None")
    if isinstance(choice, str):
        names = {field.name for field in dataclasses.fields(_config_class(choice))}
        wanted = {"topk": topk, "compat": compat}
        return metric(choice, **{key: value for key, value in wanted.items() if value is not None and key in names})
    if isinstance(choice, MetricConfig):
        wanted = {"topk": topk, "compat": compat}
        fields = {field.name for field in dataclasses.fields(choice)}
        given = {key: value for key, value in wanted.items() if value is not None and key in fields}
        return _bind(_name_of(choice), dataclasses.replace(choice, **given))
    if isinstance(choice, BoundMetric):
        return _with_compat(choice, compat)
    if isinstance(choice, Metric):
        return BoundMetric(getattr(choice, "name", type(choice).__name__), choice)
    if callable(choice):
        return BoundMetric(getattr(choice, "__name__", "function"), FunctionMetric(choice))
    raise UsageError(
        f"metric={choice!r} is no metric", "give a name such as 'mutual_knn', interp.metric(...), or a function"
    )


def _name_of(config: MetricConfig) -> str:
    known = _root().get_known_choices()
    return next((name for name, owner in known.items() if owner is type(config)), type(config).__name__)


def _root() -> type[MetricConfig]:
    discover()
    return MetricConfig


def _config_class(name: str) -> type[MetricConfig]:
    known = _root().get_known_choices()
    if name not in known:
        raise UnknownNameError("metric", name, choice_names(MetricConfig))
    return known[name]


def _bind(name: str, config: MetricConfig) -> BoundMetric:
    return BoundMetric(name, config.build(), config)


def _with_compat(bound: BoundMetric, compat: str | None) -> BoundMetric:
    if compat is None or bound.config is None or not hasattr(bound.config, "compat"):
        return bound
    return _bind(bound.name, dataclasses.replace(bound.config, compat=compat))

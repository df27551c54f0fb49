"""Metrics and figures of causal importances.

Axis letters: ``f`` features, ``c`` components of one module.
"""

from collections.abc import Sequence
from fnmatch import fnmatch

import torch
from jaxtyping import Float
from torch import Tensor

from interp_plugins.methods.spd import matching
from interp_plugins.methods.spd.evaluation import Evaluation, Measured
from interp_plugins.methods.spd.metric_config import (
    ActivationDensityConfig,
    CiHistogramsConfig,
    CiL0Config,
    IdentityCiErrorConfig,
    PermutedCiConfig,
)
from interp_plugins.methods.spd.step import split
from interp_registry.figures import HeatMap, Histogram, Lines, Series

__all__ = [
    "ActivationDensity",
    "ImportanceHistograms",
    "ImportanceL0",
    "MeanImportance",
    "PermutedImportances",
    "TargetSolutionError",
    "column_order",
]


def column_order(ci: Float[Tensor, "f c"], name: str, dense: Sequence[str]) -> Tensor:
    """Return the components' order: by sums where a pattern names the module, else matched to the features."""
    if any(fnmatch(name, pattern) for pattern in dense):
        return matching.dense_order(ci)
    return matching.identity_order(ci)


class ImportanceL0:
    """Mean number of components in use."""

    def __init__(self, config: CiL0Config) -> None:
        self.config = config

    def __call__(self, evaluation: Evaluation) -> Measured:
        """Return ``l0/<module>``, ``l0/<group>`` and ``ci_l0``, their sum over modules."""
        threshold = self.config.threshold
        threshold = evaluation.config.alive_threshold if threshold is None else threshold
        fired = {i: (step.lower > threshold).to(step.lower.dtype) for i, step in enumerate(evaluation.steps)}
        per_module = {name: float(mean.sum()) for name, mean in evaluation.mean_per_component(fired).items()}
        scalars = {f"l0/{name}": value for name, value in per_module.items()}
        for group, patterns in self.config.groups.items():
            scalars[f"l0/{group}"] = sum(v for n, v in per_module.items() if any(fnmatch(n, p) for p in patterns))
        return Measured({**scalars, "ci_l0": sum(per_module.values())})


class ImportanceHistograms:
    """Distribution of the importances."""

    def __init__(self, config: CiHistogramsConfig) -> None:
        self.config = config

    def __call__(self, evaluation: Evaluation) -> Measured:
        """Return one histogram per module, rows of zeros counted once."""
        pooled = [split(step.lower, evaluation.model.widths) for step in evaluation.steps]
        figures = [
            Histogram.of(
                torch.cat([parts[i].flatten() for parts in pooled]).tolist(),
                n_bins=self.config.n_bins,
                title=f"causal importances of {site.name}",
                x_title="causal importance",
                caption="Each entry is one component on one input; inputs that are all zero are counted once per batch.",
            )
            for i, site in enumerate(evaluation.model.sites)
        ]
        return Measured(figures=list(figures))


class MeanImportance:
    """Mean importance of every component."""

    def __init__(self, config: object) -> None:
        self.config = config

    def __call__(self, evaluation: Evaluation) -> Measured:
        """Return the sorted means, one line per module, logarithmic."""
        means = evaluation.mean_per_component({i: step.lower for i, step in enumerate(evaluation.steps)})
        series = []
        for name, mean in means.items():
            ordered = mean.sort(descending=True).values.clamp_min(1e-12).tolist()
            series.append(Series(name, tuple(range(len(ordered))), tuple(ordered)))
        caption = "A gap between the components in use and the others is what a finished decomposition shows."
        figure = Lines(tuple(series), "component, sorted", "mean causal importance", y_log=True,
                       title="mean causal importance per component", caption=caption)  # fmt: skip
        return Measured(figures=[figure])


class ActivationDensity:
    """How often each component fires."""

    def __init__(self, config: ActivationDensityConfig) -> None:
        self.config = config

    def __call__(self, evaluation: Evaluation) -> Measured:
        """Return the number of components that ever fire, and a histogram of densities per module."""
        threshold = evaluation.config.alive_threshold
        fired = {i: (step.lower > threshold).to(step.lower.dtype) for i, step in enumerate(evaluation.steps)}
        measured = Measured()
        for name, density in evaluation.mean_per_component(fired).items():
            measured.scalars[f"n_alive/{name}"] = float((density > 0).sum())
            figure = Histogram.of(density.tolist(), n_bins=self.config.n_bins, title=f"activation density of {name}",
                                  x_title=f"share of inputs with importance above {threshold}")  # fmt: skip
            measured.figures.append(figure)
        return measured


class TargetSolutionError:
    """Distance from the solution that is known to be right."""

    def __init__(self, config: IdentityCiErrorConfig) -> None:
        self.config = config

    def __call__(self, evaluation: Evaluation) -> Measured:
        """Return error counts at every tolerance; ``identity_ci_error`` is the total at the first."""
        c = self.config
        expected = [matching.Expected(pattern, n_features=n) for pattern, n in c.identity.items()]
        expected += [matching.Expected(pattern, k=k) for pattern, k in c.dense.items()]
        scalars: dict[str, float] = {}
        for i, tolerance in enumerate(c.tolerances):
            errors = matching.target_errors(evaluation.one_hot, expected, tolerance)
            if i == 0:
                scalars |= {f"identity_ci_error/{name}": float(count) for name, count in errors.items()}
                scalars["identity_ci_error"] = float(sum(errors.values()))
            else:
                scalars[f"identity_ci_error_{str(tolerance).replace('.', 'p')}"] = float(sum(errors.values()))
        for name, ci in evaluation.one_hot.items():
            scalars[f"live_components/{name}"] = float((ci.max(0).values > evaluation.config.alive_threshold).sum())
        return Measured(scalars)


class PermutedImportances:
    """The importance matrix in the order of features."""

    def __init__(self, config: PermutedCiConfig) -> None:
        self.config = config

    def __call__(self, evaluation: Evaluation) -> Measured:
        """Return one heat map per module."""
        figures = []
        for name, ci in evaluation.one_hot.items():
            order = column_order(ci, name, self.config.dense)[: self.config.n_components]
            figures.append(
                HeatMap(
                    ci[:, order].tolist(),
                    columns=tuple(str(int(i)) for i in order),
                    row_title="active feature",
                    column_title="component",
                    units="causal importance",
                    value_range=(0.0, 1.0),
                    title=f"causal importances of {name} on one-hot inputs",
                    caption="Each row is one active feature of size 0.75; components are permuted into matching order.",
                )
            )
        return Measured(figures=list(figures))

"""What ``interp zoo build`` and ``interp zoo verify`` do."""

import logging
from collections.abc import Sequence
from dataclasses import fields

from interp_plugins.embedded.config import ZooBuildConfig, ZooVerifyConfig
from interp_plugins.embedded.zoo import INIT_SUFFIX, RECIPES, WEIGHTS, Recipe, names
from interp_plugins.embedded.zoo.building import Built, Workshop
from interp_plugins.embedded.zoo.building import build as build_models
from interp_plugins.embedded.zoo.manifest import MANIFEST, check_files, record_metrics
from interp_plugins.embedded.zoo.measuring import EvaluationData
from interp_plugins.embedded.zoo.verifying import CAPTION_COUNTS, Check, Measurements, checks, measure, metrics_of
from interp_registry.contracts.method import Cost, Failure, Result, RunContext
from interp_registry.errors import ConfigError, UnknownNameError, UsageError
from interp_registry.figures import HeatMap, Scatter, Table

__all__ = ["build", "estimate_build", "estimate_verify", "verify"]

_LOG = logging.getLogger(__name__)

_VERIFY_SECONDS, _BYTES_PER_PARAMETER, _VERIFY_BYTES = 90.0, 2, 4_000_000
_TRAINING_MEMORY, _VERIFY_MEMORY = 1_500_000_000, 1_200_000_000


def build(config: ZooBuildConfig, ctx: RunContext) -> Result:
    """Train models of the zoo into the run's folder ``weights``.

    Raises:
        UnknownNameError: a name is no model of the zoo.
        UsageError: there are several processes, each of which would train everything into the same folders.
    """
    recipes = _chosen(config)
    if not ctx.is_main:
        raise UsageError("models of the zoo are trained by one process", "leave --num-processes out")
    seconds = sum(recipe.expected_seconds for recipe in recipes)
    ctx.events.message(
        f"training {', '.join(one.name for one in recipes)} takes about {_minutes(seconds)} of CPU time on one core"
    )
    weights = ctx.run.artifact("weights")
    weights.mkdir(exist_ok=True)
    workshop = Workshop(weights, ctx.run.checkpoints, ctx.events, lambda: ctx.stopping)
    built = build_models(recipes, workshop)
    return Result(
        scalars={"models": len(built), "cpu_seconds": round(sum(one.cpu_seconds for one in built))},
        tables=[_built_table(built)],
        artifacts=[*(one.folder for one in built), weights / MANIFEST],
    )


def estimate_build(config: ZooBuildConfig, ctx: RunContext) -> Cost:  # noqa: ARG001 - the contract's signature
    """Time, disk and memory of a build."""
    recipes = _chosen(config)
    disk = sum(12 * recipe.n_layers * recipe.width**2 * _BYTES_PER_PARAMETER for recipe in recipes)
    seconds = float(sum(recipe.expected_seconds for recipe in recipes))
    notes = (f"CPU time on one core; models: {', '.join(recipe.name for recipe in recipes)}",)
    return Cost(seconds=seconds, disk_bytes=8 * disk, memory_bytes=_TRAINING_MEMORY, download_bytes=0, notes=notes)


def verify(config: ZooVerifyConfig, ctx: RunContext) -> Result:
    """Measure the zoo and compare with its thresholds.

    Raises:
        ConfigError: a model folder is missing.
        CorruptError: a shipped file is not what the manifest lists.
    """
    weights = WEIGHTS if config.weights is None else config.weights
    missing = [name for name in names() if not (weights / name).is_dir()]
    if missing:
        raise ConfigError(f"{weights} lacks {', '.join(missing)}", "weights", "build the whole zoo first")
    check_files(weights)
    n_models = 2 * len(names())
    done = iter(range(n_models))

    def tell(name: str) -> None:
        _LOG.debug("measuring %s", name)
        ctx.events.progress("measure", next(done, n_models), n_models, "models")

    found = measure(weights, EvaluationData(first=config.first_scene), tell)
    outcome = checks(found)
    written = [record_metrics(weights, {name: metrics_of(found, name) for name in names()})] if config.record else []
    return Result(
        scalars={"thresholds": len(outcome), "missed": sum(not check.passed for check in outcome)},
        tables=[_check_table(outcome), *(_alignment_table(found, n) for n in CAPTION_COUNTS), *_clip_tables(found)],
        figures=[*(_heat_map(found, n) for n in CAPTION_COUNTS), _competence(found)],
        artifacts=written,
        failures=[_failure(check) for check in outcome if not check.passed],
    )


def estimate_verify(config: ZooVerifyConfig, ctx: RunContext) -> Cost:  # noqa: ARG001 - the contract's signature
    """Time, disk and memory of a verification."""
    return Cost(seconds=_VERIFY_SECONDS, disk_bytes=_VERIFY_BYTES, memory_bytes=_VERIFY_MEMORY, download_bytes=0)


def _chosen(config: ZooBuildConfig) -> list[Recipe]:
    for name in config.only:
        if name not in RECIPES:
            raise UnknownNameError("zoo model", name, RECIPES, "--only")
    recipes = [recipe for name, recipe in RECIPES.items() if not config.only or name in config.only]
    if not config.training_seeds:
        return recipes
    return [recipe.with_seed(seed) for recipe in recipes for seed in config.training_seeds]


def _minutes(seconds: float) -> str:
    return f"{max(1, round(seconds / 60))} min"


def _built_table(built: Sequence[Built]) -> Table:
    rows = tuple(
        (one.recipe.name, one.recipe.objective, one.summary.steps, one.summary.losses["loss"], round(one.cpu_seconds))
        for one in built
    )
    return Table(("model", "objective", "steps", "last loss", "CPU s"), rows, title="Models trained")


def _check_table(outcome: Sequence[Check]) -> Table:
    rows = tuple((check.name, check.value, check.low, check.high, check.passed) for check in outcome)
    return Table(("check", "value", "at least", "at most", "passed"), rows, title="Thresholds")


def _failure(check: Check) -> Failure:
    bounds = f"at least {check.low}" if check.low is not None and check.value < check.low else f"at most {check.high}"
    return Failure(check.name, "Threshold", f"{check.value:.4g}, expected {bounds}")


def _language_rows() -> list[str]:
    return names("language") + names("language", untrained=True)


def _vision_columns() -> list[str]:
    return names("vision") + names("vision", untrained=True)


def _alignment_table(found: Measurements, n_captions: int) -> Table:
    """Every pair with its best score, the score without layer 0, and that of layer 0 alone."""
    rows = []
    for lm in _language_rows():
        for vit in _vision_columns():
            one = found.alignment[lm, vit, n_captions]
            row, column = one.best_pair
            rows.append((lm, vit, one.best, f"{row}, {column}", one.contextual, one.lexical))
    columns = ("language model", "vision model", "mutual k-NN", "layer, block", "without layer 0", "layer 0 only")
    return Table(columns, tuple(rows), title=f"Alignment with {_captions(n_captions)}", digits=3)


def _captions(n_captions: int) -> str:
    return f"{n_captions} caption{'s' if n_captions > 1 else ''} per scene"


def _heat_map(found: Measurements, n_captions: int) -> HeatMap:
    rows, columns = _language_rows(), _vision_columns()
    values = tuple(tuple(found.alignment[lm, vit, n_captions].best for vit in columns) for lm in rows)
    return HeatMap(
        values,
        tuple(rows),
        tuple(columns),
        row_title="language model",
        column_title="vision model",
        units="mutual k-NN, k = 10",
        title=f"Best layer pair, {_captions(n_captions)}",
        name=f"alignment-{n_captions}",
    )


def _competence(found: Measurements) -> Scatter:
    """Alignment against loss, both on three captions, with the vision model that the thresholds use."""
    trained = [name for name in _language_rows() if not name.endswith(INIT_SUFFIX)]
    return Scatter(
        tuple(found.nats_per_token[name, 3] for name in trained),
        tuple(found.alignment[name, "vit-d64", 3].best for name in trained),
        labels=tuple(trained),
        x_title="nats per token, 3 captions",
        y_title="mutual k-NN with vit-d64",
        title="Alignment against model loss",
        name="competence",
    )


def _clip_tables(found: Measurements) -> list[Table]:
    records = [
        {
            "model": name,
            **{field.name: getattr(scores, field.name) for field in fields(scores) if field.name != "group_by_kind"},
            **{f"group, {kind}": value for kind, value in scores.group_by_kind.items()},
        }
        for name, scores in found.clip.items()
    ]
    losses = [
        {"model": name, **{_captions(n): found.nats_per_token[name, n] for n in CAPTION_COUNTS}}
        for name in _language_rows()
    ]
    return [
        Table.of_records(records, title="Retrieval and twins, per cent"),
        Table.of_records(losses, title="Nats per token"),
    ]

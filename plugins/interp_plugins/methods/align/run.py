"""The stage `interp align`."""

import dataclasses
import logging
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from interp_plugins.methods.align.api import NullSettings
from interp_plugins.methods.align.calibration import benjamini_hochberg
from interp_plugins.methods.align.config import AlignConfig
from interp_plugins.methods.align.downstream import add_facts
from interp_plugins.methods.align.inputs import repeated_samples
from interp_plugins.methods.align.intervals import IntervalSettings, grid, interval, parse_grid
from interp_plugins.methods.align.metric_choice import BoundMetric, resolve
from interp_plugins.methods.align.pairs import ModelBank, PairScore, check_samples, ranked, score_pairs
from interp_plugins.methods.align.plots import figures, layer_map
from interp_plugins.methods.align.sources import Source, find_sources, sides
from interp_plugins.methods.align.tables import pair_records, scores_table, write_scores
from interp_registry.contracts.method import Result, RunContext
from interp_registry.errors import ConfigError, DataError
from interp_registry.tensors.seeding import derive_seed

__all__ = ["align", "chosen_metrics"]

_log = logging.getLogger(__name__)

_SHOW_SECONDS = 1.0
_MANY_REPEATS = 0.01


def align(config: AlignConfig, ctx: RunContext) -> Result:
    """Score all pairs of models, set the scores against their null, and show them.

    Raises:
        UsageError: The words name nothing that can be compared.
        DataError: Features cannot be compared.
    """
    metrics = chosen_metrics(config)
    words_x, words_y = sides(config, ctx.catalog)
    sources_x, failures = find_sources(words_x, config, ctx, config.pool_x)
    sources_y, more = find_sources(words_y, config, ctx, config.pool_y) if words_y else ([], [])
    pairs, models = _model_pairs(sources_x, sources_y, config, ctx.device, share=len(metrics) > 1)
    check_samples(models)
    _warn_of_repeats(models, ctx)
    if config.table is not None:
        add_facts({model.name: model.features.facts for model in models}, Path(config.table))
    settings = NullSettings(
        config.n_permutations, config.alpha, config.statistic, derive_seed(ctx.seed, "align.permutations")
    )
    total = len(pairs) * len(metrics)

    def report(done: float) -> None:
        ctx.events.progress("align", done, total, "model pairs")

    scored: list[PairScore] = []
    shown_at = 0.0
    for pair in score_pairs(pairs, metrics, settings, report):
        scored.append(pair)
        if pair.alignments.scores.size > 1 and time.monotonic() - shown_at >= _SHOW_SECONDS:
            shown_at = time.monotonic()
            ctx.events.heat_map("live/layers", layer_map(pair))
    for index, pair in enumerate(scored):
        _add_uncertainty(pair, config, ctx.seed)
        if config.ci != "off" or config.n_grid is not None:
            ctx.events.progress("intervals", index + 1, total, "model pairs")
    _adjust(scored)
    result = _result(scored, config, ctx)
    result.failures += [*failures, *more]
    return result


def chosen_metrics(config: AlignConfig) -> list[BoundMetric]:
    """The metrics of the configuration; ``topk`` and ``compat`` are set where a metric has them.

    Raises:
        UsageError: None is chosen.
    """
    if not config.metric:
        raise ConfigError("no metric is chosen", "metric", "e.g. --metric mutual_knn")
    return [resolve(choice, config.topk, config.compat) for choice in config.metric]


def _model_pairs(
    sources_x: Sequence[Source], sources_y: Sequence[Source], config: AlignConfig, device: str, share: bool
) -> tuple[list[tuple[ModelBank, ModelBank]], list[ModelBank]]:
    _tell_apart([*sources_x, *sources_y])
    models_x = [ModelBank(source, config, device, share) for source in sources_x]
    models_y = [ModelBank(source, config, device, share) for source in sources_y]
    if len(models_x) + len(models_y) < 2:
        raise DataError("fewer than two models have features, so there is nothing to compare", "see the failures above")
    if models_y:
        return [(x, y) for x in models_x for y in models_y], models_x + models_y
    return [(x, y) for i, x in enumerate(models_x) for y in models_x[i + 1 :]], models_x


def _tell_apart(sources: Sequence[Source]) -> None:
    """Call models of the same name by where they come from."""
    for name in {source.name for source in sources}:
        same = [source for source in sources if source.name == name]
        if len({source.origin for source in same}) > 1:
            for source in same:
                source.name = source.origin


def _warn_of_repeats(models: Sequence[ModelBank], ctx: RunContext) -> None:
    """Say so when the data hold samples twice: by neighbours, any two models agree on those."""
    if any(model.group is not None for model in models):
        return
    repeated, n = repeated_samples([model.features.features[-1] for model in models]), models[0].features.n
    if repeated > _MANY_REPEATS * n:
        ctx.events.message(
            f"{repeated} of {n} samples repeat an earlier one in every model: such samples are each other's neighbours "
            "whatever the models have learnt, so scores by neighbours are too high and their p-values too low; leave the repeats out",
            "warning",
        )


def _add_uncertainty(pair: PairScore, config: AlignConfig, seed: int) -> None:
    """Add the confidence interval and the curve over sample sizes that were asked for."""
    x, y, found = pair.x.bank, pair.y.bank, pair.alignments
    if config.ci != "off":
        settings = IntervalSettings(config.ci, config.ci_level, config.ci_draws, derive_seed(seed, "align.intervals"))
        estimate = interval(pair.metric, x, y, pair.statistic, found.value, settings)
        pair.alignments = dataclasses.replace(found, interval=estimate)
    if config.n_grid is not None:
        sizes = parse_grid(config.n_grid, found.n)
        pair.curve = grid(pair.metric, x, y, sizes, pair.statistic, derive_seed(seed, "align.grid"))


def _adjust(scored: Sequence[PairScore]) -> None:
    """Adjust p-values over the model pairs of each metric."""
    for name in {pair.alignments.metric for pair in scored}:
        own = [pair for pair in scored if pair.alignments.metric == name and pair.alignments.p_value is not None]
        values = benjamini_hochberg([pair.alignments.p_value or 0.0 for pair in own])
        for pair, value in zip(own, values, strict=True):
            pair.adjusted_p = value


def _result(scored: list[PairScore], config: AlignConfig, ctx: RunContext) -> Result:
    if not all(np.isfinite(pair.alignments.scores).all() for pair in scored):
        bad = next(pair for pair in scored if not np.isfinite(pair.alignments.scores).all())
        raise DataError(f"{bad.alignments.metric} of {bad.x.name} and {bad.y.name} is not a number for some layers")
    path = ctx.run.artifact("scores.safetensors")
    write_scores(scored, path)
    best = ranked(scored)[0]
    scalars: dict[str, float | int | str | None] = {
        "n": best.alignments.n,
        "model_pairs": len({(pair.x.name, pair.y.name) for pair in scored}),
        "layer_pairs": sum(pair.alignments.scores.size for pair in scored),
        "permutations": config.n_permutations or 0,
    }
    if len(scored) == 1:
        scalars |= {"score": best.alignments.value, "p_value": best.alignments.p_value}
        scalars |= {"calibrated": best.alignments.calibrated, "threshold": best.alignments.threshold}
    return Result(
        scalars={key: value for key, value in scalars.items() if value is not None},
        tables=[scores_table(scored)],
        figures=figures(scored, config),
        artifacts=[path],
        data={"pairs": pair_records(scored)},
    )

"""The stage `interp demo`: extract the zoo, align it, and put together what a person wants to see."""

from collections.abc import Mapping, Sequence
from typing import Any

from interp_plugins.embedded.world import captions, join, scenes
from interp_plugins.embedded.zoo import names
from interp_plugins.methods.align.config import AlignConfig
from interp_plugins.methods.demo.ceiling import ceiling
from interp_plugins.methods.demo.config import DemoConfig
from interp_plugins.methods.demo.figures import all_figures, lead, loss_correlation, pair_table
from interp_plugins.methods.demo.grid import Grid
from interp_plugins.methods.extract.config import ExtractConfig
from interp_plugins.metrics.config import MutualKnnConfig
from interp_registry.contracts.method import Cost, Failure, Result, RunContext
from interp_registry.stores.run import Run

__all__ = ["estimate", "run"]

_DATASET = "shapes"


def run(config: DemoConfig, ctx: RunContext) -> Result:
    """Align every language model of the zoo with every vision model, for each number of captions.

    Raises:
        InterpError: Extraction or alignment failed.
    """
    failures: list[Failure] = []
    pictures = ExtractConfig(_models("vision"), dataset=_DATASET, limit=config.limit, pool="vision=cls")
    vision = _extract(ctx, pictures, failures)
    grids: list[Grid] = []
    for step, n_captions in enumerate(config.captions):
        ctx.events.progress("captions", step, len(config.captions), "rounds")
        grids.append(_grid(n_captions, vision, config, ctx, failures))
        ctx.events.heat_map(f"matrix-{n_captions}", all_figures(grids[-1:], config.topk)[0])
    ctx.events.progress("captions", len(grids), len(grids), "rounds")
    return _result(grids, config, failures)


def estimate(config: DemoConfig, _ctx: RunContext) -> Cost:
    """What the demonstration needs on two cores of an ordinary machine."""
    rounds = len(config.captions)
    return Cost(
        seconds=30.0 + 45.0 * rounds, disk_bytes=(60 + 90 * rounds) << 20, memory_bytes=1 << 30, download_bytes=0
    )


def _models(modality: str) -> list[str]:
    return [*names(modality), *names(modality, untrained=True)]


def _extract(ctx: RunContext, config: ExtractConfig, failures: list[Failure]) -> dict[str, str]:
    """Stored keys by model, in the order of the models; what is stored already is not computed again."""
    return _keys(ctx.run_stage("extract", config), failures)


def _keys(run: Run, failures: list[Failure]) -> dict[str, str]:
    result = run.result or {}
    failures += [Failure(**failure) for failure in result.get("failures", [])]
    return {str(item["model"]): str(item["key"]) for item in result["features"]}


def _grid(
    n_captions: int, vision: Mapping[str, str], config: DemoConfig, ctx: RunContext, failures: list[Failure]
) -> Grid:
    joined = f"{_DATASET}:captions_per_item={n_captions}"
    asked = ExtractConfig(_models("language"), dataset=joined, limit=config.limit, loss=True)
    language = _extract(ctx, asked, failures)
    aligned = ctx.run_stage(
        "align",
        AlignConfig(
            models=list(language.values()),
            against=list(vision.values()),
            metric=[MutualKnnConfig(topk=config.topk)],
            permutations=str(config.permutations),
            clamp="quantile-exact",
            skip_embedding=config.skip_embedding,
        ),
    )
    records: Sequence[Mapping[str, Any]] = (aligned.result or {})["pairs"]
    losses = {name: float((ctx.features.get(key).totals or {})["loss"]) for name, key in language.items()}
    by_pair = {(str(record["x"]), str(record["y"])): record for record in records}
    return Grid(n_captions, by_pair, list(language), list(vision), losses, _ceiling(n_captions, config))


def _ceiling(n_captions: int, config: DemoConfig) -> float:
    texts = [join(of_scene[:n_captions]) for of_scene in captions("evaluation", 0, config.limit)]
    return ceiling(scenes("evaluation", 0, config.limit), texts, config.topk)


def _result(grids: Sequence[Grid], config: DemoConfig, failures: list[Failure]) -> Result:
    scalars: dict[str, float | int | str | None] = {"scenes": grids[0].n_scenes}
    for grid in grids:
        scalars |= {
            f"best, {grid.words}": grid.score(*grid.best),
            f"null, {grid.words}": grid.null,
            f"ceiling, {grid.words}": grid.ceiling,
        }
    data = {
        "title": "Do models of text and models of pictures agree?",
        "lead": lead(grids),
        "matrix": {grid.words: _matrix(grid) for grid in grids},
        "null": {grid.words: grid.null for grid in grids},
        "ceiling": {grid.words: grid.ceiling for grid in grids},
        "correlations": {grid.words: loss_correlation(grid) for grid in grids},
    }
    return Result(scalars, [pair_table(grids)], all_figures(grids, config.topk), failures=failures, data=data)


def _matrix(grid: Grid) -> dict[str, dict[str, float]]:
    return {x: {y: grid.score(x, y) for y in grid.vision} for x in grid.language}

"""The stage `interp align layers`: statistics of the layers of single models."""

import dataclasses
import math

from interp_plugins.methods.align.config import LayersConfig
from interp_plugins.methods.align.inputs import check_layers
from interp_plugins.methods.align.reading import LoadedFeatures
from interp_plugins.methods.align.sources import find_sources, opened_words
from interp_plugins.metrics.layer_statistics import LayerStatistics, layer_statistics
from interp_registry.contracts.method import Result, RunContext
from interp_registry.errors import UsageError
from interp_registry.figures import Figure, Lines, Series, Table
from interp_registry.tensors.precision import precise_device

__all__ = ["layers"]

_CURVES = {
    "effective_rank": "effective rank",
    "participation_ratio": "participation ratio",
    "intrinsic_dimension": "intrinsic dimension (two nearest neighbours)",
    "spectral_decay": "spectral decay (exponent)",
    "anisotropy": "mean cosine of different samples",
    "cka_previous": "linear CKA with the layer before",
    "drift": "relative distance to the layer before",
}


def layers(config: LayersConfig, ctx: RunContext) -> Result:
    """Compute the statistics of every layer of every model.

    Raises:
        UsageError: No model was named.
        DataError: Features cannot be used.
    """
    words = opened_words(config.models, ctx.catalog)
    if not words:
        raise UsageError("no model was named", "e.g. `interp align layers vit-d64`")
    sources, failures = find_sources(words, config, ctx, config.pool)
    found: list[tuple[LoadedFeatures, list[LayerStatistics]]] = []
    device = precise_device(ctx.device)
    for index, source in enumerate(sources):
        features = source.load()
        features.name = source.name
        check_layers(features.features, source.name)
        found.append((features, layer_statistics([layer.to(device) for layer in features.features])))
        ctx.events.progress("layers", index + 1, len(sources), "models")
    result = Result(scalars={"models": len(found), "layers": sum(len(statistics) for _, statistics in found)})
    result.tables = [_table(features, statistics) for features, statistics in found]
    result.figures = _curves(found)
    result.failures = failures
    result.data = {
        "models": [
            {
                "model": features.name,
                "layers": features.layers,
                "statistics": [dataclasses.asdict(s) for s in statistics],
            }
            for features, statistics in found
        ]
    }
    return result


def _table(features: LoadedFeatures, statistics: list[LayerStatistics]) -> Table:
    names = [field.name for field in dataclasses.fields(LayerStatistics)]
    rows = [
        (address, *(_shown(getattr(values, name)) for name in names))
        for address, values in zip(features.layers, statistics, strict=True)
    ]
    columns = ("layer", *(name.replace("_", " ") for name in names))
    return Table(columns, tuple(rows), title=f"Layers of {features.name}", name=f"layers_{features.name}", digits=3)


def _shown(value: float) -> float | int | None:
    return None if isinstance(value, float) and math.isnan(value) else value


def _curves(found: list[tuple[LoadedFeatures, list[LayerStatistics]]]) -> list[Figure]:
    figures: list[Figure] = []
    for name, words in _CURVES.items():
        series = []
        for features, statistics in found:
            values = [getattr(s, name) for s in statistics]
            last = max(1, len(values) - 1)
            places = [(i / last, float(v)) for i, v in enumerate(values) if not math.isnan(v)]
            series.append(Series(features.name, tuple(x for x, _ in places), tuple(y for _, y in places), markers=True))
        figures.append(
            Lines(tuple(series), x_title="relative depth", y_title=words, title=f"{words.capitalize()} over depth")
        )
    return figures

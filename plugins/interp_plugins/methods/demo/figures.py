"""What the demonstration shows, as data."""

from collections.abc import Sequence

from interp_plugins.methods.demo.grid import Grid, is_trained, shown_name
from interp_registry.figures import Figure, HeatMap, Reference, Scatter, Table
from interp_registry.regression import fit_line

__all__ = ["REFERENCE_VISION", "all_figures", "lead", "loss_correlation", "pair_table"]

REFERENCE_VISION = "vit-d64"
"""The vision model that alignment is set against loss with, as in the tables of thresholds."""


def all_figures(grids: Sequence[Grid], topk: int) -> list[Figure]:
    """Matrices first, then alignment against loss, then layers by layers."""
    found: list[Figure] = [matrix(grid, topk) for grid in grids]
    found.append(against_loss(grids[-1]))
    for grid in grids:
        found += [layer_map(grid, name, _reference(grid), topk) for name in grid.trained_language]
    return found


def _reference(grid: Grid) -> str:
    return REFERENCE_VISION if REFERENCE_VISION in grid.vision else grid.trained_vision[-1]


def matrix(grid: Grid, topk: int) -> HeatMap:
    """Every language model with every vision model, untrained controls and the bag of tokens beside them."""
    largest = grid.trained_language[-1]
    values = [[grid.score(x, y) for y in grid.vision] for x in grid.language]
    hover = [[_hover(grid, x, y) for y in grid.vision] for x in grid.language]
    best_x, best_y = grid.best
    return HeatMap(
        [*values, [grid.bag_of_tokens(largest, y) for y in grid.vision]],
        rows=(*map(shown_name, grid.language), f"{largest}, layer 0 only"),
        columns=tuple(map(shown_name, grid.vision)),
        row_title="language model",
        column_title="vision model",
        units=f"mutual k-NN, k = {topk}",
        value_range=(0.0, None),
        hover=[*hover, ["bag of tokens"] * len(grid.vision)],
        marked=((grid.language.index(best_x), grid.vision.index(best_y)),),
        title=f"Language against vision, {grid.words} per scene",
        caption=f"Best pair of layers on {grid.n_scenes:,} scenes. Scenes shuffled (null): {grid.null:.3f}. A perfect reader of the "
        f"captions against the scene itself (ceiling): {grid.ceiling:.3f}. The last row is the embedding layer alone, a bag of tokens.",
        name=f"matrix-{grid.n_captions}",
    )


def _hover(grid: Grid, x: str, y: str) -> str:
    record = grid.records[x, y]
    return f"layers {record['layer x']} and {record['layer y']}\np = {record['p']:.3g}, null {record['null mean']:.3f}"


def against_loss(grid: Grid) -> Scatter:
    """Alignment with one vision model against the language models' loss on the same texts."""
    vision = _reference(grid)
    trained = loss_correlation(grid)
    return Scatter(
        [grid.losses[name] for name in grid.language],
        [grid.score(name, vision) for name in grid.language],
        labels=tuple(map(shown_name, grid.language)),
        groups=tuple("trained" if is_trained(name) else "untrained" for name in grid.language),
        x_title=f"loss on texts of {grid.words} (nats per token)",
        y_title=f"alignment with {vision}",
        regression=True,
        references=(Reference(grid.null, "null"),),
        title="Alignment against loss",
        caption=f"Among the trained language models alone: {trained}. The correlation is stated whatever it is; with so few models it "
        "says little.",
        name="against-loss",
    )


def loss_correlation(grid: Grid) -> str:
    """Correlations of loss and alignment over the trained language models, as a sentence."""
    names, vision = grid.trained_language, _reference(grid)
    return fit_line([grid.losses[name] for name in names], [grid.score(name, vision) for name in names]).sentence


def layer_map(grid: Grid, x: str, y: str, topk: int) -> HeatMap:
    """Every layer of one model with every layer of the other."""
    record = grid.records[x, y]
    rows, columns = record["layers_x"], record["layers_y"]
    return HeatMap(
        record["scores"],
        rows=rows,
        columns=columns,
        row_title=f"layer of {x}",
        column_title=f"layer of {y}",
        units=f"mutual k-NN, k = {topk}",
        value_range=(0.0, None),
        marked=((rows.index(record["layer x"]), columns.index(record["layer y"])),),
        title=f"{x} and {y}, {grid.words}",
        caption=f"Layer 0 is the embedding. Best: layers {record['layer x']} and {record['layer y']}, {record['score']:.3f}.",
        name=f"layers-{x}-{y}-{grid.n_captions}",
    )


def pair_table(grids: Sequence[Grid]) -> Table:
    """One row for each pair of models and number of captions."""
    rows = [
        {
            "captions": grid.n_captions,
            "language model": shown_name(x),
            "vision model": shown_name(y),
            "score": record["score"],
            "layer x": record["layer x"],
            "layer y": record["layer y"],
            "layer 0 alone": record["embedding"],
            "null": record["null mean"],
            "p": record["p"],
            "q": record["q"],
            "loss": grid.losses[x],
        }
        for grid in grids
        for (x, y), record in grid.records.items()
    ]
    notes = (
        "null: mean over permutations of the best score over layer pairs, with the scenes shuffled; "
        "q: p adjusted over all pairs (Benjamini-Hochberg).",
    )
    return Table.of_records(rows, title="All pairs", notes=notes, name="pairs")


def lead(grids: Sequence[Grid]) -> list[str]:
    """What was found, in numbers, and how far it may be believed."""
    found = [
        f"with {grid.words} per scene {grid.score(*grid.best):.3f} for {grid.best[0]} and {grid.best[1]}, null {grid.null:.3f}, "
        f"ceiling {grid.ceiling:.3f}"
        for grid in grids
    ]
    largest, first = grids[0].trained_language[-1], grids[0]
    vision = _reference(first)
    return [
        "Language models that only read and vision models that only saw, trained apart on the same small world: how many of a scene's "
        f"nearest neighbours do they share? Best trained pair: {'; '.join(found)}.",
        f"The embedding layer of {largest} alone, a bag of tokens, reaches {first.bag_of_tokens(largest, vision):.3f} with {vision} "
        f"and {first.words}; {shown_name(largest + '-init')} with all its layers {first.score(largest + '-init', vision):.3f}.",
        "This shows a mechanism, designed in: the statistics that both modalities share were put into this world on purpose. It is no "
        "evidence for the Platonic Representation Hypothesis on natural data.",
    ]

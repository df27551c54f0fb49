"""Tables and figures of an evaluation."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from interp_plugins.methods.lens.evaluation.interventions import IDENTITY, RECONSTRUCTION
from interp_plugins.methods.lens.evaluation.resampling import Estimate
from interp_plugins.methods.lens.evaluation.suite import LayerReport
from interp_registry.figures import Figure, HeatMap, Lines, Reference, Scatter, Series, Table

__all__ = ["figures", "layer_table", "readout_table", "tables", "text_table"]

_SWAP_COLUMNS = {
    "kl": "KL (nats)",
    "kl_over_mean": "KL / KL(mean)",
    "kl_after": "KL after",
    "top1_agreement": "top-1",
    "loss_change": "loss change",
    "loss_change_after": "loss change after",
    "fve": "FVE",
    "fve_nrm": "FVE normalised",
    "cosine": "cosine",
    "cosine_centred": "cosine centred",
}
_READOUT_COLUMNS = {
    "kl": "KL (nats)",
    "loss": "loss (nats)",
    "kl_bits_per_byte": "KL (bits per byte)",
    "loss_bits_per_byte": "loss (bits per byte)",
    "entropy_bits_per_byte": "entropy (bits per byte)",
    "top1_agreement": "top-1",
}
_CAPTION = "Intervals in the data: 95 %, whole documents drawn with replacement."


def tables(reports: Sequence[LayerReport]) -> list[Table]:
    """All tables that have rows: predictions, texts with what they explain, interventions of each layer, examples."""
    found = [readout_table(reports), text_table(reports)]
    found += [layer_table(report) for report in reports if report.swaps]
    found += [_example_table(name, report) for report in reports for name in report.texts]
    return [table for table in found if table.rows]


def layer_table(report: LayerReport) -> Table:
    """Every intervention at one layer."""
    rows = [
        {"lens": lens or "-", "in its place": name, **_values(scores, _SWAP_COLUMNS)}
        for (lens, name), scores in report.swaps.items()
    ]
    notes = (
        f"{report.n_rows} rows of {report.n_documents} texts. KL after: mean over the following positions. {_CAPTION}",
        *([report.bottleneck] if report.bottleneck else []),
    )
    return Table.of_records(rows, title=f"Layer {report.layer}: something else in an activation's place", notes=notes)


def readout_table(reports: Sequence[LayerReport]) -> Table:
    """Predictions of every readout at every layer, and the model's own."""
    rows: list[dict[str, Any]] = []
    for report in reports:
        rows += [
            {"layer": report.layer, "lens": name, **_values(scores, _READOUT_COLUMNS)}
            for name, scores in report.readouts.items()
        ]
    if rows:
        last = next(report for report in reversed(reports) if report.model)
        rows.append({"layer": None, "lens": "the model itself", **_values(last.model, _READOUT_COLUMNS)})
    return Table.of_records(rows, title="Next-token predictions read from activations", notes=(_CAPTION,))


def text_table(reports: Sequence[LayerReport]) -> Table:
    """Faithful and readable, side by side: what explanations explain, what they cost the base model, which facts they name."""
    rows = [_text_row(report, name) for report in reports for name in report.texts]
    notes = (
        "NLL: nats per token after BOS; base NLL: of the base model's own texts of that length.",
        "Facts: share of the scene's facts that are named; of others: by another row's explanation (chance); probe: a linear probe that "
        "names as many; bound: a probe that names one fact per token.",
    )
    return Table.of_records(rows, title="Explanations: faithful, and readable?", notes=notes)


def _text_row(report: LayerReport, name: str) -> dict[str, Any]:
    scores, swap = report.texts[name], report.swaps.get((name, RECONSTRUCTION), {})
    facts = scores.facts
    row: dict[str, Any] = {
        "lens": name,
        "layer": report.layer,
        **_values(swap, {"kl": "KL (nats)", "kl_over_mean": "KL / KL(mean)", "fve": "FVE"}),
        "NLL": scores.nll.value,
        "base NLL": scores.base_nll,
    }
    if facts:
        row |= _values(
            facts,
            {
                "recall": "facts",
                "precision": "precision",
                "other_recall": "facts of others",
                "probe_recall": "facts, probe",
                "bound_recall": "facts, bound",
            },
        )
    said = scores.said
    row |= {"distinct": said.distinct, "commonest token": said.most_common_token, "token entropy": said.token_entropy}
    return row | {"verdict": "; ".join(scores.verdicts) or "nothing amiss"}


def _example_table(name: str, report: LayerReport) -> Table:
    rows = [
        {
            "text so far": example.context,
            "next": example.next_token,
            "explanation": example.explanation,
            "facts that hold": ", ".join(example.right),
            "facts that do not": ", ".join(example.wrong),
        }
        for example in report.texts[name].examples
    ]
    return Table.of_records(rows, title=f"What {name} says at layer {report.layer}")


def figures(reports: Sequence[LayerReport]) -> list[Figure]:
    """Depth curves of readouts, a heat map of interventions, best-of curves, and the front of faithful against readable."""
    found: list[Figure] = []
    if any(report.readouts for report in reports):
        found += [_depth(reports, "kl", "KL (nats)"), _depth(reports, "loss_bits_per_byte", "loss (bits per byte)")]
    if any(report.swaps for report in reports):
        found.append(_swap_map(reports))
    if any(report.best_of for report in reports):
        found.append(_best_of(reports))
    if any(report.texts for report in reports):
        found.append(_front(reports))
    return found


_DEPTH = {
    "kl": "How far the next-token predictions read from each layer are from the model's. ",
    "loss_bits_per_byte": "What the text's own next token costs under the predictions read from each layer. ",
}


def _depth(reports: Sequence[LayerReport], measure: str, title: str) -> Lines:
    names = dict.fromkeys(name for report in reports for name in report.readouts)
    series = tuple(
        _series(name, [(r.layer, r.readouts[name][measure]) for r in reports if name in r.readouts]) for name in names
    )
    own = [report.model[measure].value for report in reports if report.model]
    references = (Reference(own[0], "the model itself"),) if measure != "kl" and own else ()
    return Lines(
        series,
        x_title="layer",
        y_title=title,
        references=references,
        title=f"Readouts over depth: {title}",
        caption=_DEPTH[measure] + _CAPTION,
    )


def _series(name: str, points: Sequence[tuple[float, Estimate]]) -> Series:
    x, values = [float(place) for place, _ in points], [value for _, value in points]
    band = all(math.isfinite(value.low) for value in values)
    return Series(
        name,
        x,
        [value.value for value in values],
        [value.low for value in values] if band else (),
        [value.high for value in values] if band else (),
        markers=True,
    )


def _swap_map(reports: Sequence[LayerReport]) -> HeatMap:
    shown = [report for report in reports if report.swaps]
    pairs = [pair for pair in dict.fromkeys(pair for r in shown for pair in r.swaps) if pair[1] != IDENTITY]
    values = [[r.swaps[pair]["kl_over_mean"].value if pair in r.swaps else math.nan for r in shown] for pair in pairs]
    return HeatMap(
        values,
        rows=[f"{lens}: {name}" if lens else name for lens, name in pairs],
        columns=[str(r.layer) for r in shown],
        column_title="layer",
        row_title="in the activation's place",
        units="KL / KL(mean)",
        value_range=(0.0, None),
        title="What a swap costs",
        caption="KL of the next token after each swap, over that of putting in the mean: 0 loses nothing, 1 as much as the mean.",
    )


def _best_of(reports: Sequence[LayerReport]) -> Lines:
    series = [
        _series(f"{name}, layer {report.layer}", list(enumerate(curve, start=1)))
        for report in reports
        for name, curve in report.best_of.items()
    ]
    return Lines(
        tuple(series),
        x_title="samples",
        y_title="FVE of the best",
        title="Best of several explanations",
        caption="Expected FVE when the explanation of smallest error is kept. " + _CAPTION,
    )


def _front(reports: Iterable[LayerReport]) -> Scatter:
    points: list[tuple[float, float, str]] = []
    for report in reports:
        for name, scores in report.texts.items():
            swap: Mapping[str, Estimate] = report.swaps.get((name, RECONSTRUCTION), {})
            if swap:
                points.append((scores.nll.value - scores.base_nll, swap["fve"].value, f"{name}, layer {report.layer}"))
    return Scatter(
        [x for x, _, _ in points],
        [y for _, y, _ in points],
        labels=[label for _, _, label in points],
        x_title="NLL above the base model's own text (nats per token)",
        y_title="FVE",
        references=(Reference(0.8, "faithful"), Reference(1.0, "readable", axis="x")),
        title="Faithful against readable",
        caption="Above and to the left is better: high FVE in words that the base model could have written.",
    )


def _values(scores: Mapping[str, Estimate], columns: Mapping[str, str]) -> dict[str, float | None]:
    return {title: _cell(scores[name].value) for name, title in columns.items() if name in scores}


def _cell(value: float) -> float | None:
    return value if math.isfinite(value) else None

"""Words for the inputs on which a component matters most."""

from typing import Any

from torch import Tensor

from interp_plugins.methods.spd.after.statistics import Harvest
from interp_plugins.methods.spd.evaluation import Evaluation
from interp_plugins.methods.spd.factored import FactoredRows

__all__ = ["describe_examples"]

_WINDOW = 6
_FEATURES = 4


def describe_examples(found: Harvest, evaluation: Evaluation, component: int, tokenizer: Any) -> list[dict[str, Any]]:
    """Return a component's strongest inputs as (importance, text).

    For a language model the text is a window of tokens with the active one in brackets; for a toy, its largest features.
    """
    examples: list[dict[str, Any]] = []
    for importance, row in found.examples[component]:
        batch, inside = _locate(evaluation, row)
        text = _features(batch, inside) if tokenizer is None else _window(batch, inside, tokenizer)
        examples.append({"importance": importance, "text": text})
    return examples


def _locate(evaluation: Evaluation, row: int) -> tuple[Any, int]:
    """Return the batch that holds a row of all batches together, and the row's number in it."""
    for step in evaluation.steps:
        n_rows = step.lower.flatten(0, -2).shape[0]
        if row < n_rows:
            return step.known.batch, row
        row -= n_rows
    msg = f"row {row} is behind the last batch"
    raise IndexError(msg)


def _features(batch: Any, row: int) -> str:
    values: Tensor = (batch.terms[0][0] if isinstance(batch, FactoredRows) else batch)[row]
    largest = values.abs().argsort(descending=True)[:_FEATURES].tolist()
    return ", ".join(f"feature {i} = {float(values[i]):.2f}" for i in largest if values[i] != 0) or "all zero"


def _window(batch: Tensor, row: int, tokenizer: Any) -> str:
    sequence, position = divmod(row, batch.shape[1])
    ids = batch[sequence].tolist()
    before = tokenizer.decode(ids[max(0, position - _WINDOW) : position])
    after = tokenizer.decode(ids[position + 1 : position + 1 + _WINDOW])
    return f"{before} [{tokenizer.decode([ids[position]])}] {after}".strip()

"""What a lens that reads out predicts at every layer and token of one text, as numbers and as figures.

Axes: l layers, s tokens of the text, k candidates, v vocabulary.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from interp_plugins.methods.lens.contract import Lens, ReadsOut
from interp_plugins.methods.lens.parts import Parts
from interp_plugins.methods.lens.readout.measures import divergence, entropy, rank_of
from interp_registry.errors import DataError
from interp_registry.figures import HeatMap

__all__ = ["MEASURES", "Text", "Trajectory", "read_text", "trajectory"]

MEASURES = {
    "max_probability": "probability of the most probable token",
    "entropy": "nats",
    "rank": "tokens ahead of the next one",
    "cross_entropy": "nats, of the next token",
    "kl": "nats, KL to the last layer",
}
"""Measures of a prediction and their units; rank and cross-entropy need a next token, so the last token has none."""

_TITLES = {
    "max_probability": "Most probable token",
    "entropy": "Entropy",
    "rank": "Rank of the next token",
    "cross_entropy": "Cross-entropy of the next token",
    "kl": "KL to the last layer",
}


@dataclass(frozen=True)
class Text:
    """One tokenised text and its activations."""

    token_ids: Int[Tensor, "s"]
    """Its tokens."""
    tokens: tuple[str, ...]
    """The same as text."""
    activations: dict[int, Float[Tensor, "s d"]]
    """By layer; always with the last."""


@dataclass(frozen=True)
class Trajectory:
    """Predictions of every layer, the first layer first."""

    layers: tuple[int, ...]
    """The layers."""
    tokens: tuple[str, ...]
    """Tokens of the text."""
    candidates: tuple[tuple[tuple[tuple[str, float], ...], ...], ...]
    """[l][s][k]: token and probability, best first."""
    measures: dict[str, Float[Tensor, "l s"]]
    """By the names of :data:`MEASURES`; NaN where there is no next token."""

    def figure(self, measure: str) -> HeatMap:
        """Layers from the last (above) to the first, tokens to the right, with the candidates of a cell on hover.

        The cells of ``max_probability`` show the best candidate, those of other measures the number.
        """
        down = range(len(self.layers) - 1, -1, -1)
        values = self.measures[measure].tolist()
        best = tuple(tuple(_visible(cell[0][0]) for cell in self.candidates[row]) for row in down)
        return HeatMap(
            values=tuple(tuple(values[row]) for row in down),
            rows=tuple(str(self.layers[row]) for row in down),
            columns=_distinct(self.tokens),
            row_title="layer",
            column_title="token",
            units=MEASURES[measure],
            annotations=best if measure == "max_probability" else (),
            hover=tuple(tuple(self._hover(row, place) for place in range(len(self.tokens))) for row in down),
            value_range=(0.0, 1.0) if measure == "max_probability" else (0.0, None),
            title=_TITLES[measure],
            name=measure,
        )

    def _hover(self, row: int, place: int) -> str:
        found = [f"{_visible(token)} {value:.3f}" for token, value in self.candidates[row][place]]
        numbers = {name: float(values[row, place]) for name, values in self.measures.items()}
        found += [f"{name.replace('_', ' ')} {value:.3g}" for name, value in numbers.items() if math.isfinite(value)]
        return "\n".join(found)


@torch.no_grad()
def read_text(parts: Parts, text: str, layers: Sequence[int]) -> Text:
    """Tokenise a text and run the model on it; an end token that the tokenizer adds is left out.

    Raises:
        DataError: The text has no tokens.
    """
    tokenizer: PreTrainedTokenizerBase = parts.model.tokenizer
    numbers = list(parts.model.preprocess([text])[0].inputs["input_ids"])
    if len(numbers) > 1 and numbers[-1] == tokenizer.eos_token_id:
        numbers = numbers[:-1]
    ids = torch.tensor(numbers)
    batch = parts.batch(ids[None], torch.ones(1, len(ids), dtype=torch.bool))
    wanted = {layer: parts.address(layer) for layer in {*layers, parts.n_layers}}
    with parts.model.capture(list(wanted.values())) as capture:
        parts.model.forward(batch)
        values = capture.take()
    tokens = tuple(str(tokenizer.decode([number])) for number in numbers)
    return Text(ids, tokens, {layer: values[address][0] for layer, address in wanted.items()})


@torch.no_grad()
def trajectory(lens: Lens, parts: Parts, text: Text, layers: Sequence[int], top: int) -> Trajectory:
    """Predictions of a lens at some layers of a text.

    Args:
        lens: One that reads out.
        parts: Its model.
        text: From :func:`read_text`, with these layers.
        layers: Which layers.
        top: How many candidates to keep.

    Raises:
        DataError: The lens does not read out, or what it predicts is not finite.
    """
    if not isinstance(lens, ReadsOut):
        raise DataError("this lens predicts no tokens")
    final = parts.readout(text.activations[parts.n_layers]).float()
    following = text.token_ids[1:].to(final.device)
    rows: list[dict[str, Tensor]] = []
    candidates: list[tuple[tuple[tuple[str, float], ...], ...]] = []
    for layer in layers:
        logits = lens.readout(text.activations[layer], layer).float()
        if not logits.isfinite().all():
            raise DataError(
                f"the predictions at layer {layer} are not finite", "look for NaN in the weights of model and lens"
            )
        values, best = logits.softmax(-1).topk(min(top, logits.shape[-1]), dim=-1)
        rows.append({
            "max_probability": values[:, 0],
            "entropy": entropy(logits),
            "rank": _with_end(rank_of(logits[:-1], following).float()),
            "cross_entropy": _with_end(-logits[:-1].log_softmax(-1).gather(-1, following[:, None])[:, 0]),
            "kl": divergence(final, logits).clamp_min(0),
        })  # fmt: skip
        decode: Callable[[list[int]], str] = parts.model.tokenizer.decode  # pyright: ignore[reportAssignmentType]
        candidates.append(
            tuple(
                tuple((decode([number]), value) for number, value in zip(numbers, shares, strict=True))
                for numbers, shares in zip(best.tolist(), values.tolist(), strict=True)
            )
        )
    measures = {name: torch.stack([row[name].cpu() for row in rows]) for name in MEASURES}
    return Trajectory(tuple(layers), text.tokens, tuple(candidates), measures)


def _with_end(values: Float[Tensor, "s_minus_1"]) -> Float[Tensor, "s"]:
    """The values, and NaN for the last token, which has no next one."""
    return torch.cat([values, values.new_full((1,), torch.nan)])


def _visible(token: str) -> str:
    """A token with its white space shown."""
    return token.replace("\n", "\\n").strip() or repr(token)


def _distinct(tokens: Sequence[str]) -> tuple[str, ...]:
    """Column labels: place and token, so that a repeated token has two columns."""
    return tuple(f"{place} {_visible(token)}" for place, token in enumerate(tokens))

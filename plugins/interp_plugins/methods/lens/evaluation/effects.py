"""What swapping activations does to the model's predictions, at the position and on the tokens after it.

Axes: n rows, b rows of a batch, s tokens, d width, v vocabulary, w = 1 + window positions from the swapped one on.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp_plugins.methods.lens.dumped import Rows
from interp_plugins.methods.lens.evaluation.measures import agreement, cross_entropy, kl_divergence
from interp_plugins.methods.lens.parts import Parts
from interp_plugins.models.language import CausalLanguageModel
from interp_registry.contracts.model import Batch, Encoded
from interp_registry.tensors.precision import to_float64

__all__ = ["Effects", "SwapMeter"]

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Effects:
    """One row per swapped activation; NaN where a row has no such token."""

    kl: Float[Tensor, "n"]
    """KL(original || swapped) of the next token, nats."""
    kl_after: Float[Tensor, "n"]
    """The same, mean over the following positions of the window that still predict a token of the text."""
    agrees: Float[Tensor, "n"]
    """1 where the most likely next token stayed the same."""
    loss_change: Float[Tensor, "n"]
    """Cross-entropy of the text's next token, swapped minus original, nats."""
    loss_change_after: Float[Tensor, "n"]
    """The same, mean over the following positions."""
    logit_change: Float[Tensor, "n"]
    """Largest absolute change of any logit in the window; 0 exactly when the swap changed nothing."""


class SwapMeter:
    """Swaps activations into the residual stream and measures what changes.

    Texts go through the model in the same batches in every pass, so that swapping a row's own activation changes no bit. Rows of
    like positions share a batch, and texts are cut behind the window.

    Args:
        model: The frozen model.
        rows: Whose activations are swapped, and their texts.
        layer: Where.
        window: Number of positions after the swapped one that are looked at as well.
        batch_size: Texts per forward pass.
    """

    def __init__(
        self, model: CausalLanguageModel, rows: Rows, layer: int, *, window: int = 8, batch_size: int = 64
    ) -> None:
        self.parts, self.rows, self.layer, self.window = Parts(model), rows, layer, window
        self._batches_of_rows = rows.positions.argsort(stable=True).split(batch_size)

    @torch.no_grad()
    def activations(self) -> Float[Tensor, "n d"]:
        """The rows' activations in the model as it runs now, float32: what an identity swap must put in."""
        address, found = self.parts.address(self.layer), list[Tensor]()
        for batch, where in self._batches():
            with self.parts.model.capture([address], early_exit=True) as capture:
                self.parts.model.forward(batch)
            hidden: Tensor = capture.take()[address]
            positions = self.rows.positions[where].to(hidden.device)
            found.append(hidden[torch.arange(len(hidden), device=hidden.device), positions].float().cpu())
        return self.in_order(found)

    @torch.no_grad()
    def measure(
        self, replacements: Mapping[str, Float[Tensor, "n d"]], report: Report | None = None
    ) -> dict[str, Effects]:
        """The effects of each set of replacements; the original pass is made once for all of them.

        Args:
            replacements: Name to one vector per row.
            report: Called with (done, total) batches.
        """
        found: dict[str, list[Effects]] = {name: [] for name in replacements}
        for done, (batch, where) in enumerate(self._batches(), start=1):
            original = self._logits(batch, where)
            for name, values in replacements.items():
                swapped = self.parts.from_layer(
                    batch, self.layer, self.rows.positions[where], values[where], self._targets(where)[0]
                )
                found[name].append(self._compare(original, swapped.float(), where))
            if report is not None:
                report(done, len(self._batches_of_rows))
        return {name: self._joined(parts) for name, parts in found.items()}

    @torch.no_grad()
    def next_token_logits(self) -> Iterator[tuple[Int[Tensor, "b"], Float[Tensor, "b v"]]]:
        """The model's next-token logits at the rows' positions, batch by batch, with the numbers of the rows."""
        for batch, where in self._batches():
            yield where, self._logits(batch, where)[:, 0]

    def next_tokens(self, where: Int[Tensor, "b"]) -> Int[Tensor, "b"]:
        """The text's token after each row's position; -1 where the text ends there."""
        ids, positions = self.rows.token_ids[where], self.rows.positions[where]
        following = ids.gather(1, (positions + 1).clamp_max(ids.shape[1] - 1)[:, None])[:, 0]
        return following.masked_fill(positions + 1 >= self.rows.lengths[where], -1)

    def in_order(self, parts: Sequence[Tensor]) -> Tensor:
        """Values of all batches as one tensor, in the order of the rows."""
        values = torch.cat(list(parts))
        result = torch.empty_like(values)
        result[torch.cat(self._batches_of_rows)] = values
        return result

    def _joined(self, parts: Sequence[Effects]) -> Effects:
        names = (field.name for field in fields(Effects))
        return Effects(*(self.in_order([getattr(part, name) for part in parts]) for name in names))

    def _batches(self) -> Iterator[tuple[Batch, Int[Tensor, "b"]]]:
        for where in self._batches_of_rows:
            ends = torch.minimum(self.rows.lengths[where], self.rows.positions[where] + self.window + 1)
            texts = zip(self.rows.token_ids[where].tolist(), ends.tolist(), strict=True)
            yield self.parts.model.collate([Encoded({"input_ids": ids[:n]}, n) for ids, n in texts]), where

    def _targets(self, where: Int[Tensor, "b"]) -> tuple[Int[Tensor, "b w"], Bool[Tensor, "b w"]]:
        """Positions of the window, clipped to the text, and whether the text has a token after each."""
        positions = self.rows.positions[where][:, None] + torch.arange(self.window + 1)
        lengths = self.rows.lengths[where][:, None]
        return torch.minimum(positions, lengths - 1), positions < lengths - 1

    def _logits(self, batch: Batch, where: Int[Tensor, "b"]) -> Float[Tensor, "b w v"]:
        return self.parts.logits(batch, self._targets(where)[0]).float()

    def _compare(
        self, original: Float[Tensor, "b w v"], swapped: Float[Tensor, "b w v"], where: Int[Tensor, "b"]
    ) -> Effects:
        positions, present = self._targets(where)
        ids = self.rows.token_ids[where]
        following = ids.gather(1, (positions + 1).clamp_max(ids.shape[1] - 1)).to(original.device)
        kl = kl_divergence(original, swapped).cpu()
        change = (cross_entropy(swapped, following) - cross_entropy(original, following)).cpu()
        change = change.masked_fill(~present, math.nan)
        real = torch.cat([torch.ones_like(present[:, :1]), present[:, 1:]], 1).to(original.device)
        moved = (swapped - original).abs().amax(-1).masked_fill(~real, 0).amax(-1)
        return Effects(
            kl[:, 0],
            kl[:, 1:].masked_fill(~present[:, 1:], math.nan).nanmean(1),
            to_float64(agreement(original[:, 0], swapped[:, 0])).cpu(),
            change[:, 0],
            change[:, 1:].nanmean(1),
            to_float64(moved).cpu(),
        )

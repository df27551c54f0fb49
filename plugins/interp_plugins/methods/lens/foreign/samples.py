"""Activations of other tools on their way into the activation store.

Axes: n rows, s tokens of a text, d width.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp_plugins.methods.lens.dumped import Dump, dump_plan
from interp_plugins.methods.lens.parts import Parts, mask_of
from interp_plugins.models.language import CausalLanguageModel
from interp_registry.errors import DataError
from interp_registry.stores.activations import ActivationStore, Appender, vector_name
from interp_registry.stores.features import FeatureRequest
from interp_registry.tensors.layers import Layer

__all__ = ["Samples", "check_against", "store_samples"]

_CHECKED = 8
_TOLERANCE = 0.05
_BATCH = 1024


@dataclass(frozen=True)
class Samples:
    """Rows of one layer."""

    layer: int
    """Layer in this tool's convention."""
    vectors: Float[Tensor, "n d"]
    """Activations as they were stored."""
    token_ids: Int[Tensor, "n s"]
    """Texts, padded on the right; of width 1 and length 0 when they are not known."""
    lengths: Int[Tensor, "n"]
    """Real tokens; 0 when the text is not known."""
    positions: Int[Tensor, "n"]
    """Token of its text that each row is of."""
    documents: Int[Tensor, "n"]
    """The same number for rows of one text."""
    model: str
    """Name of the model, as the files state it."""
    dataset: str
    """Name of the texts, as the files state it."""
    digest: str
    """Digest of the files."""

    def __len__(self) -> int:
        return len(self.positions)


def check_against(samples: Samples, model: CausalLanguageModel, where: str) -> float:
    """Compute some activations again and compare.

    Args:
        samples: What was read.
        model: The model that they are said to be of.
        where: The file, for messages.

    Returns:
        The largest relative difference; NaN when no text is known.

    Raises:
        DataError: Width, tokens or layer do not go with the model, or the activations are not those of that layer.
    """
    parts = Parts(model)
    if samples.vectors.shape[1] != parts.width:
        raise DataError(f"{where} has vectors of width {samples.vectors.shape[1]}, {model.info.name} has {parts.width}")
    if samples.layer >= parts.n_layers:
        raise DataError(
            f"{where} is of layer {samples.layer}, {model.info.name} has blocks up to {parts.n_layers}",
            "after the last block other tools store the value behind the final norm, which is not an activation here",
        )
    known = (samples.lengths > 0).nonzero()[:_CHECKED, 0]
    if not len(known):
        return float("nan")
    ids, lengths = samples.token_ids[known], samples.lengths[known]
    size = int(model.unembedding.shape[0])
    if int(ids.max()) >= size:
        raise DataError(f"{where} has the token {int(ids.max())}, {model.info.name} has {size} tokens")
    with torch.no_grad():
        hidden = parts.activations(ids, mask_of(lengths, ids.shape[1]), samples.layer).float().cpu()
    again = hidden[torch.arange(len(known)), samples.positions[known]]
    stored = samples.vectors[known].float()
    difference = float(((again - stored).norm(dim=1) / again.norm(dim=1).clamp_min(1e-12)).max())
    if not difference <= _TOLERANCE:
        raise DataError(
            f"{where}: the activations of the first rows differ from those of {model.info.name} at layer {samples.layer} "
            f"by {difference:.0%}",
            "another model or revision, or another layer; leave --model out to take them as they are",
        )
    return difference


def store_samples(
    samples: Samples, store: ActivationStore, options: Mapping[str, str], revision: str | None = None
) -> Dump:
    """Write samples in the form of ``interp lens dump``; what is there already is not written again.

    Args:
        samples: The rows.
        store: Where to.
        options: What tells these activations from others of the same model and texts, e.g. the format.
        revision: Of the model, when it was compared with them.
    """
    dtype = str(samples.vectors.dtype).removeprefix("torch.")
    request = FeatureRequest(
        model=samples.model,
        dataset=samples.dataset,
        fingerprint=samples.digest,
        pools=("none",),
        layers=str(samples.layer),
        dtype=dtype,
        revision=revision,
        options=dict(options),
    )
    address = Layer(samples.layer)
    plan = dump_plan({address: samples.vectors.shape[1]}, samples.token_ids.shape[1], {"imported": samples.digest})
    entry = store.open(request, plan)
    if not entry.complete:
        appender = Appender(entry)
        columns = {
            "token_ids": samples.token_ids.int(),
            "length": samples.lengths.int(),
            "position": samples.positions.int(),
            "doc_id": samples.documents.long(),
            vector_name(str(address)): samples.vectors,
        }
        first = int(str(appender.cursor or 0))
        while first < len(samples):
            again = appender.append(first, {name: column[first : first + _BATCH] for name, column in columns.items()})
            first = first + _BATCH if again is None else int(str(again))
        appender.finish()
    return Dump(entry)

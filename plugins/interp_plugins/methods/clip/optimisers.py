"""Which optimiser moves which weights of an image-text model."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from interp_plugins.methods.clip.config import ClipTrainConfig

__all__ = ["optimisers_of", "parameter_groups"]

UNDECAYED = ("bias", "norm", "logit_scale", "class_embedding", "probe")
MUON_RATE = 3.0
"""Muon's rate as a multiple of ``lr``; its steps have a root mean square of 0.2 of that, so 0.6 of what AdamW's first have."""


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups of the parameters that are trained: matrices with decay; vectors, norms, biases and scales without."""
    trained = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    plain = [p for name, p in trained if p.ndim < 2 or any(part in name for part in UNDECAYED)]
    decayed = [p for name, p in trained if not (p.ndim < 2 or any(part in name for part in UNDECAYED))]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def optimisers_of(module: nn.Module, config: ClipTrainConfig) -> dict[str, Optimizer]:
    """The optimisers by name: AdamW over everything, or Muon over the matrices that multiply and AdamW over the rest.

    Muon (Jordan et al. 2024) makes all singular values of a step nearly equal. Embeddings (a step moves few of their rows) and
    convolutions are no such matrices.
    """
    decayed, plain = parameter_groups(module, config.weight_decay)
    embeddings = {id(p) for name, p in module.named_parameters() if "embedding" in name}
    matrices = [p for p in decayed["params"] if p.ndim == 2 and id(p) not in embeddings]
    if config.optimiser == "adamw" or not matrices:
        return {"adamw": _adamw([decayed, plain], config)}
    taken = {id(p) for p in matrices}
    rest = {**decayed, "params": [p for p in decayed["params"] if id(p) not in taken]}
    muon = torch.optim.Muon(
        matrices, lr=MUON_RATE * config.lr, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    return {"muon": muon, "adamw": _adamw([rest, plain], config)}


def _adamw(groups: Iterable[dict[str, Any]], config: ClipTrainConfig) -> Optimizer:
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=config.lr, betas=config.betas)

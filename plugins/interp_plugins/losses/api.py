"""Losses from Python: ``interp.loss("cka", center=True)(x, y)``."""

import dataclasses
from collections.abc import Callable
from typing import Any

from torch import Tensor

from interp_registry.choices import LossConfig, choice_names
from interp_registry.discovery import discover
from interp_registry.errors import UnknownNameError

__all__ = ["loss"]


def loss(name: str, **options: Any) -> Callable[..., Tensor]:
    """A loss as a callable on tensors that returns a scalar tensor.

    Args:
        name: "infonce", "cka", "svd", "clip_svd", "ncut" or a loss that another plugin adds.
        **options: Its options; those left out keep their defaults.

    Raises:
        UnknownNameError: No such loss or option; the message names the near ones.
    """
    discover()
    known = LossConfig.get_known_choices()
    if name not in known:
        raise UnknownNameError("loss", name, choice_names(LossConfig))
    config_class = known[name]
    fields = [field.name for field in dataclasses.fields(config_class)]
    for option in options:
        if option not in fields:
            raise UnknownNameError(f"option of the loss {name!r}", option, fields)
    return config_class(**options).build()

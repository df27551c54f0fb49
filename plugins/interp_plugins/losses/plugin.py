"""Hooks of the alignment losses."""

from interp_plugins.losses.config import CkaLoss, ClipSvdLoss, InfoNceLoss, NcutLoss, SvdLoss
from interp_registry import hookimpl
from interp_registry.choices import Registry

__all__ = ["register"]


@hookimpl
def register(registry: Registry) -> None:
    """Add the losses under the names that `interp.loss` takes."""
    registry.add("loss", "infonce", InfoNceLoss)
    registry.add("loss", "cka", CkaLoss)
    registry.add("loss", "svd", SvdLoss)
    registry.add("loss", "clip_svd", ClipSvdLoss)
    registry.add("loss", "ncut", NcutLoss)

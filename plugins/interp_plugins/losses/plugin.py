"""Hooks of the alignment losses."""

from typing import TYPE_CHECKING

from interp_registry import hookimpl

if TYPE_CHECKING:
    from interp_registry.choices import Registry

__all__ = ["register"]


@hookimpl
def register(registry: "Registry") -> None:
    """Add the losses under the names that `interp.loss` takes."""
    from interp_plugins.losses.config import CkaLoss, ClipSvdLoss, InfoNceLoss, NcutLoss, SvdLoss

    registry.add("loss", "infonce", InfoNceLoss)
    registry.add("loss", "cka", CkaLoss)
    registry.add("loss", "svd", SvdLoss)
    registry.add("loss", "clip_svd", ClipSvdLoss)
    registry.add("loss", "ncut", NcutLoss)

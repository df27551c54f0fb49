"""Kinds of choices of the lens method: ``lens`` (what can be trained), ``lens_import`` and ``lens_export`` (formats of other tools)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import draccus

from interp_registry.choices import ChoiceConfig

if TYPE_CHECKING:
    from interp_registry.training.config import TrainingConfig

__all__ = ["LensConfig", "LensExportConfig", "LensImportConfig"]


@dataclass
class LensConfig(ChoiceConfig, draccus.ChoiceRegistry):
    """A lens. ``build(model, dump)`` gives an `interp_plugins.methods.lens.contract.Lens`.

    ``model`` is the frozen language model (`interp_plugins.models.language.CausalLanguageModel`), ``dump`` the activations to learn
    from (`interp_plugins.methods.lens.dumped.Dump`): their layers, width and statistics.
    """

    def recipe(self, training: "TrainingConfig") -> "TrainingConfig":
        """The loop's settings as this lens wants them where the user left them as they are, e.g. a decay of the learning rate."""
        return training


@dataclass
class LensImportConfig(ChoiceConfig, draccus.ChoiceRegistry):
    """What ``interp lens import FORMAT PATH`` can bring in: lenses or activations of other tools.

    ``build(config, ctx)`` does it, ``config`` being an `interp_plugins.methods.lens.config.ImportConfig`, and gives an
    `interp_registry.contracts.method.Result`.
    """


@dataclass
class LensExportConfig(ChoiceConfig, draccus.ChoiceRegistry):
    """What ``interp lens export FORMAT LENS`` can write.

    ``build(config, ctx)`` does it, ``config`` being an `interp_plugins.methods.lens.config.ExportConfig`, and gives an
    `interp_registry.contracts.method.Result`.
    """

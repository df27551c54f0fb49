"""The kind of choice ``lens``: ``interp lens train METHOD`` takes any name that a plugin registered here."""

from dataclasses import dataclass

import draccus

from interp_registry.choices import ChoiceConfig

__all__ = ["LensConfig"]


@dataclass
class LensConfig(ChoiceConfig, draccus.ChoiceRegistry):
    """A lens. ``build(model, dump)`` gives an `interp_plugins.methods.lens.contract.Lens`.

    ``model`` is the frozen language model (`interp_plugins.models.language.CausalLanguageModel`), ``dump`` the activations to learn
    from (`interp_plugins.methods.lens.dumped.Dump`): their layers, width and statistics.
    """

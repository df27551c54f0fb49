"""The zoo: tiny models trained on the world, as ordinary Hugging Face folders inside the package.

``names()`` lists them; ``folder(name)`` is what a loader of transformers or timm is given. Every trained model ``x`` has
an untrained control ``x-init``, which has no file in the package: it is made again from the recipe's seed.
"""

from pathlib import Path

from interp_plugins.embedded.zoo.recipes import RECIPES, Recipe
from interp_registry.errors import UnknownNameError
from interp_registry.stores.home import layout

__all__ = ["INIT_SUFFIX", "RECIPES", "WEIGHTS", "Recipe", "folder", "names", "recipe"]

WEIGHTS = Path(__file__).parent / "weights"
INIT_SUFFIX = "-init"


def names(modality: str | None = None, *, untrained: bool = False) -> list[str]:
    """Names of the models, smallest first within a modality.

    Args:
        modality: ``"language"``, ``"vision"`` or ``"clip"``; all when None.
        untrained: give the untrained controls (``-init``) instead of the trained models.
    """
    chosen = [name for name, one in RECIPES.items() if modality in (None, one.modality)]
    if untrained:
        return [name + INIT_SUFFIX for name in chosen if _has_control(RECIPES[name])]
    return chosen


def recipe(name: str) -> Recipe:
    """How a model was made; an untrained control has the recipe of its trained model.

    Raises:
        UnknownNameError: there is no such model.
    """
    base = name.removesuffix(INIT_SUFFIX)
    if base not in RECIPES or (base != name and not _has_control(RECIPES[base])):
        raise UnknownNameError("zoo model", name, names() + names(untrained=True))
    return RECIPES[base]


def folder(name: str, cache: Path | None = None) -> Path:
    """The folder of a model: fp16 safetensors, config, and tokenizer or preprocessing.

    Language models load with ``AutoModelForCausalLM`` and ``AutoTokenizer``, CLIPs with ``CLIPModel``, vision models with
    ``timm.create_model("local-dir:<folder>", pretrained=True)``. Pass ``dtype=torch.float32``: the files are fp16.

    Args:
        name: one of ``names()``, or an untrained control.
        cache: where untrained controls are written; by default the cache of the home folder.

    Raises:
        UnknownNameError: there is no such model.
    """
    chosen = recipe(name)
    if not name.endswith(INIT_SUFFIX):
        return WEIGHTS / name
    root = layout().cache / "zoo" if cache is None else cache
    target = root / f"{name}-{chosen.digest()}"
    if not target.is_dir():
        from interp_plugins.embedded.zoo.folders import write_model
        from interp_plugins.embedded.zoo.training import initial_model

        write_model(initial_model(chosen), chosen, target, replaced=False)
    return target


def _has_control(one: Recipe) -> bool:
    """A fine-tuned model, and a second objective of the same size, share the control of the plain one."""
    return one.starts_from is None and one.objective != "simclr"

"""Model folders: fp16 weights in the layouts that the ordinary loaders of transformers and timm read."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from transformers import CLIPImageProcessor, CLIPModel, LlamaForCausalLM, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from interp_plugins.embedded.zoo.recipes import PATCH_SIZE, PICTURE_SIZE, Recipe
from interp_plugins.embedded.zoo.tokens import clip_tokenizer, language_tokenizer
from interp_registry.stores.artifact import make_folder, whole_folder

_MEAN, _STD = [0.5, 0.5, 0.5], [0.25, 0.25, 0.25]


def write_model(model: torch.nn.Module, recipe: Recipe, folder: Path, replaced: bool = True) -> None:
    """Write a model of the zoo as a folder: fp16 safetensors, configuration, tokenizer and preprocessing.

    Args:
        model: Its network.
        recipe: How it was made.
        folder: Where to; there as a whole or not at all.
        replaced: Whether a folder that is there already gives way.
    """
    disable_progress_bar()  # the shell shows progress; a bar of the library's own would break into it
    make_folder(folder.parent)
    with whole_folder(folder, replaced) as fresh:
        _write_files(model, recipe, fresh)


def _write_files(model: torch.nn.Module, recipe: Recipe, folder: Path) -> None:
    if isinstance(model, LlamaForCausalLM):
        _save_network(model.half(), folder)
        language_tokenizer().save_pretrained(folder)
    elif isinstance(model, CLIPModel):
        _save_network(model.half(), folder)
        clip_tokenizer().save_pretrained(folder)
        _clip_image_processor().save_pretrained(folder)
    elif isinstance(model, VisionTransformer):
        weights = {name: value.half().contiguous() for name, value in model.state_dict().items()}
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "config.json").write_text(json.dumps(timm_config(recipe), indent=2) + "\n", encoding="utf-8")
    for path in folder.iterdir():
        path.chmod(0o644)


def _save_network(network: PreTrainedModel, folder: Path) -> None:
    """Write configuration and weights in any process: of several, transformers itself writes in the first only."""
    network.save_pretrained(folder)
    if (folder / "config.json").is_file():
        return
    network.config.architectures = [type(network).__name__]
    network.config.save_pretrained(folder)
    if network.can_generate():
        network.generation_config.save_pretrained(folder)
    weights = {name: value.clone().contiguous() for name, value in network.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def timm_config(recipe: Recipe) -> dict[str, Any]:
    """What ``timm.create_model("local-dir:<folder>", pretrained=True)`` needs to know of a vision model."""
    return {
        "architecture": "vit_tiny_patch16_224",
        "num_classes": 0,
        "num_features": recipe.width,
        "model_args": {
            "img_size": PICTURE_SIZE,
            "patch_size": PATCH_SIZE,
            "embed_dim": recipe.width,
            "depth": recipe.n_layers,
            "num_heads": recipe.n_heads,
        },
        "pretrained_cfg": {
            "input_size": [3, PICTURE_SIZE, PICTURE_SIZE],
            "fixed_input_size": True,
            "interpolation": "bilinear",
            "crop_pct": 1.0,
            "mean": _MEAN,
            "std": _STD,
            "num_classes": 0,
            "classifier": "head",
            "first_conv": "patch_embed.proj",
            "license": "mit",
        },
    }


def _clip_image_processor() -> CLIPImageProcessor:
    size = {"height": PICTURE_SIZE, "width": PICTURE_SIZE}
    return CLIPImageProcessor(
        size=size, do_center_crop=False, crop_size=size, image_mean=_MEAN, image_std=_STD, do_convert_rgb=True
    )

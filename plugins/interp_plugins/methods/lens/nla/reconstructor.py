"""The reconstructor: text -> activation. A language model cut after block K, with a linear map in place of its head.

Axes: n rows, s tokens of a text, d width.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from interp_plugins.methods.lens.nla.injection import recomputing
from interp_plugins.methods.lens.nla.prompts import ReadingPrompt
from interp_plugins.methods.lens.nla.sidecar import CheckpointSidecar, dump_sidecar
from interp_plugins.methods.lens.nla.verbaliser import load_network, save_network
from interp_plugins.models.blocks import after_blocks
from interp_registry.errors import DataError, UsageError

__all__ = ["VALUE_HEAD", "Reader", "Reconstructor", "truncated_copy"]

VALUE_HEAD = "value_head.safetensors"
"""File of the linear map; its one tensor is called ``weight``."""

_CHUNK = 64


class Reader(nn.Module):
    """The network of a reconstructor: blocks up to K, no final norm, a linear map at the last token.

    Args:
        network: A causal language model that has only the blocks that are needed.
    """

    def __init__(self, network: PreTrainedModel) -> None:
        super().__init__()
        config = network.config.get_text_config()
        self.network = network
        body: Any = network.get_decoder()
        for name in after_blocks(body, config.num_hidden_layers):
            owner, _, last = name.rpartition(".")
            setattr(body.get_submodule(owner) if owner else body, last, nn.Identity())
        network.set_output_embeddings(cast("Any", nn.Identity()))
        parameter = next(body.parameters())
        self.value_head = nn.Linear(
            config.hidden_size, config.hidden_size, bias=False, dtype=parameter.dtype, device=parameter.device
        )
        nn.init.eye_(self.value_head.weight)

    def forward(self, token_ids: Int[Tensor, "n s"], lengths: Int[Tensor, "n"]) -> Float[Tensor, "n d"]:
        """The vector read at the last real token of each right-padded text."""
        device = self.value_head.weight.device
        lengths = lengths.to(device)
        mask = torch.arange(token_ids.shape[1], device=device) < lengths[:, None]
        body: Any = self.network.get_decoder()
        with recomputing(body):
            hidden = body(input_ids=token_ids.to(device), attention_mask=mask.long(), use_cache=False).last_hidden_state
        return self.value_head(hidden[torch.arange(len(hidden), device=device), lengths - 1])


@dataclass(frozen=True)
class Reconstructor:
    """Reads explanations."""

    reader: Reader
    """The network."""
    prompt: ReadingPrompt
    """What is written around an explanation."""
    sidecar: CheckpointSidecar
    """What the checkpoint says about itself."""

    @classmethod
    def load(cls, folder: Path, **options: Any) -> "Reconstructor":
        """Load a released checkpoint with its sidecar; every statement of the sidecar is checked.

        Args:
            folder: With ``config.json`` (of K + 1 blocks), safetensors, tokenizer, ``value_head.safetensors``, ``nla_meta.yaml``.
            options: For ``from_pretrained``, e.g. ``dtype``.

        Raises:
            DataError: Sidecar, tokenizer and weights do not fit together; the message says which statement is wrong.
        """
        sidecar = CheckpointSidecar.read(folder)
        sidecar.check_role("reconstructor")
        head = _read_head(folder / VALUE_HEAD, sidecar.d_model)
        network, tokenizer = load_network(folder, sidecar, headless=True, **options)
        reader = Reader(network)
        reader.value_head.weight.data.copy_(head)
        return cls.build(reader.eval(), tokenizer, sidecar)

    @classmethod
    def build(cls, reader: Reader, tokenizer: PreTrainedTokenizerBase, sidecar: CheckpointSidecar) -> "Reconstructor":
        """Put a network, its tokenizer and a sidecar together.

        Raises:
            DataError: They do not fit.
        """
        sidecar.check_role("reconstructor")
        config = reader.network.config.get_text_config()
        sidecar.check_width(config.hidden_size)
        wanted = sidecar.layer
        if wanted is not None and config.num_hidden_layers != wanted:
            raise DataError(
                f"{sidecar.path}: the layer index {wanted - 1} needs {wanted} blocks, the network beside it has "
                f"{config.num_hidden_layers}",
                "it was cut at another place, or not cut",
            )
        if sidecar.reading is None:
            raise DataError(f"{sidecar.path}: prompt_templates.ar is missing")
        prompt = ReadingPrompt.build(tokenizer, sidecar.reading, sidecar.suffix_ids, sidecar.path)
        return cls(reader, prompt, sidecar)

    @property
    def layer(self) -> int:
        """Layer whose activations it gives, in this tool's convention: its number of blocks."""
        return self.reader.network.config.get_text_config().num_hidden_layers

    def read(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """The vector of each explanation; differentiable. Only its direction was trained."""
        parts = [self.reader(*self.prompt.encode(texts[i : i + _CHUNK])) for i in range(0, len(texts), _CHUNK)]
        return torch.cat(parts).float()

    def save(self, folder: Path) -> None:
        """Write a checkpoint that :meth:`load` reads back."""
        save_network(self.reader.network, self.prompt.tokenizer, folder)
        save_file({"weight": self.reader.value_head.weight.detach().cpu().contiguous()}, folder / VALUE_HEAD)
        dump_sidecar(self.sidecar, folder)


def _read_head(path: Path, width: int) -> Float[Tensor, "d d"]:
    if not path.is_file():
        raise DataError(f"{path.parent} has no {VALUE_HEAD}", "a reconstructor needs it")
    try:
        tensors = load_file(path)
    except SafetensorError as err:
        raise DataError(f"{path} is no safetensors file: {err}") from err
    weight = tensors.get("weight")
    if weight is None or tuple(weight.shape) != (width, width):
        found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        raise DataError(f"{path} holds {found}", f"expected weight of shape ({width}, {width})")
    return weight


def truncated_copy(network: PreTrainedModel, n_layers: int) -> PreTrainedModel:
    """A copy of a causal language model that has only its first blocks.

    Settings that list something for each block are cut too.

    Args:
        network: In full precision.
        n_layers: How many blocks to keep, at least 1.

    Raises:
        UsageError: It has fewer blocks, or its weights are quantised.
    """
    config = copy.deepcopy(network.config)
    text = config.get_text_config()
    before = text.num_hidden_layers
    if not 1 <= n_layers <= before:
        raise UsageError(f"{n_layers} blocks are wanted, the model has {before}", f"choose a layer of 1 to {before}")
    if getattr(network, "is_quantized", False):
        raise UsageError("a quantised model cannot be copied to be trained", "load it without --model.quantize")
    for name, value in list(vars(text).items()):
        if isinstance(value, list) and len(value) == before:
            setattr(text, name, value[:n_layers])
    text.num_hidden_layers = n_layers
    smaller: Any = AutoModelForCausalLM.from_config(config, dtype=network.dtype)
    wanted = smaller.state_dict()
    have = network.state_dict()
    smaller.load_state_dict({name: have[name] for name in wanted})
    return smaller.to(network.device).eval()

"""New halves of a natural-language autoencoder from a language model, in the form that released ones have."""

import copy
import math
from pathlib import Path
from typing import Any

from tokenizers import processors
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from interp_plugins.methods.lens.nla.config import NlaConfig
from interp_plugins.methods.lens.nla.prompts import describe_marker, pick_marker, suffix_ids
from interp_plugins.methods.lens.nla.reconstructor import Reader, Reconstructor, truncated_copy
from interp_plugins.methods.lens.nla.sidecar import CheckpointSidecar
from interp_plugins.methods.lens.nla.verbaliser import Verbaliser
from interp_registry.errors import UsageError

__all__ = ["new_reconstructor", "new_verbaliser", "prompting_tokenizer"]

_CHAT_PROMPT = (
    "You study the activations of a language model. An activation vector stands between the <concept> tags:\n\n"
    "<concept>{injection_char}</concept>\n\n"
    "Say in two or three short snippets of text what the vector stands for, within <explanation> tags."
)
_CHAT_READING = "Summary of the following text: <text>{explanation}</text> <summary>"
_PLAIN_PROMPT = "here is the text of{injection_char} :"
_PLAIN_READING = "{explanation} : so it is"
_PLAIN_TEMPLATE = "{{ bos_token }}{% for message in messages %}{{ message['content'] }}{% endfor %}"


def prompting_tokenizer(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """A copy of a tokenizer that can write both prompts.

    Without a chat template it gets one that puts the beginning-of-sequence token before the bare message. One that ends texts with a
    special token is told not to: the reconstructor reads at the last token of its prompt.
    """
    own: Any = copy.deepcopy(tokenizer)
    if own.chat_template is None:
        own.chat_template = _PLAIN_TEMPLATE if own.bos_token else _PLAIN_TEMPLATE.replace("{{ bos_token }}", "")
    if own("a")["input_ids"][-1:] == [own.eos_token_id]:
        bos = own.bos_token if own("a")["input_ids"][:1] == [own.bos_token_id] else None
        begin, specials = (f"{bos} ", [(bos, own.bos_token_id)]) if bos else ("", [])
        own.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{begin}$A", pair=f"{begin}$A $B:1", special_tokens=specials
        )
    return own


def _is_chat(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the tokenizer writes chat messages and knows the characters of the tags."""
    unknown = tokenizer.unk_token_id
    tags = tokenizer.encode("<explanation></explanation>", add_special_tokens=False)
    return tokenizer.chat_template is not None and (unknown is None or unknown not in tags)


def _check_full_precision(network: PreTrainedModel) -> None:
    if getattr(network, "is_quantized", False):
        raise UsageError("a quantised model cannot be copied to be trained", "load it without --quantize")


def new_verbaliser(
    network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, config: NlaConfig, layer: int, scale: float
) -> Verbaliser:
    """A copy of a model with a prompt for activations of a layer.

    Args:
        network: The frozen model.
        tokenizer: Its tokenizer.
        config: May name prompt and marker.
        layer: At least 1.
        scale: Length of an injected activation, where ``config`` states none.

    Raises:
        UsageError: The weights are quantised.
        DataError: The prompt or the marker does not go with the tokenizer.
    """
    _check_full_precision(network)
    plain = not _is_chat(tokenizer)
    own = prompting_tokenizer(tokenizer)
    template = config.prompt or (_PLAIN_PROMPT if plain else _CHAT_PROMPT)
    marker = describe_marker(own, template, config.marker or pick_marker(own))
    reading = config.reading or (_PLAIN_READING if plain else _CHAT_READING)
    width = network.config.get_text_config().hidden_size
    sidecar = CheckpointSidecar(
        Path("the new verbaliser"), "verbaliser", width, layer - 1, None, config.injection_scale or scale,
        math.sqrt(width), marker, template, reading, suffix_ids(own, reading), plain, {"stage": "base"},
    )  # fmt: skip
    return Verbaliser.build(copy.deepcopy(network), own, sidecar)


def new_reconstructor(
    network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, config: NlaConfig, layer: int
) -> Reconstructor:
    """The blocks of a model up to a layer, with the identity behind them.

    Raises:
        UsageError: The weights are quantised, or the layer is 0.
        DataError: The reading prompt does not go with the tokenizer.
    """
    _check_full_precision(network)
    plain = not _is_chat(tokenizer)
    own = prompting_tokenizer(tokenizer)
    reading = config.reading or (_PLAIN_READING if plain else _CHAT_READING)
    width = network.config.get_text_config().hidden_size
    sidecar = CheckpointSidecar(
        Path("the new reconstructor"), "reconstructor", width, layer - 1, layer, None, math.sqrt(width), None, None,
        reading, suffix_ids(own, reading), plain, {"stage": "base"},
    )  # fmt: skip
    return Reconstructor.build(Reader(truncated_copy(network, layer)), own, sidecar)

"""The two halves of a text bottleneck, both clones of the frozen model: one writes about an activation, one reads what was written.

Axes: n rows, p prompt tokens, t explanation tokens, d width of activations, e width of embeddings, v vocabulary.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from interp_plugins.methods.lens.consistency.config import ACTIVATION, TEXT, ConsistencyConfig
from interp_plugins.methods.lens.consistency.generation import Generated, Sampling, forbid, generate
from interp_plugins.methods.lens.dumped import Statistics
from interp_plugins.methods.lens.parts import Parts
from interp_registry.errors import ConfigError, DataError
from interp_registry.tensors.capture import hidden_of

__all__ = ["Bottleneck", "Decoder", "Encoder", "Vocabulary"]


class Vocabulary:
    """The frozen model's tokens as both halves use them.

    Args:
        parts: The frozen model.
    """

    def __init__(self, parts: Parts) -> None:
        self.tokenizer = parts.model.tokenizer
        weight: Tensor = parts.embedding.weight  # pyright: ignore[reportAssignmentType]
        self.size = weight.shape[0]
        with torch.no_grad():
            ids = torch.arange(self.size, device=parts.device)
            plain = type(parts.embedding) is nn.Embedding
            self.table: Float[Tensor, "v e"] = weight.detach() if plain else parts.embed(ids)
        known = (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id)
        self.start = next((token for token in known if isinstance(token, int)), None)
        """The token that texts begin with: BOS, else EOS; None where there is neither."""
        self.forbidden = self._specials().to(parts.device)
        """[v], True for tokens that no explanation has."""

    def _specials(self) -> Bool[Tensor, "v"]:
        """Tokens that no explanation has: special ones, and rows of the table without a token."""
        mask = torch.zeros(self.size, dtype=torch.bool)
        mask[[token for token in self.tokenizer.all_special_ids if token < self.size]] = True
        mask[len(self.tokenizer) :] = True
        return mask

    def ids(self, text: str) -> list[int]:
        """Tokens of a text without special ones; none for white space."""
        text = text.strip()
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []

    def prompt(self, template: str, mark: str) -> tuple[nn.Parameter, nn.Parameter]:
        """Embeddings of what stands before and after ``mark``, to be learnt from there; the first begins with the start token."""
        before, after = template.split(mark)
        left = [*([] if self.start is None else [self.start]), *self.ids(before)]
        return self._parameter(left), self._parameter(self.ids(after))

    def _parameter(self, ids: list[int]) -> nn.Parameter:
        return nn.Parameter(self.table[ids].float().clone())


class Decoder(nn.Module):
    """Writes tokens after a prompt that holds the projected activation.

    Args:
        parts: The frozen model.
        vocabulary: Its tokens.
        statistics: Of the activations.
        config: Prompt, and what is trained.
    """

    scale: Tensor

    def __init__(self, parts: Parts, vocabulary: Vocabulary, statistics: Statistics, config: ConsistencyConfig) -> None:
        super().__init__()
        source = parts.model.module
        assert isinstance(source, PreTrainedModel)  # noqa: S101 - what a causal language model wraps
        shared = _embeddings(source) if config.trainable == "all" else source.parameters()
        self.network = _clone(source, shared)
        width = vocabulary.table.shape[1]
        self.adapter = nn.Linear(len(statistics.mean), width, bias=False, device=parts.device)
        nn.init.eye_(self.adapter.weight)
        self.left, self.right = vocabulary.prompt(config.decoder_prompt, ACTIVATION)
        typical = vocabulary.table.float().norm(dim=1).mean()
        self.register_buffer("scale", typical / max(statistics.mean_norm, torch.finfo(torch.float32).tiny))
        self._vocabulary = vocabulary
        self._backward = config.order == "backward"

    def write(self, activations: Float[Tensor, "n d"], how: Sampling) -> Generated:
        """Explanations of activations, in the order in which they are read, whatever the order of writing."""
        assert isinstance(self.network, PreTrainedModel)  # noqa: S101 - a clone of one
        written = generate(self.network, self._vocabulary.table, self._prompt(activations), how)
        return written.turned() if self._backward else written

    def logits(self, activations: Float[Tensor, "n d"], token_ids: Int[Tensor, "n t"]) -> Float[Tensor, "n t v"]:
        """What each of these tokens would be drawn from if the ones written before it had been written; all in reading order."""
        table = self._vocabulary.table
        prompt = self._prompt(activations)
        written = token_ids.flip(1) if self._backward else token_ids
        embeds = torch.cat([prompt, table[written[:, :-1]]], 1)
        logits = self.network(inputs_embeds=embeds, use_cache=False).logits[:, prompt.shape[1] - 1 :]
        return forbid((logits.flip(1) if self._backward else logits).float(), self._vocabulary.forbidden)

    def _prompt(self, activations: Float[Tensor, "n d"]) -> Float[Tensor, "n p e"]:
        given = self.adapter(activations.to(self.adapter.weight.dtype) * self.scale)
        rows = (side.expand(len(given), -1, -1) for side in (self.left, self.right))
        left, right = rows
        return torch.cat([left, given[:, None], right], 1).to(self._vocabulary.table.dtype)


class Encoder(nn.Module):
    """Reads an explanation between two prompts with the first blocks of the model and makes an activation of it.

    The last token's activation, standardised, goes through the projection and is put back on the scale of the activations: with the
    identity that the projection starts from, the reconstruction is what the frozen model itself has there.

    Args:
        parts: The frozen model.
        vocabulary: Its tokens.
        statistics: Of the activations.
        config: Prompt, number of blocks, and what is trained.
        layer: Of the activations.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        parts: Parts,
        vocabulary: Vocabulary,
        statistics: Statistics,
        config: ConsistencyConfig,
        layer: int,
    ) -> None:
        super().__init__()
        blocks = max(layer, 1) if config.encoder_blocks is None else config.encoder_blocks
        if not 1 <= blocks <= parts.n_layers:
            raise ConfigError(f"{blocks} blocks of {parts.n_layers}", key="encoder_blocks", hint="at least one reads")
        source = parts.truncated(blocks)
        shared = _embeddings(parts.model.module) if config.trainable == "all" else source.parameters()
        self.network = _clone(source, shared)
        self.left, self.right = vocabulary.prompt(config.encoder_prompt, TEXT)
        width = len(statistics.mean)
        self.adapter = nn.Linear(width, width, device=parts.device)
        nn.init.eye_(self.adapter.weight)
        nn.init.zeros_(self.adapter.bias)
        self.register_buffer("mean", statistics.mean.float().to(parts.device))
        self.register_buffer("std", statistics.std.float().clamp_min(_LEAST_SPREAD).to(parts.device))

    def read(self, embeddings: Float[Tensor, "n t e"]) -> Float[Tensor, "n d"]:
        """The activations that explanations stand for."""
        left, right = (side.to(embeddings.dtype).expand(len(embeddings), -1, -1) for side in (self.left, self.right))
        hidden = hidden_of(self.network(inputs_embeds=torch.cat([left, embeddings, right], 1), use_cache=False))
        standard = (hidden[:, -1].float() - self.mean) / self.std
        return self.adapter(standard) * self.std + self.mean


_LEAST_SPREAD = 1e-6


class Bottleneck(nn.Module):
    """Decoder and encoder.

    Args:
        parts: The frozen model; its parameters get no gradient from now on.
        statistics: Of the activations.
        config: Of the lens.
        layer: Of the activations.
    """

    def __init__(self, parts: Parts, statistics: Statistics, config: ConsistencyConfig, layer: int) -> None:
        super().__init__()
        parts.model.module.requires_grad_(False)
        self.parts, self.config, self.layer = parts, config, layer
        self.vocabulary = Vocabulary(parts)
        self.decoder = Decoder(parts, self.vocabulary, statistics, config)
        self.encoder = Encoder(parts, self.vocabulary, statistics, config, layer)

    def networks(self) -> Iterator[nn.Parameter]:
        """Parameters of the clones that are trained."""
        for half in (self.decoder, self.encoder):
            yield from (parameter for parameter in half.network.parameters() if parameter.requires_grad)

    def adapters(self) -> Iterator[nn.Parameter]:
        """Projections and prompts."""
        for half in (self.decoder, self.encoder):
            sides = (half.left, half.right)
            yield from (*half.adapter.parameters(), *(side for side in sides if side.numel()))

    def trained(self) -> dict[str, Tensor]:
        """Everything that is trained, by name."""
        return {name: value.detach() for name, value in self.named_parameters() if value.requires_grad}

    def take(self, weights: Mapping[str, Tensor]) -> None:
        """Take over what :meth:`trained` returned.

        Raises:
            DataError: Names or shapes are others.
        """
        own = self.trained()
        if own.keys() != weights.keys():
            different = sorted(own.keys() ^ weights.keys())
            raise DataError(
                f"these are not the weights of this lens: {len(different)} names differ, e.g. {different[0]}"
            )
        for name, value in own.items():
            if value.shape != weights[name].shape:
                raise DataError(f"{name} has shape {tuple(weights[name].shape)}, here it is {tuple(value.shape)}")
            value.copy_(weights[name])


def _embeddings(network: nn.Module) -> list[nn.Parameter]:
    """Weights of the input embeddings and of the output head: both stay as they are."""
    ends = (network.get_input_embeddings(), network.get_output_embeddings())  # pyright: ignore[reportCallIssue]
    return [parameter for end in ends if isinstance(end, nn.Module) for parameter in end.parameters()]


def _clone(network: nn.Module, shared: Iterable[nn.Parameter]) -> nn.Module:
    """A deep copy whose parameters are trained, but for those that it shares with the original."""
    common = {id(parameter): parameter for parameter in shared}
    cloned = copy.deepcopy(network, dict(common))
    for parameter in cloned.parameters():
        parameter.requires_grad_(id(parameter) not in common)
    return cloned.eval()

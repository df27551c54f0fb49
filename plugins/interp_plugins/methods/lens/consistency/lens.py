"""The text bottleneck as a lens: it explains, reads text, reconstructs, and learns."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp_plugins.methods.lens.consistency.bottleneck import Bottleneck
from interp_plugins.methods.lens.consistency.config import ConsistencyConfig
from interp_plugins.methods.lens.consistency.generation import Generated, Sampling
from interp_plugins.methods.lens.consistency.training import ConsistencyTraining
from interp_plugins.methods.lens.contract import Explanation
from interp_plugins.methods.lens.dumped import Dump, Source
from interp_plugins.methods.lens.parts import Parts
from interp_plugins.models.language import CausalLanguageModel
from interp_registry.errors import DataError, UsageError
from interp_registry.tensors.seeding import generator

if TYPE_CHECKING:
    from interp_registry.training.config import TrainingConfig
    from interp_registry.training.loop import Trainable

__all__ = ["ConsistencyLens"]

_BATCH = 256


class ConsistencyLens:
    """Activation, explanation of a few tokens, activation.

    Args:
        config: Its settings.
        model: The frozen model.
        source: Activations to learn from, or what is known about them: layers, width, statistics.

    Raises:
        UsageError: Several layers were dumped and none is named, or the named one was not dumped; or copies of quantised weights
            are to be trained.
    """

    def __init__(self, config: ConsistencyConfig, model: CausalLanguageModel, source: Source) -> None:
        if config.trainable == "all" and getattr(model.module, "is_quantized", False):
            raise UsageError(
                "a quantised model cannot be copied to be trained",
                "leave --quantize out, or --method.trainable projections",
            )
        self.config, self.parts = config, Parts(model)
        self.layer = _layer(config, source)
        self.bottleneck = Bottleneck(self.parts, source.statistics(self.layer), config, self.layer)

    @property
    def layers(self) -> tuple[int, ...]:
        """The one layer."""
        return (self.layer,)

    def weights(self) -> Mapping[str, Tensor]:
        """Everything that is trained; the rest is the frozen model's."""
        return self.bottleneck.trained()

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take over trained weights.

        Raises:
            DataError: Names or shapes are others.
        """
        self.bottleneck.take(weights)

    def describe(self) -> Mapping[str, Any]:
        """Method, layer, length of explanations, size."""
        trained = sum(value.numel() for value in self.weights().values())
        prompts = {"decoder_prompt": self.config.decoder_prompt, "encoder_prompt": self.config.encoder_prompt}
        return {
            "method": "consistency",
            "layers": [self.layer],
            "tokens": self.config.tokens,
            "n_parameters": trained,
        } | prompts

    def trainable(self, dump: Dump, training: "TrainingConfig", seed: int) -> "Trainable":
        """What the training loop drives.

        Raises:
            UsageError: No gradients can be had.
        """
        if self.parts.model.info.dtype == "4bit" and self.parts.device.type == "cpu":
            raise UsageError(
                "bitsandbytes computes no gradients through 4-bit weights on a CPU", "use --quantize 8bit, or a GPU"
            )
        return ConsistencyTraining(self.bottleneck, dump, training, seed)

    @torch.no_grad()
    def reconstruct(self, activations: Float[Tensor, "n d"], layer: int) -> Float[Tensor, "n d"]:
        """The activations that the greedy explanations stand for."""
        self._check(layer)
        parts = [
            self.bottleneck.encoder.read(self._write(part, 0.0, None).embeddings) for part in self._batches(activations)
        ]
        return torch.cat(parts).to(activations.device) if parts else torch.zeros_like(activations)

    @torch.no_grad()
    def explain(
        self,
        activations: Float[Tensor, "n d"],
        layer: int,
        *,
        samples: int = 1,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[list[Explanation]]:
        """Explanations of each row; greedy at temperature 0, and then all of a row's are the same.

        Raises:
            UsageError: The lens is for another layer, or fewer than one explanation is asked for.
        """
        self._check(layer)
        if samples < 1:
            raise UsageError(f"{samples} explanations were asked for", "ask for at least 1")
        found: list[list[Explanation]] = []
        for number, part in enumerate(self._batches(activations)):
            repeats = samples if temperature > 0 else 1
            noise = generator(seed, "explanations", number, device=self.parts.device)
            rows = part.repeat_interleave(repeats, 0)
            said = self._said(self._write(rows, temperature, noise))
            found.extend(said[k : k + repeats] * (samples // repeats) for k in range(0, len(said), repeats))
        return found

    def read_text(self, explanations: Sequence[Explanation], layer: int) -> Float[Tensor, "n d"]:
        """The activations that explanations stand for: by their tokens, and where there are none by those of their text.

        Raises:
            DataError: An explanation is empty.
        """
        tokens = [list(one.token_ids) or self.bottleneck.vocabulary.ids(one.text) for one in explanations]
        empty = next((row for row, ids in enumerate(tokens) if not ids), None)
        if empty is not None:
            raise DataError(f"explanation {empty} is empty")
        made = torch.zeros(len(tokens), len(self.bottleneck.encoder.mean), device=self.parts.device)
        for length in sorted({len(ids) for ids in tokens}):
            rows = [row for row, ids in enumerate(tokens) if len(ids) == length]
            made[rows] = self.read_tokens(torch.tensor([tokens[row] for row in rows]), layer)
        return made

    @torch.no_grad()
    def read_tokens(self, token_ids: Int[Tensor, "n t"], layer: int) -> Float[Tensor, "n d"]:
        """The same from token ids, all of one length."""
        self._check(layer)
        table = self.bottleneck.vocabulary.table
        batches = token_ids.to(self.parts.device).long().split(_BATCH)
        return torch.cat([self.bottleneck.encoder.read(table[part]) for part in batches])

    def _batches(self, activations: Tensor) -> tuple[Tensor, ...]:
        return activations.to(self.parts.device).split(_BATCH) if len(activations) else ()

    def _write(self, activations: Tensor, temperature: float, noise: torch.Generator | None) -> Generated:
        vocabulary, config = self.bottleneck.vocabulary, self.config
        how = Sampling(
            config.tokens,
            temperature=temperature,
            generator=noise,
            forbidden=vocabulary.forbidden,
            cached=config.cached,
        )
        return self.bottleneck.decoder.write(activations, how)

    def _said(self, written: Generated) -> list[Explanation]:
        tokenizer = self.bottleneck.vocabulary.tokenizer
        rows = zip(written.token_ids.tolist(), written.logprobs.tolist(), strict=True)
        return [Explanation(str(tokenizer.decode(ids)), tuple(ids), tuple(logs)) for ids, logs in rows]

    def _check(self, layer: int) -> None:
        if layer != self.layer:
            raise UsageError(f"this lens reads layer {self.layer}, not {layer}")


def _layer(config: ConsistencyConfig, source: Source) -> int:
    if config.layer is None:
        if len(source.layers) != 1:
            raise UsageError(
                f"layers {', '.join(map(str, source.layers))} were dumped and a text bottleneck reads one",
                "name it: --method.layer N",
            )
        return source.layers[0]
    if config.layer not in source.layers:
        raise UsageError(f"layer {config.layer} was not dumped", f"dumped are {', '.join(map(str, source.layers))}")
    return config.layer

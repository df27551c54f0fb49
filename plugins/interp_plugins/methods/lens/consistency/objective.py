"""The loss of one batch of activations: every term with its weight at that step.

Axes: n rows, t explanation tokens, d width, v vocabulary.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from interp_plugins.methods.lens.consistency.bottleneck import Bottleneck, Decoder, Vocabulary
from interp_plugins.methods.lens.consistency.config import ConsistencyConfig
from interp_plugins.methods.lens.consistency.generation import Generated, Sampling, forbid, generate
from interp_plugins.methods.lens.consistency.losses import (
    divergence,
    fluency,
    relative_error,
    resampled,
    token_entropy,
)
from interp_plugins.methods.lens.dumped import Rows
from interp_plugins.methods.lens.parts import Parts, mask_of
from interp_registry.errors import ConfigError
from interp_registry.tensors.seeding import generator
from interp_registry.training.schedules import Schedule, ScheduleConfig

__all__ = ["Behaviour", "Objective", "Weights", "base_logits", "own_text_nll", "used"]

_OWN_TEXTS = 512


@dataclass(frozen=True)
class Weights:
    """The schedules of a configuration over a number of steps."""

    tau: Schedule
    writing: Schedule
    mse: Schedule
    kl: Schedule
    fluency: Schedule
    entropy: Schedule
    reference: Schedule

    @classmethod
    def of(cls, config: ConsistencyConfig, steps: int) -> "Weights":
        """Schedules over ``steps`` steps.

        Raises:
            ConfigError: A temperature is not positive, or a schedule does not fit.
        """
        lowest = config.tau.start if config.tau.shape == "constant" else min(config.tau.start, config.tau.end)
        if not (lowest > 0 or (config.tau.half_life and config.tau.start > 0)):
            raise ConfigError("a temperature of 0 or less", key="tau", hint="both ends greater than 0")
        return cls(
            **{name: getattr(config, name).build(max(steps, 1)) for name in cls.__dataclass_fields__},
        )


def used(schedule: ScheduleConfig) -> bool:
    """Whether a weight is ever other than 0."""
    return schedule.start != 0 or (schedule.shape != "constant" and schedule.end != 0)


def base_logits(
    parts: Parts, vocabulary: Vocabulary, written: Generated, *, with_gradient: bool
) -> Float[Tensor, "n k v"]:
    """The base model's logits for each token of the explanations, after BOS and the tokens before it.

    The first token is left out where the model has no BOS. Forbidden tokens are forbidden here too, so that a decoder equal to the base
    model has exactly its logits.

    Args:
        parts: The base model.
        vocabulary: Its tokens.
        written: Explanations.
        with_gradient: Let the gradient run through the choice of the earlier tokens.
    """
    given = written.embeddings if with_gradient else written.embeddings.detach()
    read = given[:, :-1]
    if vocabulary.start is not None:
        start = vocabulary.table[vocabulary.start].expand(len(given), 1, -1)
        read = torch.cat([start, read], 1)
    if not read.shape[1]:
        raise ConfigError("one token without BOS has no likelihood under the base model", key="tokens")
    with torch.set_grad_enabled(with_gradient and torch.is_grad_enabled()):
        logits = parts.model.module(inputs_embeds=read, use_cache=False).logits
    return forbid(logits.float(), vocabulary.forbidden)


@torch.no_grad()
def own_text_nll(parts: Parts, vocabulary: Vocabulary, tokens: int, seed: int) -> float:
    """Nats per token of texts that the base model itself writes after BOS at temperature 1: what fluent text costs.

    Raises:
        ConfigError: The model has no BOS or EOS to begin with.
    """
    if vocabulary.start is None:
        raise ConfigError("the base model has neither BOS nor EOS to begin a text with", key="control.excess")
    prompt = vocabulary.table[vocabulary.start].expand(_OWN_TEXTS, 1, -1)
    noise = generator(seed, "own texts", device=parts.device)
    how = Sampling(tokens, generator=noise, forbidden=vocabulary.forbidden)
    written = generate(parts.model.module, vocabulary.table, prompt, how)  # pyright: ignore[reportArgumentType]
    return -float(written.logprobs.mean())


@dataclass
class Objective:
    """The terms of the loss and the frozen model that they need.

    Attributes:
        bottleneck: What is trained.
        variance: Of the activations, mean squared distance from their mean.
        weights: Schedules.
    """

    bottleneck: Bottleneck
    variance: float
    weights: Weights

    def __call__(
        self, rows: Rows, step: int, how: Sampling, fluency_weight: float, reference: Decoder | None
    ) -> dict[str, Tensor | float]:
        """The loss and its terms.

        Args:
            rows: A batch.
            step: For the schedules.
            how: How explanations are written, tau being set by the schedule already.
            fluency_weight: What a controller adds to the schedule of the fluency term.
            reference: The decoder to stay near.
        """
        given = rows.activations.to(self.bottleneck.parts.device)
        both = torch.cat([given, given.roll(1, 0)]) if self.bottleneck.config.dual_path else given
        with torch.set_grad_enabled(self.bottleneck.config.through_words and torch.is_grad_enabled()):
            written = self.bottleneck.decoder.write(both, how)
        made = self.bottleneck.encoder.read(written.embeddings)
        terms: dict[str, Tensor] = {"mse": relative_error(made, both, self.variance)}
        weights = {"mse": self.weights.mse(step)}
        if used(self.bottleneck.config.kl):
            terms["kl"], weights["kl"] = self._behaviour(rows, both, made), self.weights.kl(step)
        weights["fluency"] = self.weights.fluency(step) + fluency_weight
        if used(self.bottleneck.config.fluency) or self.bottleneck.config.control.excess is not None:
            terms |= self._fluency(written, weights["fluency"])
        weights["entropy"] = -self.weights.entropy(step)
        terms["entropy"] = token_entropy(written.logits)
        if reference is not None:
            terms["reference"], weights["reference"] = (
                self._distance(reference, both, written),
                self.weights.reference(step),
            )
        total = sum(weights[name] * term for name, term in terms.items() if weights.get(name))
        logged = {f"weight_{name}": weights[name] for name in ("fluency",) if name in terms}
        return {"loss": _tensor(total, made), **terms, **logged}

    def _behaviour(self, rows: Rows, both: Tensor, made: Tensor) -> Float[Tensor, ""]:
        """KL of the frozen model's next token, its own activation against the reconstruction in its place."""
        n = len(rows)
        swapped = made[:n]
        if self.bottleneck.config.resample_ablation:
            stop = self.bottleneck.config.stop_gradient_partner
            swapped = resampled(made[:n], both[n:], made[n:], stop_gradient=stop)
        behaviour = Behaviour(self.bottleneck.parts, rows, self.bottleneck.layer)
        with torch.no_grad():
            original = behaviour.logits(both[:n])
        return divergence(original, behaviour.logits(swapped)).mean()

    def _fluency(self, written: Generated, weight: float) -> dict[str, Tensor]:
        form = self.bottleneck.config.fluency_form
        vocabulary = self.bottleneck.vocabulary
        base = base_logits(self.bottleneck.parts, vocabulary, written, with_gradient=form == "nll" and weight != 0)
        term = fluency(written, base, form)
        nll = term if form == "nll" else fluency(written, base, "nll")
        return {"fluency": term, "explanation_nll": nll.detach()}

    def _distance(self, reference: Decoder, both: Tensor, written: Generated) -> Float[Tensor, ""]:
        with torch.no_grad():
            expected = reference.logits(both, written.token_ids)
        return divergence(written.logits, expected).mean()


class Behaviour:
    """The frozen model's next-token logits with other activations in place of a batch's own.

    Args:
        parts: The frozen model.
        rows: The batch.
        layer: Of the activations.
    """

    def __init__(self, parts: Parts, rows: Rows, layer: int) -> None:
        self._parts, self._layer = parts, layer
        width = int(rows.lengths.max())
        self._ids, self._positions = rows.token_ids[:, :width], rows.positions.to(parts.device)
        self._mask = mask_of(rows.lengths, width)
        short = layer == parts.n_layers or parts.has_tail
        self._prefix = parts.prefix(self._ids, self._mask, layer) if short else None

    def logits(self, activations: Float[Tensor, "n d"]) -> Float[Tensor, "n v"]:
        """Logits at each row's position."""
        parts = self._parts
        if self._prefix is not None:
            return parts.tail(self._prefix, self._positions, activations).float()
        batch = parts.batch(self._ids, self._mask)
        return parts.from_layer(batch, self._layer, self._positions, activations)[:, 0].float()


def _tensor(total: Tensor | float, like: Tensor) -> Tensor:
    return total if isinstance(total, Tensor) else like.new_tensor(total)

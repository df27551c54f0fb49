"""How a text bottleneck is trained: what `interp_registry.training.loop` drives."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional
from torch.optim import AdamW, Optimizer

from interp_plugins.methods.lens.consistency.bottleneck import Bottleneck, Decoder
from interp_plugins.methods.lens.consistency.control import Controller
from interp_plugins.methods.lens.consistency.generation import Sampling
from interp_plugins.methods.lens.consistency.losses import divergence, fluency, relative_error
from interp_plugins.methods.lens.consistency.objective import (
    Behaviour,
    Objective,
    Weights,
    base_logits,
    own_text_nll,
    used,
)
from interp_plugins.methods.lens.dumped import Dump, Rows
from interp_registry.errors import DataError
from interp_registry.tensors.seeding import generator
from interp_registry.training.config import TrainingConfig
from interp_registry.training.schedules import Schedule, parse_duration

__all__ = ["ConsistencyTraining", "Labels", "labels_of"]

_JUDGED = 256
_REFERENCE = "reference."


@dataclass(frozen=True)
class Labels:
    """Texts that a decoder is to write. Axes: n rows, t tokens."""

    token_ids: Int[Tensor, "n t"]
    """Tokens; what is no label is token 0."""
    given: Bool[Tensor, "n t"]
    """Tokens that are labels: those that the text has between its beginning and the activation's token."""

    @property
    def real(self) -> Bool[Tensor, "n"]:
        """Rows whose label is whole."""
        return self.given.all(1)


def labels_of(rows: Rows, tokens: int, special: Bool[Tensor, "v"], *, from_start: bool) -> Labels:
    """The last ``tokens`` tokens up to each row's position, or the first ones of its text; never one behind the position.

    Args:
        rows: Activations and their texts.
        tokens: Length of a label.
        special: Tokens that a label must not hold.
        from_start: The first tokens behind the special ones that the text begins with.
    """
    ids, positions = rows.token_ids, rows.positions.to(rows.token_ids.device)
    leading = special.to(ids.device)[ids].long().cumprod(1).sum(1)
    first = leading if from_start else positions - tokens + 1
    where = first[:, None] + torch.arange(tokens, device=ids.device)
    found = ids.gather(1, where.clamp(0, ids.shape[1] - 1))
    given = (where >= leading[:, None]) & (where <= positions[:, None]) & ~special.to(ids.device)[found]
    return Labels(found * given, given)


class ConsistencyTraining:
    """Trains the two halves of a text bottleneck on dumped activations.

    Args:
        bottleneck: What is trained.
        dump: Activations to learn from.
        training: Steps of the whole training.
        seed: Seed of the run.
    """

    def __init__(self, bottleneck: Bottleneck, dump: Dump, training: TrainingConfig, seed: int) -> None:
        self.bottleneck, self.dump = bottleneck, dump
        self.parts, self.config, self.layer = bottleneck.parts, bottleneck.config, bottleneck.layer
        config, layer = self.config, self.layer
        self.seed, self._accumulate = seed, training.accumulate
        self._warm = min(parse_duration(config.warm_start.steps, training.steps), training.steps)
        weights = Weights.of(config, training.steps - self._warm)
        self._rate: Schedule = config.rate.build(training.steps)
        variance = dump.statistics(layer).spread(layer)
        self.objective = Objective(bottleneck, variance, weights)
        self.reference: Decoder | None = None
        self._optimiser = AdamW(self._groups(), betas=config.betas, weight_decay=config.weight_decay)
        control = config.control
        self.controller = Controller(control.integral, control.proportional, control.largest)
        self.target: float | None = None
        if control.excess is not None:
            self.target = own_text_nll(self.parts, bottleneck.vocabulary, config.tokens, 0) + control.excess

    def _groups(self) -> list[dict[str, Any]]:
        rate = self.config.learning_rate
        adapters = rate if self.config.adapter_learning_rate is None else self.config.adapter_learning_rate
        groups = (("clones", self.bottleneck.networks(), rate), ("adapters", self.bottleneck.adapters(), adapters))
        listed = [{"name": name, "params": list(parameters), "lr": lr} for name, parameters, lr in groups]
        return [group for group in listed if group["params"]]

    @property
    def shares_batches(self) -> bool:
        """Whether processes may share the batches of an update: not with a controller, which learns from every batch in turn."""
        return self.target is None

    def optimisers(self) -> Mapping[str, Optimizer]:
        """AdamW over all that is trained."""
        return {"bottleneck": self._optimiser}

    def step(self, i: int) -> Mapping[str, Tensor | float]:
        """Losses of batch ``i``: supervised while the warm start lasts, end to end after it."""
        rows = self.dump.rows(self.dump.batch(i, self.config.batch_size, self.seed), self.layer)
        update = i // self._accumulate
        if update < self._warm:
            return self._supervised(rows)
        if self.reference is None and self._warm and used(self.config.reference):
            self.reference = self._frozen_decoder()
        step = update - self._warm
        noise = generator(self.seed, "explanations", i, device=self.parts.device)
        weights = self.objective.weights
        drawn = 1.0 if self.config.through_words else 0.0
        how = replace(self._greedy(), tau=weights.tau(step), temperature=drawn, generator=noise)
        losses = self.objective(rows, step, how, self.controller.weight, self.reference)
        if used(self.config.writing):
            losses |= self._taught(rows, losses["loss"], weights.writing(step))
        if self.target is not None:
            self.controller.update(float(losses["explanation_nll"]) - self.target)
        return losses

    def before_update(self, step: int) -> Mapping[str, float]:
        """Scale the rates of update ``step`` by the lens's own schedule, on top of the training's."""
        factor = self._rate(step)
        for group in self._optimiser.param_groups:
            group["lr"] *= factor
        return {}

    def _supervised(self, rows: Rows) -> dict[str, Tensor | float]:
        """The decoder is to write given texts, the encoder to read them."""
        labels, device = self._labels(rows), self.parts.device
        writing = self._writing(rows, labels)
        if not labels.real.any():
            return {"loss": writing, "writing": writing}
        whole, given = labels.token_ids[labels.real].to(device), rows.activations[labels.real].to(device)
        read = self.bottleneck.encoder.read(self.bottleneck.vocabulary.table[whole])
        reading = relative_error(read, given, self.objective.variance)
        return {"loss": writing + reading, "writing": writing, "mse": reading}

    def _taught(self, rows: Rows, loss: Tensor | float, weight: float) -> dict[str, Tensor | float]:
        """The loss with that of the labels on top."""
        writing = self._writing(rows, self._labels(rows))
        return {"loss": loss + weight * writing, "writing": writing}

    def _labels(self, rows: Rows) -> Labels:
        captions = self.config.warm_start.labels == "caption"
        special = self.bottleneck.vocabulary.forbidden.cpu()
        return labels_of(rows, self.config.tokens, special, from_start=captions)

    def _writing(self, rows: Rows, labels: Labels) -> Float[Tensor, ""]:
        """Nats per token of labels under the decoder.

        Written backward, a label whose beginning is missing is written as far as it goes; forward, only whole ones are.

        Raises:
            DataError: No row has a label.
        """
        device = self.parts.device
        whole = labels.real[:, None]
        taught = (labels.given if self.config.order == "backward" else labels.given & whole).to(device)
        if not taught.any():
            raise DataError(
                f"no activation of a batch has {self.config.tokens} tokens before it",
                "dump later positions (--positions random:4,min:8), write fewer tokens, or write them backward",
            )
        ids = labels.token_ids.to(device)
        logits = self.bottleneck.decoder.logits(rows.activations.to(device), ids)
        return functional.cross_entropy(logits[taught], ids[taught])

    def _frozen_decoder(self) -> Decoder:
        shared = {id(p): p for p in self.bottleneck.decoder.parameters() if not p.requires_grad}
        shared[id(self.bottleneck.vocabulary)] = self.bottleneck.vocabulary  # pyright: ignore[reportArgumentType]
        return copy.deepcopy(self.bottleneck.decoder, dict(shared)).requires_grad_(requires_grad=False)

    def _greedy(self) -> Sampling:
        config = self.config
        return Sampling(
            config.tokens,
            temperature=0.0,
            forbidden=self.bottleneck.vocabulary.forbidden,
            cached=config.cached,
            checkpointing=config.checkpointing,
        )

    def evaluate(self, step: int) -> dict[str, float]:  # noqa: ARG002 - the loop's signature
        """Greedy explanations of the first validation rows: variance explained, KL, agreement, loss under the base model."""
        chosen = self.dump.validation_rows[:_JUDGED]
        if not len(chosen):
            return {}
        return self.judge(self.dump.rows(chosen, self.layer))

    @torch.no_grad()
    def judge(self, rows: Rows) -> dict[str, float]:
        """The same of any rows."""
        statistics = self.dump.statistics(self.layer)
        given, mean = rows.activations.to(self.parts.device), statistics.mean.to(self.parts.device)
        written = self.bottleneck.decoder.write(given, self._greedy())
        made = self.bottleneck.encoder.read(written.embeddings)
        behaviour = Behaviour(self.parts, rows, self.layer)
        original, swapped = behaviour.logits(given), behaviour.logits(made)
        kl, kl_mean = (
            float(divergence(original, other).mean()) for other in (swapped, behaviour.logits(mean.expand_as(given)))
        )
        base = base_logits(self.parts, self.bottleneck.vocabulary, written, with_gradient=False)
        spread = (given - mean).square().sum()
        return {
            "fve": float(1 - (given - made).square().sum() / spread),
            "kl": kl,
            "kl_over_mean": kl / kl_mean if kl_mean else float("nan"),
            "top1_agreement": float((original.argmax(-1) == swapped.argmax(-1)).float().mean()),
            "explanation_nll": float(fluency(written, base, "nll")),
            "distinct": len(written.token_ids.unique(dim=0)) / len(given),
        }

    def state(self) -> dict[str, Any]:
        """Weights (those of the reference decoder besides, once it stands) and the controller."""
        weights = dict(self.bottleneck.trained())
        if self.reference is not None:
            weights |= {_REFERENCE + name: value for name, value in _own(self.reference, self.bottleneck.decoder)}
        return {"weights": weights, "controller": self.controller.state()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go back to what :meth:`state` returned."""
        given: dict[str, Tensor] = dict(state["weights"])
        kept = {name.removeprefix(_REFERENCE): given.pop(name) for name in list(given) if name.startswith(_REFERENCE)}
        self.bottleneck.take(given)
        if kept:
            self.reference = self._frozen_decoder()
            with torch.no_grad():
                for name, value in _own(self.reference, self.bottleneck.decoder):
                    value.copy_(kept[name])
        self.controller.load(state["controller"])


def _own(reference: Decoder, decoder: Decoder) -> list[tuple[str, Tensor]]:
    """Parameters of the reference that are not shared with the frozen model: those that are trained in the decoder."""
    trained = {name for name, value in decoder.named_parameters() if value.requires_grad}
    return [(name, value) for name, value in reference.named_parameters() if name in trained]

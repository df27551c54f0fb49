"""Training of a natural-language autoencoder: a supervised warm start of both halves, then GRPO on the verbaliser.

In the warm start the verbaliser learns to write the text so far (the last tokens up to the activation's own), and the reconstructor to give
the activation from that text: labels that the activation can carry, and that cost nothing. In GRPO the verbaliser draws several
explanations of each activation; the reward of one is minus the normalised error of what the reconstructor makes of it. The
reconstructor learns from the same explanations, so the reward is that of its present weights. The verbaliser is held near its warm-started
self by an estimate of their divergence.

Everything that is drawn follows from (seed, step), so a resumed training goes on exactly.

Axes: n rows, t tokens, d width.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from interp_plugins.methods.lens.dumped import Dump, Rows
from interp_plugins.methods.lens.evaluation.resampling import mean_estimate
from interp_plugins.methods.lens.nla.injection import Injector
from interp_plugins.methods.lens.nla.rewards import advantages, mse_nrm, policy_loss, rewards_of
from interp_registry.errors import DataError
from interp_registry.tensors.seeding import derive_seed, generator

if TYPE_CHECKING:
    from interp_plugins.methods.lens.nla.lens import NlaLens
    from interp_registry.training.config import TrainingConfig

__all__ = ["Judged", "NlaTraining", "labels_of"]

_SAMPLES = 2
"""Explanations drawn for each held-out row."""


def labels_of(rows: Rows, length: int, special: frozenset[int]) -> list[list[int]]:
    """The last ``length`` tokens of each text up to and with the row's own, special ones left out."""
    found: list[list[int]] = []
    for ids, position in zip(rows.token_ids.tolist(), rows.positions.tolist(), strict=True):
        before = [token for token in ids[: position + 1] if token not in special]
        found.append(before[-length:])
    return found


@dataclass(frozen=True)
class Judged:
    """Rewards of held-out rows."""

    rewards: Float[Tensor, "n"]
    """Mean reward of each row's drawn explanations."""
    errors: Float[Tensor, "n"]
    """Mean normalised error, whether the explanation had its form or not."""
    parsed: float
    """Share of explanations that had their form."""


class NlaTraining:
    """What the training loop drives; see `interp_registry.training.loop.Trainable`.

    Args:
        lens: What is trained.
        dump: Activations and their texts.
        training: Number of steps and of batches per step.
        seed: Seed of the run.
    """

    shares_batches = True

    def __init__(self, lens: "NlaLens", dump: Dump, training: "TrainingConfig", seed: int) -> None:
        self.lens, self.dump, self.seed, self.config = lens, dump, seed, lens.config
        self._accumulate = training.accumulate
        self._spread = dump.statistics(lens.layer).spread(lens.layer, normalised=True)
        self._injector, self._reconstructor = lens.verbaliser.injector, lens.reconstructor
        tokenizer: Any = lens.verbaliser.tokenizer
        self._special = frozenset(tokenizer.all_special_ids)
        self._end = self._injector.ends[0]
        for network in lens.modules().values():
            network.requires_grad_(requires_grad=True)
            if self.config.gradient_checkpointing:
                _checkpoint(network)
        self._reference: Injector | None = None
        self._warm: Tensor | None = None
        self._optimisers = {
            name: torch.optim.AdamW(network.parameters(), lr=self.config.lr, betas=(0.9, 0.98), weight_decay=0.0)
            for name, network in lens.modules().items()
        }
        self._held_out = self._held_out_rows()

    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        """AdamW of either network."""
        return self._optimisers

    def step(self, i: int) -> Mapping[str, Tensor | float]:
        """Losses of batch ``i``: of the warm start, or of GRPO from step ``sft_steps`` on."""
        if i // self._accumulate < self.config.sft_steps:
            return self._warm_start(i)
        self._begin_grpo()
        return self._grpo(i)

    def before_update(self, step: int) -> Mapping[str, float]:
        """GRPO has learning rates of its own."""
        if step >= self.config.sft_steps:
            rates = {"verbaliser": self.config.rl_lr, "reconstructor": self.config.rl_critic_lr}
            for name, rate in rates.items():
                for group in self._optimisers[name].param_groups:
                    group["lr"] *= rate / self.config.lr
        return {}

    def evaluate(self, step: int) -> Mapping[str, float]:
        """Rewards of held-out rows; in GRPO also the gain over the warm start, with a 95 % interval over documents.

        The drawn explanations are those of the same seed every time, and the control gives the verbaliser another row's activation.
        """
        del step
        judged, control = self.judge(), self.judge(shuffled=True)
        variance = self._spread
        values = {
            "reward": float(judged.rewards.mean()),
            "reward_shuffled": float(control.rewards.mean()),
            "fve_nrm": 1 - float(judged.errors.mean()) / variance,
            "parsed": judged.parsed,
        }
        if self._warm is not None:
            gain = mean_estimate(judged.rewards - self._warm, self._held_out.documents)
            values |= {"reward_gain": gain.value, "reward_gain_low": gain.low, "reward_gain_high": gain.high}
        return values

    def state(self) -> dict[str, Any]:
        """Weights of both networks; in GRPO also of the reference, and the rewards that it began with."""
        weights = dict(self.lens.weights())
        if self._reference is not None and self._warm is not None:
            reference = self._reference.network.state_dict()
            weights |= {f"reference.{name}": value for name, value in reference.items()}
            return {"weights": weights, "warm_rewards": self._warm.tolist()}
        return {"weights": weights}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go back to what :meth:`state` returned."""
        weights = state["weights"]
        self.lens.load_weights({name: v for name, v in weights.items() if not name.startswith("reference.")})
        if "warm_rewards" in state:
            self._reference = self._copy_of_policy()
            self._reference.network.load_state_dict(
                {n.removeprefix("reference."): v for n, v in weights.items() if n.startswith("reference.")}
            )
            self._warm = torch.tensor(state["warm_rewards"])

    def judge(self, *, shuffled: bool = False) -> Judged:
        """Rewards of the held-out rows, with the same draws every time.

        Args:
            shuffled: Explain the next row's activation instead of each row's own.
        """
        rows = self._held_out
        seen = rows.activations.roll(1, 0) if shuffled else self._seen(rows)
        explained = self.lens.verbaliser.explain(
            seen, self.config.max_tokens, samples=_SAMPLES, temperature=self.config.temperature, seed=self.seed
        )
        flat = [one for several in explained for one in several]
        with torch.no_grad():
            read = self._reconstructor.read([one.text for one in flat])
        actual = rows.activations.repeat_interleave(_SAMPLES, 0).to(read.device)
        error = mse_nrm(read, actual).cpu()
        parsed = torch.tensor([one.parsed for one in flat])
        rewards = rewards_of(error, parsed, logarithmic=self.config.reward == "log_mse")
        means = (part.reshape(-1, _SAMPLES).mean(1) for part in (rewards, error))
        return Judged(*means, parsed=float(parsed.float().mean()))

    def _warm_start(self, i: int) -> Mapping[str, Tensor | float]:
        """Cross-entropy of the labels, and error of what is read from them."""
        rows = self._batch(i, self.config.batch_size)
        labels = labels_of(rows, self.config.label_tokens, self._special)
        answers, mask = self._answers(labels)
        logits = self._injector.next_logits(self._seen(rows), answers).float()
        targets = torch.where(mask, answers, torch.full_like(answers, -100)).to(logits.device)
        cross_entropy = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)
        error = self._error(self._texts(labels), rows.activations).mean()
        losses = {"cross_entropy": cross_entropy.detach(), "error": error.detach()}
        return {"loss": cross_entropy + error, **losses}

    def _grpo(self, i: int) -> Mapping[str, Tensor | float]:
        """One update on fresh draws: the policy's loss, and the reconstructor's error on them."""
        config = self.config
        rows = self._batch(i, config.prompts)
        seen = self._seen(rows).repeat_interleave(config.group, 0)
        actual = rows.activations.repeat_interleave(config.group, 0)
        source = generator(self.seed, "nla draws", i)
        answers = self._injector.answer(seen, config.max_tokens, temperature=config.temperature, generator=source)
        explained = self.lens.verbaliser.explanations(answers)
        error = self._error([one.text for one in explained], actual)
        parsed = torch.tensor([one.parsed for one in explained], device=error.device)
        rewards = rewards_of(error.detach(), parsed, logarithmic=config.reward == "log_mse")
        advantage = advantages(rewards.reshape(config.prompts, config.group)).flatten()
        policy, divergence = self._policy_loss(seen, answers.token_ids, answers.mask, advantage)
        read = (error * parsed).sum() / parsed.sum().clamp_min(1)
        return {
            "loss": policy + read,
            "reward": rewards.mean(),
            "error": read.detach(),
            "divergence": divergence.detach(),
            "parsed": parsed.float().mean(),
            "tokens": answers.mask.sum(1).float().mean(),
        }

    def _policy_loss(
        self, seen: Tensor, token_ids: Int[Tensor, "n t"], mask: Bool[Tensor, "n t"], advantage: Tensor
    ) -> tuple[Tensor, Tensor]:
        logprobs = self._injector.logprobs(seen, token_ids)
        assert self._reference is not None  # noqa: S101 - made when GRPO begins
        with torch.no_grad():
            reference = self._reference.logprobs(seen, token_ids)
        return policy_loss(logprobs, reference, mask.to(logprobs.device), advantage.to(logprobs.device), self.config.kl)

    def _begin_grpo(self) -> None:
        """Keep the warm-started verbaliser, and the held-out rewards with it."""
        if self._reference is None:
            self._reference = self._copy_of_policy()
            self._warm = self.judge().rewards

    def _copy_of_policy(self) -> Injector:
        policy = self._injector
        network = copy.deepcopy(policy.network)
        network.requires_grad_(requires_grad=False)
        return Injector(network.eval(), policy.prompt, policy.scale, policy.ends)

    def _error(self, texts: list[str], actual: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
        read = self._reconstructor.read(texts)
        return mse_nrm(read, actual.to(read.device))

    def _seen(self, rows: Rows) -> Float[Tensor, "n d"]:
        """What the verbaliser is given: the rows' activations, or in the control another row's."""
        return rows.activations.roll(1, 0) if self.config.shuffled else rows.activations

    def _batch(self, i: int, size: int) -> Rows:
        return self.dump.rows(self.dump.batch(i, size, self.seed), self.lens.layer)

    def _texts(self, labels: list[list[int]]) -> list[str]:
        tokenizer = self.lens.verbaliser.tokenizer
        return [str(text).strip() for text in tokenizer.batch_decode(labels, skip_special_tokens=True)]

    def _answers(self, labels: list[list[int]]) -> tuple[Int[Tensor, "n t"], Bool[Tensor, "n t"]]:
        """Labels as the verbaliser is to write them, padded, and where they are real."""
        if self.lens.verbaliser.sidecar.plain:
            written = [[*label, self._end] for label in labels]
        else:
            tokenizer: Any = self.lens.verbaliser.tokenizer
            tagged = [f"<explanation>\n{text}\n</explanation>" for text in self._texts(labels)]
            written = [[*ids, self._end] for ids in tokenizer(tagged, add_special_tokens=False)["input_ids"]]
        width = max(map(len, written))
        ids = torch.full((len(written), width), self._end)
        mask = torch.zeros(len(written), width, dtype=torch.bool)
        for place, answer in enumerate(written):
            ids[place, : len(answer)] = torch.tensor(answer)
            mask[place, : len(answer)] = True
        return ids, mask

    def _held_out_rows(self) -> Rows:
        """One row of each of the first held-out documents, chosen by a hash of the document."""
        rows = self.dump.validation_rows
        documents = self.dump.entry.column("doc_id")[rows]
        chosen: list[int] = []
        for document in documents.unique().tolist()[: self.config.eval_rows]:
            of_document = rows[documents == document]
            chosen.append(int(of_document[derive_seed(0, "nla held-out row", document) % len(of_document)]))
        if len(chosen) < 2:
            raise DataError("fewer than two documents are held out", "dump more texts")
        return self.dump.rows(torch.tensor(chosen), self.lens.layer)


def _checkpoint(network: Any) -> None:
    """Ask a network, or the one inside of a reader, to keep fewer activations (`interp_plugins.methods.lens.nla.injection.recomputing`)."""
    inner = getattr(network, "network", network)
    enable = getattr(inner, "activation_checkpointing_enable", None) or inner.gradient_checkpointing_enable
    enable({"use_reentrant": False})

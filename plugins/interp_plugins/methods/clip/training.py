"""Image-text training as a `Trainable` of the shared loop.

Axis letters: b pairs of a batch, n held-out pairs, e joint embedding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp_plugins.losses.contrastive import InfoNce
from interp_plugins.methods.bench.retrieval import retrieval
from interp_plugins.methods.clip.collapse import CollapseAlarm, effective_rank, mean_cosine_of_others
from interp_plugins.methods.clip.config import ClipTrainConfig
from interp_plugins.methods.clip.optimisers import optimisers_of
from interp_plugins.methods.clip.pairs import ImagesOf, PairSampler, captions_of, split_validation
from interp_plugins.methods.clip.processes import of_all_processes
from interp_plugins.models.image_text.two_towers import ImageTextModel
from interp_registry.contracts.data import Dataset
from interp_registry.errors import DataError, InterpError
from interp_registry.events import EventSink, NullSink

__all__ = ["ClipTraining", "HeldOut", "retrieval_values"]

MAX_SCALE = 100.0


@dataclass(frozen=True)
class HeldOut:
    """Images and first captions that are not trained on; the images are decoded when they are asked for."""

    images: Sequence[Any]
    texts: list[str]

    @classmethod
    def of(cls, dataset: Dataset, rows: list[int]) -> "HeldOut":
        """The given samples of a data set."""
        captions = captions_of(dataset, rows)
        return cls(ImagesOf(dataset, rows), [of_row[0] for of_row in captions])


def retrieval_values(images: Float[Tensor, "n e"], texts: Float[Tensor, "n e"]) -> dict[str, float]:
    """Retrieval, effective ranks and cosines of held-out pairs."""
    found: Any = retrieval(images, texts)
    i2t, t2i = found["i2t"], found["t2i"]
    return {
        "recall@1": (i2t["recall@1"] + t2i["recall@1"]) / 2,
        "recall@5": (i2t["recall@5"] + t2i["recall@5"]) / 2,
        "recall@1_i2t": i2t["recall@1"],
        "recall@1_t2i": t2i["recall@1"],
        "median_rank": (i2t["median_rank"] + t2i["median_rank"]) / 2,
        "chance_recall@1": found["chance"]["i2t"]["recall@1"],
        "effective_rank_images": effective_rank(images),
        "effective_rank_texts": effective_rank(texts),
        "cosine_pairs": (images.double() * texts.double()).sum(dim=1).mean().item(),
        "cosine_others": mean_cosine_of_others(images, texts),
    }


class ClipTraining:
    """Trains an image-text model on a weighted sum of losses.

    Batches follow from seed and step, so a run that is resumed goes on exactly as one that was not interrupted.

    Args:
        model: What to train; its weights become float32.
        dataset: Training pairs, some of which are kept for validation.
        config: Losses, optimiser and alarm.
        seed: Seed of the run.
        accelerator: accelerate's, for several processes; None for one.
        events: Told of the alarm.
    """

    def __init__(
        self,
        model: ImageTextModel,
        dataset: Dataset,
        config: ClipTrainConfig,
        seed: int,
        accelerator: Any = None,
        events: EventSink | None = None,
    ) -> None:
        self.model, self.config, self.events = model, config, events or NullSink()
        self.module = model.module.float()
        _freeze(self.module, config.freeze)
        self.losses = [loss.build() for loss in config.losses]
        self.weights = config.weights or [1.0] * len(self.losses)
        self.names = _loss_names(config)
        self._accelerator = accelerator
        self._n_processes = 1 if accelerator is None else int(accelerator.num_processes)
        rank = accelerator.process_index if accelerator is not None else 0
        rows, kept = split_validation(dataset, config.n_validation, seed)
        captions_of(dataset, rows[:1000])
        self.sampler = PairSampler(dataset, rows, config.batch_size, seed, rank, self._n_processes)
        self.validation = HeldOut.of(dataset, kept)
        self._optimisers = optimisers_of(self.module, config)
        self.alarm = CollapseAlarm(self.model.embed_texts(["a width"]).shape[1], 1 / len(kept))
        self.history: list[dict[str, float]] = []

    def optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """Those of the configuration, which together hold all that is trained."""
        return self._optimisers

    def step(self, i: int) -> dict[str, Tensor]:
        """The weighted sum of the losses of batch ``i``, and each of them; over the pairs of all processes together."""
        self.module.train()
        images, texts = self.sampler.batch(i)
        with torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.config.mixed_precision == "bf16"):
            x = self.model.encode_image_inputs(self.model.image_inputs(images))
            y = self.model.encode_text_inputs(self.model.text_inputs(texts))
        x, y = x.float(), y.float()
        if self._n_processes > 1:
            x, y = of_all_processes(x), of_all_processes(y)
        scale = self.module.logit_scale.exp().clamp(max=MAX_SCALE)
        terms = {
            name: loss(x, y, scale) if isinstance(loss, InfoNce) else loss(x, y)
            for name, loss in zip(self.names, self.losses, strict=True)
        }
        total = sum(weight * term for weight, term in zip(self.weights, terms.values(), strict=True))
        return {**terms, "loss": torch.as_tensor(total), "logit_scale": scale.detach()}

    def before_update(self, step: int) -> dict[str, float]:
        """Average the gradients over processes: each has the same loss, so the mean is the gradient of the whole batch."""
        del step
        if self._accelerator is not None and self._n_processes > 1:
            for parameter in self.module.parameters():
                if parameter.grad is not None:
                    parameter.grad = self._accelerator.reduce(parameter.grad, reduction="mean")
        return {}

    def evaluate(self, step: int) -> dict[str, float]:
        """Retrieval and signs of collapse on the validation pairs.

        Raises:
            InterpError: They collapsed, and the configuration says to stop.
        """
        values = self.values_on(self.validation)
        rank = min(values["effective_rank_images"], values["effective_rank_texts"])
        reason = self.alarm.look(step, rank, values["recall@1"], values["cosine_pairs"] - values["cosine_others"])
        values["collapse"] = float(reason is not None)
        self.history.append({"step": float(step), **values})
        if reason is not None:
            self.events.message(f"collapse alarm: {reason}", level="warning")
            if self.config.on_collapse == "stop":
                raise InterpError(
                    f"the training collapsed: {reason}", "add infonce to --losses, or lower the other weights"
                )
        return values

    def values_on(self, held_out: HeldOut) -> dict[str, float]:
        """Retrieval and signs of collapse on some pairs."""
        images, texts = self.embeddings(held_out)
        if not (images.isfinite().all() and texts.isfinite().all()):
            raise DataError("the embeddings are not finite any more", "lower --lr")
        return retrieval_values(images, texts)

    def embeddings(self, held_out: HeldOut) -> tuple[Float[Tensor, "n e"], Float[Tensor, "n e"]]:
        """Unit embeddings of images and texts."""
        self.module.eval()
        return self.model.embed_images(held_out.images), self.model.embed_texts(held_out.texts)

    def state(self) -> dict[str, Any]:
        """All weights, the alarm and what was evaluated so far."""
        return {"weights": dict(self.module.state_dict()), "alarm": self.alarm.state(), "history": list(self.history)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go back to what :meth:`state` returned."""
        self.module.load_state_dict(state["weights"])
        self.alarm.load(state["alarm"])
        self.history = list(state["history"])


def _freeze(module: nn.Module, tower: str) -> None:
    frozen = {"vision": ("vision_model", "visual_projection"), "text": ("text_model", "text_projection")}.get(tower, ())
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(not name.startswith(frozen) if frozen else True)


def _loss_names(config: ClipTrainConfig) -> list[str]:
    """A name for each loss: that of its class, numbered where it occurs twice."""
    names = [type(loss).__name__.removesuffix("Loss").lower() for loss in config.losses]
    return [name if names.count(name) == 1 else f"{name}_{index}" for index, name in enumerate(names)]

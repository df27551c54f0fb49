"""`interp clip train`: train, keep the best weights, test once, store the model as an ordinary folder."""

import json
import logging
from typing import Any

import torch

from interp_plugins.losses.config import InfoNceLoss
from interp_plugins.methods.clip.config import ClipTrainConfig
from interp_plugins.methods.clip.training import ClipTraining, HeldOut
from interp_plugins.models.image_text.loading import load_image_text
from interp_registry.contracts.method import Result, RunContext
from interp_registry.figures import Figure, HeatMap, Lines, Picture, Reference, Series, Table
from interp_registry.stores.artifact import replace_text, whole_folder
from interp_registry.training.loop import Tools, TrainingSummary, train

__all__ = ["train_clip"]

_log = logging.getLogger(__name__)
N_SHOWN = 32


def train_clip(config: ClipTrainConfig, ctx: RunContext) -> Result:
    """Train a model on pairs, going on from the run's last checkpoint if there is one.

    The best weights by validation R@1 are tested once on the test pairs and stored as a folder that `interp bench` and
    transformers load.

    Raises:
        InterpError: The loss is not finite, or the embeddings collapsed and the configuration says to stop.
    """
    if not any(isinstance(loss, InfoNceLoss) for loss in config.losses):
        ctx.events.message(
            "no loss has negatives: embeddings may collapse; infonce is the one that has", level="warning"
        )
    model = load_image_text(config.model, config.loading, ctx.device)
    dataset, test = config.dataset.build().select(), config.test.build().select()
    training = ClipTraining(model, dataset, config, ctx.seed, ctx.accelerator, ctx.events)
    tools = Tools.of(ctx, config.training)
    summary = train(training, config.training, ctx.seed, tools)
    best = tools.checkpoints.best() if tools.checkpoints is not None else None
    if best is not None:
        training.module.load_state_dict(best.weights())
    held_out = HeldOut.of(test, list(range(len(test))))
    values = training.values_on(held_out)
    return _stored(training, held_out, summary, values, ctx)


def _stored(
    training: ClipTraining, held_out: HeldOut, summary: TrainingSummary, values: dict[str, float], ctx: RunContext
) -> Result:
    folder, history = ctx.run.artifact("model"), ctx.run.artifact("history.json")
    if ctx.is_main:
        with _quiet(), whole_folder(folder) as fresh:
            training.module.save_pretrained(fresh)
            training.model.tokenizer.save_pretrained(fresh)
            training.model.image_processor.save_pretrained(fresh)
        replace_text(history, json.dumps(training.history, indent=2) + "\n")
    shown = HeldOut(held_out.images[:N_SHOWN], held_out.texts[:N_SHOWN])
    images, texts = training.embeddings(shown)
    similarity = images.double() @ texts.double().T
    ctx.tracker.image("similarity", Picture.of_array(((similarity + 1) / 2).numpy()).png, summary.steps)
    ctx.tracker.log({f"test/{name}": value for name, value in values.items()}, summary.steps)
    scalars: dict[str, Any] = {f"test_{name}": value for name, value in values.items()}
    scalars |= {
        "steps": summary.steps,
        "best_step": summary.best_step,
        "best_validation_recall@1": summary.best,
        "stopped_early": int(summary.stopped_early),
        "collapse_alarms": len(training.alarm.reasons),
    }
    table = Table.of_records(
        training.history, title="Validation", name="validation", notes=tuple(training.alarm.reasons)
    )
    return Result(scalars=scalars, tables=[table], figures=_figures(training, similarity), artifacts=[folder, history])


def _quiet() -> Any:
    from interp_plugins.models.image_text.loading import without_bars

    return without_bars()


def _figures(training: ClipTraining, similarity: torch.Tensor) -> list[Figure]:
    steps = tuple(row["step"] for row in training.history)

    def line(name: str) -> Series:
        return Series(name=name, x=steps, y=tuple(row[name] for row in training.history))

    chance = training.alarm.chance
    return [
        Lines(
            series=(line("recall@1_i2t"), line("recall@1_t2i")),
            x_title="step",
            y_title="R@1",
            references=(Reference(value=chance, label="chance"),),
            title="Retrieval on the validation pairs",
        ),
        Lines(
            series=(line("effective_rank_images"), line("effective_rank_texts")),
            x_title="step",
            y_title="effective rank",
            references=(Reference(value=training.alarm.least_rank, label="alarm"),),
            title="Directions that the embeddings fill",
            caption="Below the line the collapse alarm is raised.",
        ),
        HeatMap(
            tuple(map(tuple, similarity.tolist())),
            row_title="image",
            column_title="text",
            units="cosine",
            title="Similarity of the first test pairs",
            caption="Pairs lie on the diagonal.",
        ),
    ]

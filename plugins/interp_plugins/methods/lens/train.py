"""The stage ``lens train``: dump where needed, train with the shared loop, store the lens."""

from collections.abc import Mapping
from typing import Any

from interp_plugins.methods.lens.config import LensTrainConfig
from interp_plugins.methods.lens.contract import Fits, Lens, Trains
from interp_plugins.methods.lens.dump import open_dump, resolve_language_model
from interp_plugins.methods.lens.dumped import Dump
from interp_plugins.methods.lens.parts import Parts
from interp_plugins.methods.lens.stored import save_lens
from interp_plugins.models.language import CausalLanguageModel
from interp_registry.contracts.method import Result, RunContext
from interp_registry.errors import UsageError
from interp_registry.figures import Table
from interp_registry.training.loop import Tools, TrainingSummary, train

__all__ = ["load_for_lens", "run"]


def load_for_lens(name: str, config: Any, ctx: RunContext) -> CausalLanguageModel:
    """The frozen causal language model that lenses read; without gradients.

    Raises:
        UsageError: It predicts no next token.
    """
    model = Parts(resolve_language_model(name, config, ctx.device).load()).model
    model.module.requires_grad_(requires_grad=False)
    return model


def run(config: LensTrainConfig, ctx: RunContext) -> Result:
    """Train a lens, going on from the run's last checkpoint if there is one.

    Activations that are not stored yet are dumped first. A lens without parameters is stored as it is.

    Raises:
        InterpError: The loss is not finite, or model, data or activations cannot be had.
    """
    model = load_for_lens(config.model, config, ctx)
    dump, state = _dump(config, model, ctx)
    lens: Lens = config.method.build(model, dump)
    summary: TrainingSummary | None = None
    fitted: Mapping[str, float] = lens.fit(dump) if isinstance(lens, Fits) else {}
    if isinstance(lens, Trains):
        training = config.method.recipe(config.training)
        trainable = lens.trainable(dump, training, ctx.seed)
        summary = train(trainable, training, ctx.seed, Tools.of(ctx, training))
    facts = {"dump": dump.entry.key, "dump_digest": dump.digest, "seed": ctx.seed}
    if summary is not None:
        facts["steps"] = summary.steps
    files = save_lens(ctx.run.artifact("lens/lens.json").parent, lens, config.method, model, dump, facts)
    result = _result(lens, summary, dump, state, files)
    result.scalars |= fitted
    return result


def _dump(config: LensTrainConfig, model: CausalLanguageModel, ctx: RunContext) -> tuple[Dump, str]:
    """The activations to learn from.

    Raises:
        UsageError: They are of another model.
    """
    if config.dump is None:
        dump, state = open_dump(config, config.model, ctx, model)
        if dump is None:
            ctx.accelerator.wait_for_everyone()
            dump, state = open_dump(config, config.model, ctx, model)
        if dump is None:
            raise UsageError("the activations are not complete", "run the same command again")
        return dump, state
    dump = Dump.open(ctx.activations, config.dump)
    if dump.revision not in (None, model.info.revision):
        raise UsageError(f"the activations {dump.entry.key} are those of {dump.model_name}, not of {config.model}")
    return dump, "present"


def _result(lens: Lens, summary: TrainingSummary | None, dump: Dump, state: str, files: list[Any]) -> Result:
    scalars: dict[str, Any] = {
        "steps": 0 if summary is None else summary.steps,
        "dump": dump.entry.key,
        "dumped": state,
    }
    result = Result(scalars=scalars, artifacts=[files[0].parent], data={"lens": dict(lens.describe())})
    if summary is not None:
        result.scalars |= {**{f"train_{name}": value for name, value in summary.losses.items()}, **summary.metrics}
        rows = tuple({**summary.losses, **summary.metrics}.items())
        result.tables.append(Table(("measure", "value"), rows, title="At the end of training"))
    return result

"""The stage ``lens demo``: dump, train a tuned lens and a text bottleneck, evaluate both, and say what came out."""

from collections.abc import Mapping
from typing import Any

from interp_plugins.methods.lens.choices import LensConfig
from interp_plugins.methods.lens.config import DumpConfig, LensTrainConfig
from interp_plugins.methods.lens.evaluation.config import EvalConfig, LensDemoConfig
from interp_registry.choices import choice_names
from interp_registry.contracts.method import Cost, Failure, Result, RunContext
from interp_registry.errors import InterpError, UnknownNameError
from interp_registry.figures import figure_from_json
from interp_registry.stores.run import Run
from interp_registry.training.config import TrainingConfig

__all__ = ["estimate", "run"]

_EVALUATIONS = 5


def run(config: LensDemoConfig, ctx: RunContext) -> Result:
    """Dump, train, evaluate; each is a run of its own.

    Raises:
        InterpError: A part failed.
    """
    parts = ("dump", "tuned", "consistency", "evaluation")

    def done(number: int) -> None:
        ctx.events.progress("demo", number, len(parts), "parts")

    done(0)
    dumped = ctx.run_stage("lens dump", DumpConfig(model=config.model, **_dump_settings(config)))
    key = str(_scalars(dumped)["key"])
    done(1)
    tuned = ctx.run_stage("lens train", _training("tuned", {}, config.tuned_steps, key, config))
    done(2)
    text = ctx.run_stage("lens train", _training("consistency", {"layer": config.layer}, config.steps, key, config))
    done(3)
    names = ["logit", str(tuned.path), str(text.path)]
    judged = ctx.run_stage(
        "lens eval", EvalConfig(lens=names, model=config.model, dump=key, rows=config.rows, **_dump_settings(config))
    )
    done(4)
    return _result(config, judged)


def estimate(config: LensDemoConfig, _ctx: RunContext) -> Cost:
    """What the demonstration needs on two cores of an ordinary machine."""
    seconds = 60 + 0.3 * config.tuned_steps + 1.0 * config.steps
    return Cost(seconds=seconds, disk_bytes=200 << 20, memory_bytes=2 << 30, download_bytes=0)


def _dump_settings(config: LensDemoConfig) -> dict[str, Any]:
    return {"dataset": config.dataset, "positions": config.positions, "limit": config.limit}


def _training(method: str, options: Mapping[str, Any], steps: int, key: str, config: LensDemoConfig) -> LensTrainConfig:
    known = choice_names(LensConfig)
    if method not in known:
        raise UnknownNameError("lens", method, known)
    lens: LensConfig = LensConfig.get_choice_class(method)(**options)
    every = max(1, steps // _EVALUATIONS)
    training = TrainingConfig(steps=steps, clip_norm=1.0, evaluate_every=every, checkpoint_every=100, keep_last=3)
    return LensTrainConfig(method=lens, model=config.model, dump=key, training=training, **_dump_settings(config))


def _scalars(finished: Run) -> Mapping[str, Any]:
    return (finished.result or {})["scalars"]


def _result(config: LensDemoConfig, judged: Run) -> Result:
    """The evaluation's tables and figures, and its headline numbers.

    Raises:
        InterpError: The text bottleneck was not evaluated.
    """
    found: Mapping[str, Any] = judged.result or {}
    layers: list[Mapping[str, Any]] = found["layers"]
    at = next((layer for layer in layers if layer["layer"] == config.layer), None)
    if at is None or "consistency" not in at["texts"]:
        raise InterpError(
            f"the text bottleneck was not evaluated at layer {config.layer}", f"see the run {judged.path}"
        )
    numbers = _numbers(at) | {f"{lens}_kl": _readout_kl(layers, lens) for lens in ("tuned", "logit")}
    figures = [figure_from_json(figure) for figure in found["figures"]]
    tables = [figure_from_json(table) for table in found["tables"]]
    failures = [Failure(**failure) for failure in found["failures"]]
    flat = {name: value for name, value in numbers.items() if not isinstance(value, dict)}
    data = {**numbers, "verdicts": found["verdicts"], "evaluation": str(judged.path), "lead": _lead(numbers)}
    return Result(flat, tables, figures, failures=failures, data=data)  # pyright: ignore[reportArgumentType]


def _numbers(at: Mapping[str, Any]) -> dict[str, Any]:
    """Headline numbers of the layer of the text bottleneck."""
    swaps: Mapping[str, Any] = at["swaps"]["consistency"]
    text: Mapping[str, Any] = at["texts"]["consistency"]
    own = swaps["reconstruction"]
    facts = {f"facts_{name}": value[0] for name, value in text["facts"].items()}
    return {
        "kl_recon_over_mean": own["kl_over_mean"][0],
        "kl_recon_over_other": own["kl_over_other"][0],
        "fve": own["fve"][0],
        "fve_nrm": own["fve_nrm"][0],
        "top1_agreement": own["top1_agreement"][0],
        "kl_shuffled_over_mean": swaps["shuffled explanation"]["kl_over_mean"][0],
        "kl_other_explanation_over_mean": swaps["another explanation"]["kl_over_mean"][0],
        "kl_identity": at["swaps"]["baselines"]["identity"]["kl"][0],
        "kl_mean": at["swaps"]["baselines"]["mean"]["kl"][0],
        "explanation_nll": text["explanation_nll"][0],
        "base_nll": text["base_nll"],
        "distinct": text["distinct"],
        **facts,
    }


def _readout_kl(layers: list[Mapping[str, Any]], lens: str) -> dict[str, float]:
    """KL(model || lens) by layer, nats."""
    return {str(layer["layer"]): layer["readouts"][lens]["kl"][0] for layer in layers if lens in layer["readouts"]}


def _lead(numbers: Mapping[str, Any]) -> list[str]:
    """What came out, for the top of a report."""
    return [
        f"Putting back what the words say costs {numbers['kl_recon_over_mean']:.1%} of what putting in the mean costs, and explains "
        f"{numbers['fve']:.1%} of the variance. Another row's words cost {numbers['kl_other_explanation_over_mean']:.0%} of the mean's.",
        f"Whether a person can read the words is another matter: they cost the base model {numbers['explanation_nll']:.1f} nats per token, "
        f"its own texts {numbers['base_nll']:.1f}.",
    ]

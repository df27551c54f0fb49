"""Settings of Consistency Lens (its YAML files of May 2025) as settings of ``interp lens train consistency``.

Every key is either translated, or named among those that have no effect on the training, or refused by its name: nothing is dropped in
silence. What this tool does otherwise whatever the settings stands in :data:`DIFFERENCES`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from interp_plugins.methods.lens.foreign.schedules import translate_schedule
from interp_registry.errors import ConfigError

__all__ = ["DIFFERENCES", "Translation", "translate"]

DIFFERENCES = (
    "activations are of one random token per text from token 5 on (that tool: the middle one)",
    "the encoder ends after the activation's layer and has no final norm (that tool: all blocks, with the norm)",
    "input embeddings come from the embedding module (that tool: the output embeddings)",
    "the swap is at the activation's own layer and token (that tool: one block later, at token 0)",
    "a tenth of the texts is kept for validation, whatever val_fraction and split_seed say",
)
"""What differs in every translated training, and why its numbers will not be those of that tool."""

_IDLE = frozenset(
    {
        "wandb",
        "wandb_log_interval",
        "verbose_samples",
        "token_pos_p",
        "decoder_n_prompt_tokens",
        "val_activation_dir",
        "val_fraction",
        "split_seed",
        "activation_dumper.output_dir",
        "activation_dumper.dataset_cache_dir",
        "activation_dumper.batch_size",
        "activation_dumper.val_hf_split",
        "activation_dumper.val_output_dir",
        "activation_dumper.val_num_samples",
        "activation_dumper.use_hf_dataset",
        "checkpoint.enabled",
        "checkpoint.output_dir",
        "checkpoint.name_pattern",
        "checkpoint.save_every_n_epochs",
        "checkpoint.save_at_end",
        "checkpoint.best_metric",
        "checkpoint.best_mode",
        "checkpoint.save_components",
        "checkpoint.max_checkpoints",
        "checkpoint.delete_old_checkpoints",
    }
)
"""Keys without an effect here: logging, folders, validation."""


@dataclass
class Translation:
    """A translated file."""

    settings: dict[str, Any]
    """Configuration of ``interp lens train``."""
    left_out: list[str] = field(default_factory=list)
    """Keys that have no effect here."""


def translate(given: Mapping[str, Any], steps: int | None = None) -> Translation:
    """Translate the settings of that tool.

    Args:
        given: Its YAML file.
        steps: Steps of the training, in place of those that the file gives or that follow from its epochs.

    Raises:
        ConfigError: A key cannot be translated, is missing or has a wrong value; the message names it.
    """
    total = steps or _total(given)
    method: dict[str, Any] = {
        "type": "consistency",
        "encoder_prompt": "<text>",
        "rate": {"shape": "constant"},
        "betas": [0.9, 0.999],
        "weight_decay": 0.01,
        "mse": {"start": 0.0},
        "fluency": {"start": 0.0},
        "fluency_form": "kl",
        "entropy": {"start": 0.0},
        "control": {"excess": None},
        "reference": {"start": 0.0},
        "dual_path": True,
        "resample_ablation": True,
        "stop_gradient_partner": False,
        "trainable": "projections",
        "order": "forward",
        "through_words": True,
        "writing": {"start": 0.0},
        "warm_start": {"steps": "0"},
    }
    made = _Made({"method": method, "positions": "random:1,min:5", "training": {"steps": total}}, total)
    flat = _flat(given)
    for key, value in flat.items():
        rule = _RULES.get(key)
        if rule is not None:
            rule(made, key, value)
        elif key in _IDLE or key.split(".", maxsplit=1)[0] in _IDLE:
            made.left_out.append(key)
        else:
            raise ConfigError("this key of Consistency Lens cannot be translated", key, "take it out of the file")
    _schedules(made, given)
    _bases(made, flat)
    return Translation(made.settings, made.left_out)


@dataclass
class _Made:
    settings: dict[str, Any]
    total: int
    left_out: list[str] = field(default_factory=list)

    def put(self, path: str, value: Any) -> None:
        inner = self.settings
        *owners, last = path.split(".")
        for owner in owners:
            inner = inner.setdefault(owner, {})
        inner[last] = value


_WHOLE = frozenset({"gumbel_tau_schedule", "alpha_schedule", "wandb", "verbose_samples"})
"""Sections that are looked at as a whole."""


def _flat(given: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Values by dotted name."""
    found: dict[str, Any] = {}
    for name, value in given.items():
        key = f"{before}{name}"
        if isinstance(value, Mapping) and key not in _WHOLE and key != "checkpoint.save_components":
            found |= _flat(value, f"{key}.")
        else:
            found[key] = value
    return found


def _total(given: Mapping[str, Any]) -> int:
    """Steps of the training: those of the file, or its epochs over the rows that are not kept for validation."""
    steps, epochs = given.get("max_train_steps") or 0, given.get("num_train_epochs") or 0
    if steps:
        return _positive(steps, "max_train_steps")
    rows = (given.get("activation_dumper") or {}).get("num_samples")
    if not epochs or rows is None:
        raise ConfigError(
            "the length of the training is not stated", "max_train_steps", "give --steps, or epochs and num_samples"
        )
    share = 0.0 if given.get("val_activation_dir") else float(given.get("val_fraction", 0.1))
    training = _positive(rows, "activation_dumper.num_samples") - int(rows * share)
    batches = training // _positive(given.get("batch_size"), "batch_size")
    return max(1, batches) * _positive(epochs, "num_train_epochs")


def _positive(value: Any, key: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{value!r} is no whole number of at least 1", key)
    return value


_Rule = Callable[[_Made, str, Any], None]


def _to(path: str) -> _Rule:
    return lambda made, _key, value: made.put(path, value)


def _count(path: str, *, zero_is_none: bool = False) -> _Rule:
    def rule(made: _Made, key: str, value: Any) -> None:
        made.put(path, None if zero_is_none and value == 0 else _positive(value, key))

    return rule


def _weight(path: str) -> _Rule:
    return lambda made, key, value: made.put(path, {"start": _real(value, key)})


def _real(value: Any, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{value!r} is no number", key)
    return float(value)


def _must_be(*, wanted: bool) -> _Rule:
    def rule(_made: _Made, key: str, value: Any) -> None:
        if value is not wanted:
            raise ConfigError(f"{value!r} cannot be translated", key, f"only {str(wanted).lower()} can")

    return rule


def _nothing(_made: _Made, _key: str, _value: Any) -> None:
    """Dealt with elsewhere."""


def _layer(made: _Made, key: str, value: Any) -> None:
    layer = _positive(value, key)
    made.put("method.layer", layer)
    made.put("layers", str(layer))


def _tokenizer(made: _Made, _key: str, value: Any) -> None:
    made.put("loading.tokenizer", value)


def _prompt(made: _Made, key: str, value: Any) -> None:
    if not isinstance(value, str) or value.count("<embed>") > 1:
        raise ConfigError(f"{value!r} is no prompt with at most one <embed>", key)
    with_place = value if "<embed>" in value else f"{value}<embed>"
    made.put("method.decoder_prompt", with_place.replace("<embed>", "<activation>"))


def _clip(made: _Made, key: str, value: Any) -> None:
    made.put("training.clip_norm", _real(value, key) or None)


def _multiplier(made: _Made, key: str, value: Any) -> None:
    made.put("method.adapter_learning_rate", _real(value, key))


def _dataset(made: _Made, _key: str, value: Any) -> None:
    made.put("dataset", value)


_RULES: Mapping[str, _Rule] = {
    "model_name": _to("model"),
    "tokenizer_name": _tokenizer,
    "layer_l": _layer,
    "decoder_prompt": _prompt,
    "t_text": _count("method.tokens"),
    "learning_rate": lambda made, key, value: made.put("method.learning_rate", _real(value, key)),
    "batch_size": _count("method.batch_size"),
    "compile_models": _to("loading.compile"),
    "log_interval": _count("training.log_every"),
    "grad_clip": _clip,
    "stop_grad_aprime": _to("method.stop_gradient_partner"),
    "num_train_epochs": _nothing,
    "max_train_steps": _nothing,
    "activation_dumper.hf_split": _nothing,
    "trainable_components.decoder.eye_init": _must_be(wanted=True),
    "trainable_components.encoder.eye_init": _must_be(wanted=True),
    "trainable_components.decoder.base_model": _nothing,
    "trainable_components.encoder.base_model": _nothing,
    "trainable_components.decoder.projection_layer": _must_be(wanted=True),
    "trainable_components.encoder.projection_layer": _must_be(wanted=True),
    "trainable_components.decoder.output_head": _must_be(wanted=False),
    "trainable_components.encoder.use_base_model": _must_be(wanted=True),
    "custom_lr_multipliers.projection_layers": _multiplier,
    "gumbel_tau_schedule": _nothing,
    "alpha_schedule": _nothing,
    "kl_base_weight": _nothing,
    "lm_weight": _weight("method.fluency"),
    "ce_weight": _weight("method.fluency"),
    "entropy_weight": _weight("method.entropy"),
    "val_interval": _count("training.evaluate_every", zero_is_none=True),
    "activation_dumper.num_samples": _count("limit"),
    "activation_dumper.seq_len": _count("seq_len"),
    "activation_dumper.hf_dataset_name": _dataset,
    "checkpoint.save_every_n_steps": _count("training.checkpoint_every", zero_is_none=True),
    "checkpoint.track_best_n": _count("training.keep_best", zero_is_none=True),
}


def _schedules(made: _Made, given: Mapping[str, Any]) -> None:
    """Temperature, and the weight of the divergence: base weight times alpha."""
    base = _real(given.get("kl_base_weight", 1.0), "kl_base_weight")
    tau = given.get("gumbel_tau_schedule", {"type": "constant", "value": 1.0})
    alpha = given.get("alpha_schedule", {"type": "constant", "value": 1.0})
    for path, key, schedule, factor in (
        ("method.tau", "gumbel_tau_schedule", tau, 1.0),
        ("method.kl", "alpha_schedule", alpha, base),
    ):
        if not isinstance(schedule, Mapping):
            raise ConfigError(f"{schedule!r} is no schedule", key)
        made.put(path, translate_schedule(schedule, key, made.total, factor))


def _bases(made: _Made, flat: Mapping[str, Any]) -> None:
    """Which weights are trained, and the rates and data that depend on two keys."""
    wanted = [flat.get(f"trainable_components.{half}.base_model", False) for half in ("decoder", "encoder")]
    if wanted[0] != wanted[1]:
        raise ConfigError(
            "only one of decoder and encoder trains its base model, which cannot be translated",
            "trainable_components.encoder.base_model",
        )
    made.put("method.trainable", "all" if wanted[0] else "projections")
    method = made.settings["method"]
    if "adapter_learning_rate" in method:
        method["adapter_learning_rate"] *= method.get("learning_rate", 1e-3)
    split = flat.get("activation_dumper.hf_split")
    if split and "dataset" in made.settings:
        made.settings["dataset"] += f":split={split}"
    if made.settings.get("loading", {}).get("tokenizer") == made.settings.get("model"):
        made.settings["loading"].pop("tokenizer", None)
    if made.settings["training"].get("keep_best", 1) is None:
        made.settings["training"]["keep_best"] = 0

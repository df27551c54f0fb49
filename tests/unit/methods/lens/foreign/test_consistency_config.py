"""Settings of Consistency Lens in this tool's terms."""

import math
from dataclasses import fields

import pytest
import yaml

from interp_plugins.methods.lens.config import ImportConfig, LensTrainConfig
from interp_plugins.methods.lens.consistency.config import ConsistencyConfig
from interp_plugins.methods.lens.consistency.objective import Weights
from interp_plugins.methods.lens.exchange import run_import
from interp_plugins.methods.lens.foreign.config import ConsistencySettingsImport
from interp_plugins.methods.lens.foreign.consistency_config import translate
from interp_plugins.methods.lens.foreign.schedules import translate_schedule
from interp_plugins.methods.lens.train import run as train
from interp_registry.config_io import read_layers, resolve
from interp_registry.discovery import discover
from interp_registry.errors import ConfigError
from interp_registry.testing import FakeContext
from interp_registry.training.schedules import ScheduleConfig

SETTINGS = {
    "model_name": "SimpleStories/SimpleStories-5M",
    "tokenizer_name": "SimpleStories/SimpleStories-5M",
    "layer_l": 5,
    "decoder_prompt": "Short explanation of <embed>:",
    "t_text": 5,
    "learning_rate": 1.0e-5,
    "batch_size": 512,
    "num_train_epochs": 26,
    "max_train_steps": 0,
    "compile_models": False,
    "log_interval": 10,
    "wandb_log_interval": 1,
    "grad_clip": 1.0,
    "stop_grad_aprime": False,
    "trainable_components": {
        "decoder": {"base_model": False, "projection_layer": True, "eye_init": True, "output_head": False},
        "encoder": {"base_model": False, "use_base_model": True, "projection_layer": True, "eye_init": True},
    },
    "custom_lr_multipliers": {"projection_layers": 10.0},
    "gumbel_tau_schedule": {"type": "linear_decay", "start_value": 1.0, "end_value": 0.5, "num_steps": -1},
    "alpha_schedule": {"type": "constant", "value": 0.1},
    "activation_dumper": {
        "num_samples": 2200000, "seq_len": 64, "use_hf_dataset": True, "hf_dataset_name": "SimpleStories/SimpleStories",
        "hf_split": "train", "output_dir": "data", "batch_size": 1024,
    },
    "val_activation_dir": "data/test",
    "wandb": {"project": "p", "mode": "online"},
    "checkpoint": {"enabled": True, "save_every_n_steps": 10000, "track_best_n": 3, "save_components": {"models": True}},
    "lm_weight": 0.01,
    "kl_base_weight": 2.0,
    "entropy_weight": 0.0,
    "val_fraction": 0.1,
    "split_seed": 42,
    "val_interval": 100,
    "verbose_samples": {"enabled": True},
}  # fmt: skip


def theirs(given, total):
    """Values of a schedule as that tool documents them, from its definition."""
    steps = given.get("num_steps", total)
    steps = total if steps == -1 else steps
    if given["type"] == "constant":
        return lambda t: given["value"]
    s, e = given["start_value"], given["end_value"]
    if steps == 0:
        return lambda t: e
    if given["type"] == "exponential_decay":
        return lambda t: s * (e / s) ** (t / steps)
    if given["type"] == "cosine_anneal":
        return lambda t: e + 0.5 * (s - e) * (1 + math.cos(math.pi * min(1, t / steps)))
    return lambda t: s + min(1, t / steps) * (e - s)


@pytest.mark.parametrize("kind", ["linear_decay", "linear_warmup", "cosine_anneal", "exponential_decay", "constant"])
@pytest.mark.parametrize("steps", [-1, None, 0, 1, 40, 100, 250])
def test_a_translated_schedule_has_the_same_value_at_every_step(kind, steps):
    given = {"type": kind, "start_value": 0.2 if kind == "linear_warmup" else 2.0, "end_value": 0.5}
    given = {"type": kind, "value": 0.3} if kind == "constant" else given
    if steps is not None and kind != "constant":
        given["num_steps"] = steps
    ours = ScheduleConfig(**translate_schedule(given, "tau", 100)).build(100)
    expected = theirs(given, 100)
    assert [ours(t) for t in range(101)] == pytest.approx([expected(t) for t in range(101)], rel=1e-12)


def test_a_factor_multiplies_every_value():
    given = {"type": "cosine_anneal", "start_value": 1.0, "end_value": 0.1, "num_steps": 50}
    one = ScheduleConfig(**translate_schedule(given, "alpha", 80)).build(80)
    three = ScheduleConfig(**translate_schedule(given, "alpha", 80, 3.0)).build(80)
    assert [three(t) for t in range(81)] == pytest.approx([3 * one(t) for t in range(81)])


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"type": "polynomial"}, "tau.type"),
        ({"type": "constant"}, "tau.value"),
        ({"type": "linear_decay", "start_value": 1, "end_value": 0, "num_steps": -2}, "tau.num_steps"),
        ({"type": "linear_decay", "start_value": 1, "end_value": 0, "delay": 3}, "tau.delay"),
        ({"type": "exponential_decay", "start_value": 1, "end_value": 0}, "tau"),
    ],
)
def test_a_schedule_that_cannot_be_translated_is_named(given, key):
    with pytest.raises(ConfigError) as caught:
        translate_schedule(given, "tau", 100)
    assert caught.value.key == key


def test_every_key_is_translated_or_named():
    made = translate(SETTINGS)
    settings, method = made.settings, made.settings["method"]
    assert settings["model"] == "SimpleStories/SimpleStories-5M"
    assert settings["layers"] == "5"
    assert settings["dataset"] == "SimpleStories/SimpleStories:split=train"
    assert (settings["limit"], settings["seq_len"]) == (2200000, 64)
    total = 26 * (2200000 // 512)
    assert settings["training"] == {
        "steps": total, "log_every": 10, "clip_norm": 1.0, "evaluate_every": 100, "checkpoint_every": 10000, "keep_best": 3,
    }  # fmt: skip
    assert method["decoder_prompt"] == "Short explanation of <activation>:"
    assert (method["tokens"], method["batch_size"], method["trainable"]) == (5, 512, "projections")
    assert method["adapter_learning_rate"] == pytest.approx(1e-4)
    assert method["kl"] == {"shape": "constant", "start": 0.2}
    assert method["fluency"] == {"start": 0.01}
    assert method["tau"]["length"] == str(total)
    assert set(made.left_out) >= {"wandb", "verbose_samples", "split_seed", "checkpoint.enabled"}


def test_steps_are_those_of_the_file_or_of_the_command():
    assert translate(SETTINGS, steps=70).settings["training"]["steps"] == 70
    stepwise = SETTINGS | {"max_train_steps": 200, "num_train_epochs": 3}
    assert translate(stepwise).settings["training"]["steps"] == 200
    held_out = {key: value for key, value in SETTINGS.items() if key != "val_activation_dir"}
    assert translate(held_out).settings["training"]["steps"] == 26 * (1980000 // 512)
    endless = {key: value for key, value in SETTINGS.items() if key != "activation_dumper"}
    with pytest.raises(ConfigError, match="length of the training"):
        translate(endless)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"attention_window": 3}, "attention_window"),
        ({"checkpoint": {"compression": "zip"}}, "checkpoint.compression"),
        ({"trainable_components": {"decoder": {"output_head": True}}}, "trainable_components.decoder.output_head"),
        (
            {"trainable_components": {"encoder": {"use_base_model": False}}},
            "trainable_components.encoder.use_base_model",
        ),
        ({"trainable_components": {"encoder": {"base_model": True}}}, "trainable_components.encoder.base_model"),
        ({"t_text": 0}, "t_text"),
        ({"lm_weight": "much"}, "lm_weight"),
        ({"decoder_prompt": "<embed> <embed>"}, "decoder_prompt"),
        ({"alpha_schedule": 0.1}, "alpha_schedule"),
    ],
)
def test_what_cannot_be_translated_is_named(change, key):
    with pytest.raises(ConfigError) as caught:
        translate(SETTINGS | change)
    assert caught.value.key == key


def test_the_written_file_says_what_differs(tmp_path):
    path = tmp_path / "lens_simple.yaml"
    path.write_text(yaml.safe_dump(SETTINGS))
    result = run_import(
        ImportConfig(format=ConsistencySettingsImport(steps=50), path=path), FakeContext(tmp_path / "ctx")
    )
    text = result.artifacts[0].read_text()
    idle = next(line for line in text.splitlines() if line.startswith("# Without effect here: "))
    assert "wandb_log_interval" in idle
    assert "at token 0" in text
    assert yaml.safe_load(text) == translate(SETTINGS, steps=50).settings


TINY = {
    "model_name": "roneneldan/TinyStories-3M",
    "tokenizer_name": "roneneldan/TinyStories-3M",
    "layer_l": 6,
    "decoder_prompt": "Explain: ",
    "t_text": 1,
    "learning_rate": 1.0e-3,
    "batch_size": 2,
    "max_train_steps": 200,
    "compile_models": True,
    "gumbel_tau_schedule": {"type": "linear_decay", "start_value": 1.0, "end_value": 0.5, "num_steps": 100},
    "alpha_schedule": {"type": "constant", "value": 0.1},
    "ce_weight": 0.01,
    "kl_base_weight": 1.0,
    "entropy_weight": 0.0,
    "val_fraction": 0.1,
    "split_seed": 42,
    "val_interval": 100,
}
"""What the small files of that tool say."""


def as_read(given, folder):
    """The configuration of the training that `interp lens train --config FILE` reads from the translated file."""
    discover()
    path = folder / "theirs.yaml"
    path.write_text(yaml.safe_dump(given))
    written = run_import(
        ImportConfig(format=ConsistencySettingsImport(), path=path), FakeContext(folder / "ctx")
    ).artifacts[0]
    return resolve(LensTrainConfig, read_layers(written), []).config


@pytest.mark.parametrize(
    "given", [SETTINGS, TINY, TINY | {"compile_models": False, "batch_size": 512}], ids=["simple", "tiny", "pile10k"]
)
def test_the_written_file_is_a_configuration_of_this_tool(given, tmp_path):
    config = as_read(given, tmp_path)
    assert isinstance(config.method, ConsistencyConfig)
    assert (config.method.layer, config.layers) == (given["layer_l"], str(given["layer_l"]))
    assert config.model == given["model_name"]
    assert config.loading.tokenizer is None  # the model's own
    assert config.loading.compile == given["compile_models"]
    assert config.method.decoder_prompt == (
        "Short explanation of <activation>:" if given is SETTINGS else "Explain: <activation>"
    )
    steps = config.training.steps
    assert steps == given["max_train_steps"] or given is SETTINGS
    weights = Weights.of(config.method, steps)
    alpha, tau = (theirs(given[key], steps) for key in ("alpha_schedule", "gumbel_tau_schedule"))
    for t in range(0, steps + 1, max(1, steps // 100)):
        assert weights.tau(t) == pytest.approx(tau(t))
        assert weights.kl(t) == pytest.approx(alpha(t) * given["kl_base_weight"])
        assert (weights.fluency(t), weights.mse(t), weights.entropy(t), weights.reference(t)) == (0.01, 0, 0, 0)


def test_a_translation_leaves_nothing_of_the_training_to_the_defaults_of_this_tool():
    stated = set(translate(SETTINGS).settings["method"])
    without_effect = {"encoder_blocks", "cached", "checkpointing"}  # how it is computed, and what DIFFERENCES names
    assert {field.name for field in fields(ConsistencyConfig)} - stated == without_effect


def test_a_translated_file_trains(tmp_path):
    given = TINY | {
        "model_name": "lm-d32", "tokenizer_name": "lm-d32", "layer_l": 1, "t_text": 2, "batch_size": 8, "max_train_steps": 2,
        "compile_models": False, "activation_dumper": {"hf_dataset_name": "shapes", "hf_split": "train", "num_samples": 60},
    }  # fmt: skip
    result = train(as_read(given, tmp_path), FakeContext(tmp_path / "run"))
    assert result.scalars["steps"] == 2
    assert math.isfinite(result.scalars["loss"])
    assert {"kl", "fluency"} <= result.data["training"].keys()

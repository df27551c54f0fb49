"""Configurations of the published code."""

import pytest
import yaml

from interp_plugins.methods.spd.experiments import load_experiment
from interp_plugins.methods.spd.published import translate
from interp_registry.catalog import Catalog
from interp_registry.discovery import discover
from interp_registry.errors import ConfigError

SEPTEMBER = {
    "seed": 0, "C": 20, "n_mask_samples": 1, "gate_type": "mlp", "gate_hidden_dims": [16], "sigmoid_type": "leaky_hard",
    "target_module_patterns": ["linear1", "linear2"], "faithfulness_coeff": 1.0, "recon_coeff": None,
    "stochastic_recon_coeff": 1, "stochastic_recon_layerwise_coeff": 1.0, "importance_minimality_coeff": 3e-3,
    "pnorm": 1.0, "output_loss_type": "mse", "batch_size": 4096, "eval_batch_size": 4096, "steps": 40000, "lr": 1e-3,
    "lr_schedule": "cosine", "lr_warmup_pct": 0.0, "train_log_freq": 100, "eval_freq": 1000, "n_eval_steps": 100,
    "slow_eval_freq": 5000, "save_freq": None, "ci_alive_threshold": 0.1, "n_examples_until_dead": 4096000,
    "eval_metrics": [{"classname": "CIHistograms", "extra_init_kwargs": {"n_batches_accum": 5}}, {"classname": "CI_L0"}],
    "pretrained_model_class": "models.TMSModel", "pretrained_model_path": "wandb:e/p/runs/abc",
    "task_config": {"task_name": "tms", "feature_probability": 0.05, "data_generation_type": "at_least_zero_active"},
}  # fmt: skip
FEBRUARY = {
    "seed": 0, "n_mask_samples": 1, "ci_fn_type": "shared_mlp", "ci_fn_hidden_dims": [256], "sigmoid_type": "leaky_hard",
    "module_info": [{"module_pattern": "layers.*.mlp_in", "C": 400}], "use_delta_component": True,
    "loss_metric_configs": [
        {"classname": "ImportanceMinimalityLoss", "coeff": 1e-4, "pnorm": 2.0, "beta": 0},
        {"classname": "PGDReconSubsetLoss", "coeff": 2.0, "init": "random", "step_size": 1.0, "n_steps": 1,
         "mask_scope": "shared_across_batch"},
        {"classname": "StochasticReconSubsetLoss", "coeff": 2.0, "routing": {"type": "static_probability", "p": 0.3}},
    ],
    "output_loss_type": "mse", "batch_size": 2048, "eval_batch_size": 2048, "steps": 25000,
    "lr_schedule": {"start_val": 3e-4, "fn_type": "cosine", "warmup_pct": 0.0, "final_val_frac": 0.1},
    "faithfulness_warmup_steps": 200, "train_log_freq": 50, "n_eval_steps": 100, "eval_freq": 500,
    "eval_metric_configs": [{"classname": "PGDReconLoss", "init": "random", "step_size": 0.1, "n_steps": 20,
                             "mask_scope": "shared_across_batch"}],
    "pretrained_model_class": "models.ResidMLP",
    "task_config": {"task_name": "resid_mlp", "feature_probability": 0.01},
}  # fmt: skip


@pytest.fixture
def load(tmp_path):
    discover()

    def read(content):
        file = tmp_path / "published.yaml"
        file.write_text(yaml.safe_dump(content))
        return load_experiment(str(file), Catalog(()))

    return read


def test_a_file_of_the_papers_time_keeps_its_losses_and_its_quarter_cosine(load):
    config = load(SEPTEMBER)
    assert {label: loss.coeff for label, loss in config.losses.items()} == {
        "faithfulness": 1.0, "stochastic_recon": 1.0, "stochastic_recon_layerwise": 1.0, "importance_minimality": 3e-3,
    }  # fmt: skip
    assert config.losses["stochastic_recon_layerwise"].over == "layerwise"
    assert (config.schedule.shape, config.schedule.reach) == ("cosine_quarter", "last")
    assert (config.delta, config.leak, config.initial, config.checkpoint_every) == (False, "both", "target", 5000)
    assert config.components == {"linear1": 20, "linear2": 20}
    assert config.target.path == "wandb:e/p/runs/abc"
    assert set(config.metrics) == {"ci_histograms", "ci_l0"}


def test_a_file_of_2026_is_read_in_its_own_sense(load):
    config = load(FEBRUARY)
    assert (config.delta, config.leak, config.initial) == (True, "upwards", "random")
    assert (config.schedule.shape, config.schedule.end, config.learning_rate) == ("cosine", 0.1, 3e-4)
    adversary = config.losses["pgd_recon_subset"]
    assert (adversary.scope, adversary.start, adversary.n_steps, adversary.over) == ("shared", "random", 1, "subset")
    routed = config.losses["stochastic_recon_subset"]
    assert (routed.routing, routed.probability) == ("static", 0.3)
    assert config.metrics["loss_pgd_recon"].loss.n_steps == 20
    assert config.warmup.steps == 200


def test_embedding_reconstruction_and_accumulation_are_read(load):
    change = {"embedding_recon_coeff": 0.5, "is_embed_unembed_recon": True, "gradient_accumulation_steps": 4}
    config = load({**SEPTEMBER, **change})
    loss = config.losses["embedding_recon"]
    assert (loss.coeff, loss.unembed, config.accumulate) == (0.5, True, 4)


def test_metrics_over_subsets_and_several_batches_are_read(load):
    subset = {"classname": "StochasticReconSubsetCEAndKL", "include_patterns": {"mlp": ["*.mlp_in"]}}
    attack = {"classname": "PGDMultiBatchReconSubsetLoss", "init": "zeroes", "step_size": 0.2, "n_steps": 3,
              "gradient_accumulation_steps": 2, "routing": {"type": "static_probability", "p": 0.25}}  # fmt: skip
    metrics = load({**FEBRUARY, "eval_metric_configs": [subset, attack]}).metrics
    assert metrics["subset_ce_kl"].include == {"mlp": ["*.mlp_in"]}
    attack = metrics["pgd_multi_batch"]
    assert (attack.start, attack.step_size, attack.n_steps, attack.n_batches) == ("zeroes", 0.2, 3, 2)
    assert (attack.routing, attack.probability) == ("static", 0.25)


@pytest.mark.parametrize("change", [{"brand_new_coeff": 1.0}, {"tied_weights": True}])
def test_a_key_that_would_change_the_training_is_an_error(change):
    with pytest.raises(ConfigError, match="has no counterpart"):
        translate({**SEPTEMBER, **change})


def test_a_loss_that_would_be_dropped_is_an_error():
    unknown = {**FEBRUARY, "loss_metric_configs": [{"classname": "BrandNewLoss", "coeff": 1.0}]}
    with pytest.raises(ConfigError, match="'BrandNewLoss' is not known and would be dropped"):
        translate(unknown)
    with pytest.raises(ConfigError, match="'BrandNewMetric' is not known"):
        translate({**FEBRUARY, "eval_metric_configs": [{"classname": "BrandNewMetric"}]})


def test_keys_that_are_null_or_off_may_be_left_out():
    translate({**SEPTEMBER, "embedding_recon_coeff": None, "is_embed_unembed_recon": False})

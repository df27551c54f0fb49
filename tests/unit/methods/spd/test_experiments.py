"""The catalog's experiments, and what a run may change in them."""

from pathlib import Path

import pytest

from interp_plugins.methods.spd.config import RunConfig, TmsTargetConfig
from interp_plugins.methods.spd.decompose import training_config
from interp_plugins.methods.spd.experiments import experiment_names, load_experiment
from interp_plugins.methods.spd.plugin import methods
from interp_registry.catalog import Catalog
from interp_registry.discovery import discover
from interp_registry.errors import UnknownNameError, UsageError

CATALOG = Catalog((Path(__file__).parents[4] / "configs",))
NAMES = {
    "tms_5-2",
    "tms_5-2-id",
    "tms_40-10",
    "tms_40-10-id",
    "resid_mlp1",
    "resid_mlp2",
    "resid_mlp3",
    "ss_emb",
    "lm_emb",
}


@pytest.fixture(autouse=True)
def discovered():
    discover()


def test_no_name_is_every_experiment():
    assert set(experiment_names([], CATALOG)) == NAMES
    assert experiment_names(["tms_5-2,resid_mlp1"], CATALOG) == ["tms_5-2", "resid_mlp1"]
    with pytest.raises(UnknownNameError, match="tms_52"):
        experiment_names(["tms_52"], CATALOG)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_experiment_loads_and_trains_on_something(name):
    config = load_experiment(name, CATALOG)
    assert any(loss.coeff > 0 for loss in config.losses.values())
    assert config.components
    assert config.metrics


@pytest.mark.parametrize("name", sorted(NAMES - {"ss_emb", "lm_emb"}))
def test_the_tuned_setting_has_a_delta_component_in_place_of_the_faithfulness_loss(name):
    tuned = load_experiment(name, CATALOG, "tuned")
    assert tuned.delta
    assert "faithfulness" not in tuned.losses
    assert tuned.warmup.steps == 200
    assert (tuned.leak, tuned.initial) == ("upwards", "random")


def test_the_papers_tms_5_2():
    config = load_experiment("tms_5-2", CATALOG)
    assert (config.steps, config.batch_size, config.learning_rate) == (40_000, 4096, 1e-3)
    assert (config.schedule.shape, config.leak, config.initial, config.delta) == (
        "cosine_quarter",
        "both",
        "target",
        False,
    )
    assert config.components == {"linear1": 20, "linear2": 20}
    assert config.losses["importance_minimality"].coeff == 3e-3
    assert isinstance(config.target, TmsTargetConfig)
    assert not config.target.zero_bias


def test_a_run_changes_single_fields_and_removes_losses():
    changes = RunConfig(
        losses={"importance_minimality": {"coeff": 1e-2}, "faithfulness": None},
        target={"n_seeds": 3},
        steps=7,
        other={"clip_components": 0.5},
    ).changes()
    config = load_experiment("tms_5-2", CATALOG, changes=changes)
    assert config.losses["importance_minimality"].coeff == 1e-2
    assert config.losses["importance_minimality"].p == 1.0
    assert "faithfulness" not in config.losses
    assert (config.target.n_seeds, config.target.n_features) == (3, 5)
    assert (config.steps, config.clip_components) == (7, 0.5)
    with pytest.raises(UsageError):
        load_experiment("tms_5-2", CATALOG, changes={"stepz": 3})


def test_stopping_early_leaves_the_schedule_as_it_was():
    config = load_experiment("tms_5-2", CATALOG, changes={"stop_after": 10_000})
    short, whole = training_config(config), training_config(load_experiment("tms_5-2", CATALOG))
    assert (short.steps, whole.steps) == (10_000, 40_000)
    rates = [c.schedule.build(c.steps) for c in (short, whole)]
    assert [rates[0](s) for s in (0, 5_000, 9_999)] == [rates[1](s) for s in (0, 5_000, 9_999)]


def test_the_stages_are_all_there():
    (method,) = methods()
    names = {stage.name for stage in method.stages}
    assert names == {"run", "pretrain", "harvest", "cluster", "attribute", "edit", "compare", "show"}
    for stage in method.stages:
        assert callable(stage.load_run())

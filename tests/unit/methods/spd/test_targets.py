"""Toy targets: many seeds train in one batch, the first that keeps every feature is taken, recorded and used again."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from interp_plugins.methods.spd.config import TmsTargetConfig
from interp_plugins.methods.spd.targets.store import describe, obtain_target
from interp_registry.discovery import discover
from interp_registry.errors import InterpError

RECIPE = TmsTargetConfig(n_seeds=12, steps=1000, batch_size=256, learning_rate=1e-2)


@pytest.fixture(autouse=True)
def _known_choices():
    discover()


def kept_features(recipe, first, second, bias):
    """How many one-hot inputs of 0.75 come back, computed one by one."""
    kept = 0
    for feature in range(recipe.n_features):
        x = torch.zeros(recipe.n_features)
        x[feature] = 0.75
        out = F.relu(second @ (first.T @ x) + bias)
        kept += abs(float(out[feature]) - 0.75) < recipe.tolerance
    return kept


def test_the_first_seed_that_keeps_every_feature_is_taken_recorded_and_used_again(tmp_path):
    made = obtain_target(RECIPE, 0, tmp_path)
    record, counts = made.record, made.record["preserved_features"]
    assert made.trained
    assert len(counts) == 12
    assert record["passing"] == [seed for seed, count in enumerate(counts) if count == 5]
    assert 0 < len(record["passing"]) < 12
    assert record["taken"] == record["passing"][0] > 0
    w = made.weights
    assert kept_features(RECIPE, w["linear1.weight"].T, w["linear2.weight"], w["linear2.bias"]) == 5
    assert torch.equal(w["linear1.weight"], w["linear2.weight"].T)
    assert describe(record).startswith(f"seed {record['taken']} of 12 taken")
    again = obtain_target(RECIPE, 0, tmp_path)
    assert not again.trained
    assert again.folder == made.folder
    assert all(torch.equal(again.weights[name], value) for name, value in w.items())
    assert obtain_target(replace(RECIPE, steps=1001), 0, tmp_path).folder != made.folder


def test_what_each_seed_keeps_is_counted_seed_by_seed():
    recipe = RECIPE.build()
    recipe.start(3)
    for i in range(200):
        recipe.optimiser.zero_grad()
        recipe.step(i)["loss"].backward()
        recipe.optimiser.step()
    expected = [
        kept_features(RECIPE, recipe.first[i].data, recipe.second[i].data, recipe.bias[i].data)
        for i in range(RECIPE.n_seeds)
    ]
    assert recipe.preserved().sum(-1).tolist() == expected
    assert len(set(expected)) > 1


def test_where_no_seed_passes_nothing_is_stored(tmp_path):
    with pytest.raises(InterpError, match="none of 2 seeds preserves all 5 features"):
        obtain_target(replace(RECIPE, n_seeds=2, steps=3), 0, tmp_path)
    assert list(tmp_path.rglob("*.json")) == []

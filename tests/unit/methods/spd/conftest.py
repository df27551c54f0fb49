"""Small targets and decompositions."""

import pytest
import torch

from interp_plugins.methods.spd import loss_config as losses
from interp_plugins.methods.spd.building import build_decomposition
from interp_plugins.methods.spd.config import DecomposeConfig, TmsTargetConfig
from interp_plugins.methods.spd.inputs import toy_problem
from interp_plugins.methods.spd.randomness import Draws
from interp_plugins.methods.spd.sigmoids import squashers
from interp_plugins.methods.spd.step import Sampling, begin_step
from interp_plugins.methods.spd.targets.toys import ResidualMlp, ToySuperposition


@pytest.fixture
def source():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def tms(source):
    w = torch.randn(5, 2, generator=source)
    return ToySuperposition({"linear1": w, "linear2": w.T}, {"linear2": torch.randn(5, generator=source)})


@pytest.fixture
def residual(source):
    weights = {}
    for layer in range(2):
        weights[f"layers.{layer}.mlp_in"] = torch.randn(8, 4, generator=source)
        weights[f"layers.{layer}.mlp_out"] = torch.randn(4, 8, generator=source)
    embedding = torch.randn(6, 8, generator=source)
    return ResidualMlp(weights, {}, embedding=embedding, unembedding=embedding.T)


@pytest.fixture
def decompose(source):
    """Build a decomposition; all importances are far from their edges."""

    def make(target, **fields):
        return build_decomposition(DecomposeConfig(components={"*": 7}, **fields), target, source)

    return make


@pytest.fixture
def begin(source):
    def make(model, batch, weights=None, **sampling):
        return begin_step(model, batch, squashers("leaky_hard"), Draws(source), Sampling(**sampling), weights)

    return make


@pytest.fixture
def tiny(source):
    """A configuration and problem that train in a second."""
    config = DecomposeConfig(
        target=TmsTargetConfig(n_features=5, n_hidden=2),
        components={"linear1": 6, "linear2": 6},
        losses={
            "faithfulness": losses.FaithfulnessConfig(),
            "importance_minimality": losses.ImportanceMinimalityConfig(coeff=3e-3),
            "stochastic_recon": losses.StochasticReconConfig(),
            "stochastic_recon_layerwise": losses.StochasticReconConfig(over="layerwise"),
        },
        steps=40,
        batch_size=64,
    )
    w = torch.randn(5, 2, generator=source)
    weights = {"linear1.weight": w.T.contiguous(), "linear2.weight": w.contiguous(), "linear2.bias": torch.zeros(5)}
    return config, toy_problem(config, weights)

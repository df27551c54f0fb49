"""The losses of the paper's code of September 2025."""

import pytest
import torch
from torch.testing import assert_close

from interp_plugins.methods.spd import loss_config as c
from interp_plugins.methods.spd.config import ScalarMlpConfig
from interp_plugins.methods.spd.decomposition import Decomposition
from interp_plugins.methods.spd.importance import Bank
from interp_plugins.methods.spd.masks import Masks
from interp_plugins.methods.spd.randomness import Draws
from interp_plugins.methods.spd.sigmoids import squashers
from interp_plugins.methods.spd.sites import choose_sites
from interp_plugins.methods.spd.step import Sampling, begin_step, split
from interp_plugins.methods.spd.targets.toys import ToySuperposition

MODULES = ["linear1", "hidden_layers.0", "linear2"]


@pytest.fixture(scope="module")
def step(september):
    def get(name, part):
        return september[f"state/patched_model.{name}.{part}"]

    weights = {name: get(name, "original.weight").T for name in MODULES}
    target = ToySuperposition(weights, {"linear2": get("linear2", "original.bias")})
    factors = {name: (get(name, "components.V"), get(name, "components.U")) for name in MODULES}
    sites = choose_sites(target, dict.fromkeys(MODULES, 4))
    bank = Bank((4, 4, 4), (5, 2, 2), (), torch.Generator())
    model = Decomposition(target, sites, factors, ScalarMlpConfig(hidden=[3]).build(bank))
    with torch.no_grad():
        for i, name in enumerate(MODULES):
            span = model.spans[name]
            views = model.importance.module_weights(span.start, span.stop, i)
            for view, kind in zip(views, ("0.W", "0.b", "2.W", "2.b"), strict=True):
                view.copy_(september[f"state/_gates.{name.replace('.', '-')}.layers.{kind}"])
    draws = Draws(torch.Generator().manual_seed(0))
    return begin_step(model, september["batch"], squashers("leaky_hard", "both"), draws, Sampling())


def _equal(loss, want):
    assert float(loss.detach()) == pytest.approx(want, rel=1e-5)


def test_importances(step, september):
    assert_close(step.known.output, september["target_out"])
    for name, lower, upper in zip(MODULES, split(step.lower, (4, 4, 4)), split(step.upper, (4, 4, 4)), strict=True):
        assert_close(lower, september[f"ci_lower/{name}"], rtol=0, atol=1e-5)
        assert_close(upper, september[f"ci_upper/{name}"], rtol=0, atol=1e-5)


def test_losses_without_random_numbers(step, september_values):
    v = september_values
    _equal(c.FaithfulnessConfig().build()(step), v["faithfulness"])
    for p in (0.5, 1.0, 2.0):
        _equal(c.ImportanceMinimalityConfig(p=p).build()(step), v[f"importance_minimality/p{p}"])
    _equal(c.MaskedReconConfig().build()(step), v["recon_ci_masked"])
    _equal(c.MaskedReconConfig(over="layerwise").build()(step), v["recon_layerwise_ci_masked"])
    _equal(c.UnmaskedReconConfig().build()(step), v["out_recon"])
    _equal(c.SchattenConfig(p=2.0).build()(step), v["schatten/p2"])


def test_stochastic_losses_on_the_stored_masks(step, september, september_values):
    masks = [Masks(kept=tuple(september[f"stoch_masks/{i}/{name}"] for name in MODULES)) for i in (0, 1)]
    _equal(sum(step.distance(m) for m in masks) / 2, september_values["stochastic_recon_S2"])
    layerwise = sum(step.distance(m, only=name) for m in masks for name in MODULES) / 6
    _equal(layerwise, september_values["stochastic_recon_layerwise_S2"])

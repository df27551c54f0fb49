"""A training as the command line drives it, against a loop written from the paper in double precision.

The loop knows the schedule, the order of updates of a tied matrix and where random numbers come from, and shares no other code.
"""

import importlib.util
import math
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from interp_plugins.methods.spd import loss_config as losses
from interp_plugins.methods.spd.building import build_decomposition
from interp_plugins.methods.spd.config import DecomposeConfig, TmsTargetConfig
from interp_plugins.methods.spd.decompose import decompose
from interp_plugins.methods.spd.inputs import toy_problem
from interp_plugins.methods.spd.targets.toys import ToySuperposition
from interp_registry.tensors.seeding import generator
from interp_registry.training.schedules import ScheduleConfig

spec = importlib.util.spec_from_file_location("naive_spd", Path(__file__).with_name("naive_spd.py"))
naive_spd = importlib.util.module_from_spec(spec)
spec.loader.exec_module(naive_spd)

SEED, STEPS, STOP, ROWS, C, RATE = 3, 60, 40, 96, 9, 1e-3


def _problem():
    g = torch.Generator().manual_seed(0)
    w = torch.randn(5, 2, generator=g)
    weights = {
        "linear1.weight": w.T.contiguous(),
        "linear2.weight": w,
        "linear2.bias": torch.randn(5, generator=g) * 0.1,
    }
    config = DecomposeConfig(
        target=TmsTargetConfig(),
        components={"linear1": C, "linear2": C},
        losses={
            "faithfulness": losses.FaithfulnessConfig(),
            "importance_minimality": losses.ImportanceMinimalityConfig(coeff=3e-3),
            "stochastic_recon": losses.StochasticReconConfig(),
            "stochastic_recon_layerwise": losses.StochasticReconConfig(over="layerwise"),
        },
        steps=STEPS,
        stop_after=STOP,
        batch_size=ROWS,
        feature_probability=0.3,
        learning_rate=RATE,
        schedule=ScheduleConfig(shape="cosine_quarter", reach="last"),
        skip_zero_rows=False,
    )
    return config, toy_problem(config, weights), w, weights["linear2.bias"]


def _uniform(purpose, i, *shapes):
    source = generator(SEED, purpose, i)
    return [torch.rand(shape, generator=source).double() for shape in shapes]


def test_a_training_equals_a_loop_in_double_precision():
    config, problem, w, bias = _problem()
    start = build_decomposition(config, problem.target, generator(SEED, "spd init"))
    target = ToySuperposition({"linear1": w.double(), "linear2": w.T.double()}, {"linear2": bias.double()})
    naive = naive_spd.naive_copy(start.double(), target, (3e-3, 1.0))
    names = ["linear1", "linear2"]
    for i in range(STOP):
        values, noise = _uniform("spd data", i, (ROWS, 5), (ROWS, 5))
        draws = _uniform("spd masks", i, (ROWS, 2 * C), (ROWS, 2 * C))
        sources = [dict(zip(names, draw.split(C, -1), strict=True)) for draw in draws]
        faithful, minimal, stochastic, layerwise = naive.losses(values * (noise < 0.3), sources)
        naive.optimiser.zero_grad()
        (faithful + 3e-3 * minimal + stochastic + layerwise).backward()
        naive.optimiser.param_groups[0]["lr"] = RATE * math.cos(math.pi / 2 * i / (STEPS - 1))
        naive.optimiser.step()
    trained = decompose(config, problem, SEED).model
    begun = build_decomposition(config, problem.target, generator(SEED, "spd init"))
    for site, (name, (v, u)) in zip(trained.sites, naive.factors.items(), strict=True):
        assert site.name == name
        assert (trained.v(name) - begun.v(name)).abs().max() > 0.02, "nothing was trained"
        assert_close(trained.v(name).double(), v, rtol=1e-3, atol=2e-5)
        assert_close(trained.u(name).double(), u, rtol=1e-3, atol=2e-5)
        span = trained.spans[name]
        gates = trained.importance.module_weights(span.start, span.stop, names.index(name))
        for mine, theirs in zip(gates, naive.gates[name], strict=True):
            assert_close(mine.double(), theirs, rtol=1e-3, atol=1e-4)


def test_the_components_start_as_the_paper_says():
    config, problem, w, _ = _problem()
    config.components = {"linear1": 4000, "linear2": 4000}
    config.tie = "none"
    model = build_decomposition(config, problem.target, generator(SEED, "spd init"))
    for name, matrix in (("linear1", w), ("linear2", w.T)):
        v, u = model.v(name).detach(), model.u(name).detach()
        assert_close(v.norm(dim=0), torch.ones(4000))
        overlap = torch.einsum("ic,co,io->c", v, u / u.norm(dim=1, keepdim=True), matrix)
        assert_close(u.norm(dim=1), overlap.abs(), rtol=1e-4, atol=1e-5)
        assert bool((overlap >= 0).all())
    w1, b1, w2, b2 = (w.detach() for w in model.importance.module_weights(0, 4000, 0))
    assert float(w1.std()) == pytest.approx(math.sqrt(2), rel=0.02)
    assert float(w2.std()) == pytest.approx(0.25, rel=0.02)
    assert not b1.any()
    assert not b2.any()

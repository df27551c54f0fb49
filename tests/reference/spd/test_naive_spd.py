"""The fast step against the slow, obvious one."""

import importlib.util
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from interp_plugins.methods.spd import loss_config as losses
from interp_plugins.methods.spd.building import build_decomposition
from interp_plugins.methods.spd.config import DecomposeConfig
from interp_plugins.methods.spd.optimiser import decomposition_optimiser
from interp_plugins.methods.spd.randomness import Draws
from interp_plugins.methods.spd.sigmoids import squashers
from interp_plugins.methods.spd.sparse_data import SparseFeatures, nonzero_rows
from interp_plugins.methods.spd.step import Sampling, begin_step
from interp_plugins.methods.spd.targets.toys import ResidualMlp, ToySuperposition

spec = importlib.util.spec_from_file_location("naive_spd", Path(__file__).with_name("naive_spd.py"))
naive_spd = importlib.util.module_from_spec(spec)
spec.loader.exec_module(naive_spd)


def _target(kind, g):
    if kind == "tms":
        w = torch.randn(6, 3, generator=g)
        return ToySuperposition({"linear1": w, "linear2": w.T}, {"linear2": torch.randn(6, generator=g)})
    shapes = {"mlp_in": (20, 4), "mlp_out": (4, 20)}
    weights = {f"layers.{i}.{k}": torch.randn(s, generator=g) * 0.3 for i in range(2) for k, s in shapes.items()}
    embedding = torch.randn(7, 20, generator=g)
    return ResidualMlp(weights, {}, embedding=embedding, unembedding=embedding.T)


class _Given(Draws):
    """Hands out the rows of given sources that were kept."""

    def __init__(self, sources, names, present):
        super().__init__(torch.Generator())
        blank = torch.zeros(1, sum(sources[0][n].shape[1] for n in names))
        kept = [torch.cat([source[n] for n in names], -1)[present] for source in sources]
        self.queue = iter([torch.cat([rows, blank]) for rows in kept])

    def component_sources(self, lead, widths, *, binary):
        return next(self.queue)


@pytest.mark.parametrize("kind", ["tms", "residual"])
@pytest.mark.parametrize("p", [1.0, 2.0, 0.8])
def test_losses_gradients_and_updates_equal_the_naive_ones(kind, p):
    g = torch.Generator().manual_seed(0)
    target = _target(kind, g)
    model = build_decomposition(DecomposeConfig(components={"*": 9}), target, g)
    naive = naive_spd.naive_copy(model, target, (3e-3, p), rate=1e-2)
    optimiser = decomposition_optimiser(model, 1e-2)
    names = [site.name for site in model.sites]
    terms = [(1.0, losses.FaithfulnessConfig()), (3e-3, losses.ImportanceMinimalityConfig(p=p)),
             (1.0, losses.StochasticReconConfig()), (1.0, losses.StochasticReconConfig(over="layerwise"))]  # fmt: skip
    terms = [(coeff, config.build()) for coeff, config in terms]
    for _ in range(3):
        x = SparseFeatures(target.n_features, 0.1, -1, 1).batch(60, g)
        sources = [{n: torch.rand(60, 9, generator=g) for n in names} for _ in range(2)]
        want = naive.losses(x, sources)
        total = want[0] + 3e-3 * want[1] + want[2] + want[3]
        naive.optimiser.zero_grad()
        total.backward()
        rows, weights = nonzero_rows(x)
        draws = _Given(sources, names, x.ne(0).any(-1))
        step = begin_step(model, rows, squashers("leaky_hard"), draws, Sampling(), weights)
        got = [term(step) for _, term in terms]
        for a, b in zip(got, want, strict=True):
            assert_close(a, b, rtol=1e-5, atol=1e-7)
        optimiser.zero_grad()
        sum(coeff * value for (coeff, _), value in zip(terms, got, strict=True)).backward()
        for site in model.sites:
            for mine, theirs in zip((model._factors[f"{site.name}.{k}".replace(".", "-")] for k in "VU"),
                                    naive.factors[site.name], strict=True):  # fmt: skip
                grad = mine.grad.T if site.name in model.transposed else mine.grad
                assert_close(grad, theirs.grad, rtol=1e-4, atol=1e-5 * float(theirs.grad.abs().max()))
        optimiser.step()
        naive.optimiser.step()
    for name, (v, u) in naive.factors.items():
        assert_close(model.v(name), v, rtol=1e-4, atol=1e-4)
        assert_close(model.u(name), u, rtol=1e-4, atol=1e-4)

import numpy as np
import pytest
import torch

from interp_plugins.methods.align.api import align
from interp_plugins.methods.align.metric_choice import metric
from interp_plugins.metrics import svcca
from interp_plugins.metrics.svcca import leading_left_vectors
from interp_registry.errors import DataError


def spectrum(n, d, values, seed=0):
    generator = torch.Generator().manual_seed(seed)
    left = torch.linalg.qr(torch.randn(n, len(values), generator=generator, dtype=torch.float64)).Q
    right = torch.linalg.qr(torch.randn(d, len(values), generator=generator, dtype=torch.float64)).Q
    return left * torch.tensor(values, dtype=torch.float64) @ right.T, left


@pytest.mark.parametrize(("n", "d"), [(400, 300), (300, 400), (60, 300), (300, 40)])
def test_leading_vectors_span_the_planted_subspace(n, d):
    values = [50.0 - 2 * i for i in range(10)] + [5.0] * 20
    x, left = spectrum(n, d, values)
    cosines = torch.linalg.svdvals(left[:, :10].T @ leading_left_vectors(x, 10))
    torch.testing.assert_close(cosines, torch.ones(10, dtype=torch.float64), rtol=0, atol=1e-10)


def test_krylov_gives_up_where_there_is_no_gap_and_the_dense_solver_takes_over(monkeypatch):
    x, _ = spectrum(300, 300, [1.0] * 300)
    assert svcca._krylov(x, 10) is None
    found = leading_left_vectors(x, 10)
    torch.testing.assert_close(found.T @ found, torch.eye(10, dtype=torch.float64))


def test_canonical_correlations_of_planted_latents_are_found():
    """Bases that share r of 10 directions exactly score r/10."""
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(200, 16, generator=generator, dtype=torch.float64) - 0.0).Q
    basis = torch.linalg.qr(basis - basis.mean(0)).Q
    mix = torch.linalg.qr(torch.randn(10, 10, generator=generator, dtype=torch.float64)).Q
    x, y = basis[:, :10], basis[:, 6:16] @ mix
    assert metric("svcca", dim=10)(x, y) == pytest.approx(0.4, abs=1e-6)


def test_the_sketch_is_reproducible_and_leaves_the_global_generator_alone():
    x, y = torch.randn(40, 12), torch.randn(40, 15)
    sketch = metric("svcca", dim=4, method="randomized", seed=3)
    state = torch.get_rng_state()
    assert sketch(x, y) == sketch(x, y)
    assert torch.equal(state, torch.get_rng_state())
    assert sketch(x, y) != metric("svcca", dim=4, method="randomized", seed=4)(x, y)


def test_too_narrow_layers_are_refused_with_a_dimension_that_would_do():
    with pytest.raises(DataError, match=r"layer 0 is \(40, 6\).*use dim=6"):
        align(torch.randn(40, 6), torch.randn(40, 20), metric="svcca")


def test_scores_do_not_depend_on_which_layers_stand_beside():
    layers = [torch.randn(50, 12 + i, generator=torch.Generator().manual_seed(i)) for i in range(4)]
    sketch = metric("svcca", dim=3, method="randomized")
    together = align(layers[:2], layers[2:], metric=sketch, normalize=False).scores
    alone = [[sketch(a, b) for b in layers[2:]] for a in layers[:2]]
    np.testing.assert_allclose(together, alone, atol=1e-6)

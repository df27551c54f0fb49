"""The alignment losses."""

import pytest
import torch

from interp_plugins.losses.api import loss
from interp_plugins.losses.cka import debiased_linear_cka, linear_cka
from interp_plugins.losses.eigengap import laplacian_eigenvalues
from interp_registry.errors import DataError, UnknownNameError


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def pairs(generator: torch.Generator, n: int = 10, d: int = 6, e: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    y = torch.randn(n, e, generator=generator, dtype=torch.float64)
    return x, y


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cka", {"center": True}),
        ("cka", {"center": False}),
        ("cka", {"debiased": True}),
        ("svd", {"k": 2}),
        ("svd", {"k": 2, "center": True, "normalize": False, "reduction": "sum"}),
        ("svd", {"k": 9}),
        ("ncut", {"k": 3, "graph": "first"}),
        ("ncut", {"k": 3, "graph": "second", "sigma": 0.7}),
    ],
)
def test_gradients_agree_with_finite_differences(name, options, generator):
    x, y = pairs(generator)
    if name == "ncut":
        options = {"sigma": 0.8, **options}
    torch.autograd.gradcheck(loss(name, **options), (x.requires_grad_(), y.requires_grad_()))


@pytest.mark.parametrize(
    ("name", "options"), [("infonce", {}), ("clip_svd", {"k": 2}), ("ncut", {"k": 3, "sigma": 0.8})]
)
def test_gradients_of_losses_that_need_equal_widths_agree_with_finite_differences(name, options, generator):
    x, y = pairs(generator, d=6, e=6)
    torch.autograd.gradcheck(loss(name, **options), (x.requires_grad_(), y.requires_grad_()))


def test_gradients_reach_the_logit_scale(generator):
    x, y = pairs(generator, d=6, e=6)
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(lambda s: loss("infonce")(x, y, s), (scale,))


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_cka_of_a_matrix_with_its_multiple_is_one(factor, generator):
    x = pairs(generator)[0].float()
    assert linear_cka(x, factor * x).item() == pytest.approx(1, abs=1e-6)
    assert loss("cka", compat=True)(1e-3 * x, 1e-3 * x).item() > -0.999


def test_debiased_cka_of_independent_wide_data_is_near_zero_and_biased_is_not(generator):
    draws = [pairs(generator, n=32, d=512, e=512) for _ in range(5)]
    assert all(abs(debiased_linear_cka(x, y).item()) < 0.1 for x, y in draws)
    assert all(linear_cka(x, y).item() > 0.9 for x, y in draws)


def test_spectral_loss_with_mean_reduction_does_not_change_when_the_batch_is_doubled(generator):
    x, y = pairs(generator)
    value = loss("svd", k=2)
    assert value(torch.cat([x, x]), torch.cat([y, y])).item() == pytest.approx(value(x, y).item(), abs=1e-12)
    total = loss("svd", k=2, reduction="sum")
    assert total(torch.cat([x, x]), torch.cat([y, y])).item() == pytest.approx(2 * total(x, y).item(), rel=1e-12)


def test_half_precision_inputs_are_raised_to_float32(generator):
    x, y = (side.bfloat16() for side in pairs(generator, e=6))
    for name in ("cka", "svd", "clip_svd", "infonce", "ncut"):
        assert loss(name)(x, y).dtype == torch.float32


def test_descent_on_the_eigengap_loss_widens_the_gap_and_the_earlier_sign_fills_in_the_clusters():
    generator = torch.Generator().manual_seed(3)
    centres = torch.tensor([[0.0, 0.0], [2.2, 0.0], [0.0, 2.2]])
    start = centres.repeat_interleave(20, dim=0) + 0.55 * torch.randn(60, 2, generator=generator)

    def train(**options):
        nodes = start.clone().requires_grad_()
        optimiser = torch.optim.Adam([nodes], lr=0.02)
        for _ in range(60):
            optimiser.zero_grad()
            loss("ncut", k=3, sigma=1.0, normalize=False, **options)(nodes).backward()
            optimiser.step()
        values = laplacian_eigenvalues(nodes.detach(), 1.0)
        return (values[3] - values[2]).item(), values[2].item()

    before = laplacian_eigenvalues(start, 1.0)
    gap, third = train()
    assert gap > (before[3] - before[2]).item() + 0.1
    assert train(compat=True, alpha=0.0)[1] > third + 0.3


def test_options_and_names_that_do_not_exist_are_refused_with_a_near_name():
    with pytest.raises(UnknownNameError, match="did you mean infonce"):
        loss("infonc")
    with pytest.raises(UnknownNameError, match="did you mean center"):
        loss("cka", centre=True)


@pytest.mark.parametrize("name", ["infonce", "cka", "svd", "clip_svd", "ncut"])
def test_sides_with_different_numbers_of_rows_are_refused(name):
    with pytest.raises(DataError, match="same number of rows"):
        loss(name)(torch.zeros(3, 2), torch.zeros(4, 2))


def test_values_outside_their_range_are_refused():
    with pytest.raises(DataError, match="k is 0"):
        loss("svd", k=0)(torch.ones(3, 2), torch.ones(3, 2))
    with pytest.raises(DataError, match="k is 3"):
        loss("ncut", k=3)(torch.zeros(3))
    with pytest.raises(DataError, match="'median'"):
        loss("svd", reduction="median")(torch.ones(3, 2), torch.ones(3, 2))
    with pytest.raises(DataError, match="4"):
        loss("cka", debiased=True)(torch.ones(3, 2), torch.ones(3, 2))
    with pytest.raises(DataError, match="positive width"):
        laplacian_eigenvalues(torch.ones(5, 2))

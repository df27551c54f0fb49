"""The emulated device refuses what Apple's MPS refuses, in torch's words, and computes everything else as the CPU does."""

import copy
import threading

import numpy as np
import pytest
import torch
from emulated_mps import DEVICE, MpsTensor, emulated_mps


@pytest.fixture(autouse=True)
def emulation():
    with emulated_mps() as emulation:
        yield emulation


@pytest.mark.parametrize(
    "compute",
    [
        lambda x: x.double(),
        lambda x: x.to(torch.float64),
        lambda x: x.mean(dim=0, dtype=torch.float64).to(x.dtype),
        lambda x: x.new_zeros(3, dtype=torch.float64),
        lambda _: torch.zeros(3, dtype=torch.float64, device="mps"),
        lambda _: torch.as_tensor(np.zeros(3), device="mps"),
        lambda _: torch.from_numpy(np.zeros(3)).to("mps"),
        lambda _: torch.nn.Linear(2, 2).double().to("mps"),
    ],
)
def test_no_float64_comes_to_be_on_the_device(compute):
    x = torch.ones(3, 2, device="mps")
    with pytest.raises(TypeError, match="the MPS framework doesn't support float64"):
        compute(x)


@pytest.mark.parametrize(
    ("compute", "error", "words"),
    [
        (torch.pdist, NotImplementedError, "aten::_pdist_forward"),
        (lambda x: torch.linalg.eigvalsh(x.T @ x), NotImplementedError, "aten::_linalg_eigh"),
        (lambda x: x + torch.ones(3, 2), RuntimeError, "at least two devices"),
        (lambda x: torch.ones(3, 2)[x[:, 0].long()], RuntimeError, "on the same device"),
        (lambda x: x.numpy(), TypeError, r"Use Tensor.cpu\(\)"),
        (np.asarray, TypeError, r"Use Tensor.cpu\(\)"),
        (lambda _: torch.rand(2, device="mps", generator=torch.Generator()), RuntimeError, "generator"),
        (lambda _: torch.rand(2, generator=torch.Generator("mps")), RuntimeError, "generator"),
    ],
)
def test_what_the_device_lacks_is_refused(compute, error, words):
    with pytest.raises(error, match=words):
        compute(torch.ones(3, 2, device="mps"))


def test_numbers_and_sizes_are_those_of_the_cpu(emulation):
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    on_device = x.to("mps")
    assert on_device.device == DEVICE
    assert torch.tensor(1.5, device="mps").dtype == torch.float32
    product = on_device @ on_device.T
    assert isinstance(product, MpsTensor)
    assert type(product.cpu()) is torch.Tensor
    assert torch.equal(product.cpu(), x @ x.T)
    assert emulation.n_kernels > 0


def test_a_module_moves_there_trains_is_copied_and_comes_back():
    x, target = torch.ones(4, 3), torch.zeros(4, 2)
    here = torch.nn.Linear(3, 2)
    there = copy.deepcopy(here).to("mps")
    for module, device in ((here, "cpu"), (there, "mps")):
        (module(x.to(device)) - target.to(device)).square().mean().backward()
        assert module.weight.grad.device.type == device
        with torch.no_grad():
            module.weight -= 0.1 * module.weight.grad
    assert copy.deepcopy(there).weight.device == DEVICE
    assert isinstance(there.weight, torch.nn.Parameter)
    assert torch.equal(there.to("cpu").weight, here.weight)
    assert type(there.weight) is torch.nn.Parameter


def test_the_device_is_there_in_threads_and_gone_afterwards():
    found = []
    thread = threading.Thread(target=lambda: found.append(torch.ones(2).to("mps").device))
    thread.start()
    thread.join()
    assert found == [DEVICE]

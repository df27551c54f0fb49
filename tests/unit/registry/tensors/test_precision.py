"""Float64 is computed on the device itself, or on the CPU where it has none."""

import pytest
import torch
from emulated_mps import emulated_mps

from interp_registry.tensors.precision import precise_device, to_float64


@pytest.mark.parametrize(
    ("device", "expected"), [("cpu", "cpu"), ("cuda:1", "cuda:1"), ("mps", "cpu"), (torch.device("mps", 0), "cpu")]
)
def test_only_a_device_without_float64_gives_way_to_the_cpu(device, expected):
    assert precise_device(device) == torch.device(expected)


def test_numbers_of_a_device_without_float64_become_float64_on_the_cpu_and_pass_gradients_back():
    with emulated_mps():
        x = torch.tensor([1.0, 2.0], device="mps", requires_grad=True)
        found = to_float64(x)
        assert (found.device.type, found.dtype) == ("cpu", torch.float64)
        found.square().sum().backward()
        assert x.grad.device.type == "mps"
        assert x.grad.tolist() == [2.0, 4.0]


def test_float64_of_the_cpu_is_not_copied():
    x = torch.ones(3, dtype=torch.float64)
    assert to_float64(x) is x

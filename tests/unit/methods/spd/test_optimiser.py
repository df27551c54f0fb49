"""AdamW of a decomposition."""

import pytest
import torch
from torch.testing import assert_close

from interp_plugins.methods.spd.optimiser import SequentialAdamW


def _pair():
    g = torch.Generator().manual_seed(0)
    start = [torch.randn(4, 3, generator=g), torch.randn(5, generator=g)]
    grads = [[torch.randn(p.shape, generator=g) for p in start] for _ in range(5)]
    return start, grads


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_updates_equal_those_of_torch(weight_decay):
    start, grads = _pair()
    mine, theirs = ([torch.nn.Parameter(p.clone()) for p in start] for _ in range(2))
    ours = SequentialAdamW(mine, 1e-2, weight_decay=weight_decay)
    reference = torch.optim.AdamW(theirs, lr=1e-2, weight_decay=weight_decay, foreach=False)
    for step in grads:
        for parameters, optimiser in ((mine, ours), (theirs, reference)):
            for parameter, grad in zip(parameters, step, strict=True):
                parameter.grad = grad.clone()
            optimiser.step()
            optimiser.zero_grad()
    assert all(p.grad is None for p in mine)
    for a, b in zip(mine, theirs, strict=True):
        assert_close(a, b, rtol=1e-5, atol=1e-7)


def test_going_on_from_a_state_is_going_on():
    start, grads = _pair()
    whole = [torch.nn.Parameter(p.clone()) for p in start]
    optimiser = SequentialAdamW(whole, 1e-2)
    for i, step in enumerate(grads):
        if i == 3:
            halfway = [torch.nn.Parameter(p.detach().clone()) for p in whole]
            resumed = SequentialAdamW(halfway, 1e-2)
            resumed.load_state_dict(dict(optimiser.state_dict()))
        for p, g in zip(whole, step, strict=True):
            p.grad = g
        optimiser.step()
        if i >= 3:
            for p, g in zip(halfway, step, strict=True):
                p.grad = g
            resumed.step()
    for a, b in zip(whole, halfway, strict=True):
        assert torch.equal(a, b)


def test_a_parameter_on_shared_storage_is_updated_twice_and_each_time_from_where_it_is():
    storage = torch.ones(2)
    first, second = torch.nn.Parameter(storage), torch.nn.Parameter(storage)
    optimiser = SequentialAdamW([first, second], 0.1, weight_decay=0.5)
    first.grad, second.grad = torch.ones(2), -torch.ones(2)
    optimiser.step()
    want = (1 * 0.95 - 0.1) * 0.95 + 0.1
    assert_close(storage, torch.full((2,), want))

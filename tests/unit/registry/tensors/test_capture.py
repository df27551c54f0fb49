"""Reading and replacing activations with hooks (default tier)."""

import pytest
import torch
from torch import nn

from interp_registry.tensors.capture import EarlyExit, Site, capture_sites, hidden_of, swap_at
from interp_registry.tensors.layers import Layer


class Doubling(nn.Module):
    """Returns a tuple, as many blocks do, and takes its input by name."""

    def forward(self, hidden_states):
        return (2 * hidden_states, "cache")


class Network(nn.Module):
    """Two blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Doubling(), Doubling()])

    def forward(self, hidden):
        for block in self.blocks:
            hidden = block(hidden_states=hidden)[0]
        return hidden


@pytest.fixture
def network():
    return Network()


@pytest.fixture
def sites(network):
    return {Layer(0): Site(network.blocks[0], "input"), Layer(1): Site(network.blocks[0]), Layer(2): Site(network)}


def test_inputs_and_outputs_are_seen_whatever_their_form(network, sites) -> None:
    x = torch.ones(2, 3, 4)
    with capture_sites(sites) as capture:
        network(x)
    assert {layer.index: float(value.mean()) for layer, value in capture.values.items()} == {0: 1, 1: 2, 2: 4}


def test_reduce_runs_in_the_hook_and_only_its_result_is_kept(network, sites) -> None:
    with capture_sites(sites, lambda layer, hidden: (layer.index, hidden.shape)) as capture:
        network(torch.ones(2, 3, 4))
    assert capture[Layer(1)] == (1, (2, 3, 4))


def test_taking_the_values_forgets_them(network, sites) -> None:
    with capture_sites(sites) as capture:
        network(torch.ones(1, 2, 3))
        assert len(capture.take()) == 3
        assert capture.values == {}


def test_an_early_exit_is_raised_in_every_pass_once_all_is_seen(network, sites) -> None:
    with capture_sites({Layer(1): sites[Layer(1)]}, early_exit=True) as capture:
        for _ in range(2):
            with pytest.raises(EarlyExit):
                network(torch.ones(1, 2, 3))
            assert list(capture.take()) == [Layer(1)]


def test_a_swap_is_out_of_place_and_differentiable(network, sites) -> None:
    x = torch.ones(2, 3, 4)
    new = torch.zeros(2, 4, requires_grad=True)
    with swap_at(sites[Layer(1)], torch.tensor([0, 2]), new):
        out = network(x)
    assert float(x.sum()) == 24
    assert out[0, 0].tolist() == [0.0] * 4
    assert out[1, 2].tolist() == [0.0] * 4
    assert out[0, 1].tolist() == [4.0] * 4
    out.sum().backward()
    assert torch.equal(new.grad, torch.full((2, 4), 2.0))


@pytest.mark.parametrize("where", [0, 1])
def test_several_positions_can_be_swapped_at_inputs_and_outputs(network, sites, where) -> None:
    places = torch.tensor([[0, 1], [1, 2]])
    with swap_at(sites[Layer(where)], places, torch.zeros(2, 2, 4)):
        out = network(torch.ones(2, 3, 4))
    assert (out[:, :, 0] == 0).tolist() == [[True, True, False], [False, True, True]]
    assert float(network(torch.ones(2, 3, 4)).min()) == 4


def test_hooks_are_removed_when_one_of_them_raises(network, sites) -> None:
    def fail(_layer, _hidden):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"), capture_sites(sites, fail):
        network(torch.ones(1, 2, 3))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_hidden_states_are_found_in_what_networks_return() -> None:
    class Output(dict):
        last_hidden_state = torch.ones(1)

    assert torch.equal(hidden_of(Output()), torch.ones(1))
    assert torch.equal(hidden_of((torch.zeros(2), None)), torch.zeros(2))

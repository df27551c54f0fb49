"""Cutting causal language models at a layer: one convention, exact swaps, and the single-token tail."""

import pytest
import tiny_models
import torch
from tiny_models import CAUSAL
from transformers import AutoModelForCausalLM

from interp_plugins.methods.lens.parts import Parts
from interp_registry.errors import UsageError
from interp_registry.tensors.layers import Layer

L = 4


def all_positions(ids):
    return torch.arange(ids.shape[1]).expand(len(ids), -1)


def n_hooks(network):
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules())


def relative(a, b):
    return float((a - b).abs().max() / b.abs().max())


@torch.no_grad()
def hidden_states(model, batch):
    return model.base(**batch.inputs, output_hidden_states=True, use_cache=False).hidden_states


@torch.no_grad()
def test_layers_are_the_hidden_states_and_the_last_is_before_the_norm(causal, texts):
    parts, (ids, mask) = Parts(causal), texts
    states = hidden_states(causal, parts.batch(ids, mask))
    for layer in range(L):
        assert torch.equal(parts.activations(ids, mask, layer), states[layer])
    last = parts.activations(ids, mask, L)
    assert not torch.allclose(last, states[L])
    assert torch.equal(causal.final_norm(last), states[L])


@torch.no_grad()
def test_embeddings_go_through_the_embedding_module(causal, texts):
    parts, (ids, mask) = Parts(causal), texts
    for layer in range(L + 1):
        from_embeddings = parts.to_layer(parts.embed(ids), mask, layer)
        assert torch.equal(from_embeddings, parts.activations(ids, mask, layer))


@torch.no_grad()
def test_an_identity_swap_leaves_the_logits_bit_equal_at_every_layer_and_position(causal, texts):
    parts, (ids, mask) = Parts(causal), texts
    everywhere = torch.arange(12)  # row i is swapped at position i; the last rows are the short texts
    rows = torch.tensor([0] * 12 + [1, 2, 3, 4])
    positions = torch.cat([everywhere, torch.tensor([2, 6, 0, 4])])
    batch, read = parts.batch(ids[rows], mask[rows]), all_positions(ids[rows])
    plain = parts.logits(batch, read)
    for layer in range(L + 1):
        own = parts.activations(ids[rows], mask[rows], layer)[torch.arange(16), positions]
        assert torch.equal(parts.from_layer(batch, layer, positions, own, read), plain)


@torch.no_grad()
def test_a_swap_changes_its_position_and_nothing_before_it(causal, texts):
    parts, (ids, mask) = Parts(causal), texts
    batch, read = parts.batch(ids, mask), all_positions(ids)
    plain = parts.logits(batch, read)
    positions = torch.tensor([6, 1, 3, 8, 4])
    for layer in range(L + 1):
        swapped = parts.from_layer(batch, layer, positions, torch.randn(5, 32), read)
        for row, position in enumerate(positions.tolist()):
            assert torch.equal(swapped[row, :position], plain[row, :position])
            assert not torch.equal(swapped[row, position], plain[row, position])


def test_a_swap_is_gone_after_an_exception(causal, texts):
    parts, (ids, mask) = Parts(causal), texts
    batch, read = parts.batch(ids, mask), all_positions(ids)
    plain = parts.logits(batch, read)
    assert parts.has_tail
    before = n_hooks(causal.module)
    with pytest.raises(RuntimeError):  # values of a width that does not fit
        parts.from_layer(batch, 2, torch.zeros(5, dtype=torch.long), torch.zeros(5, 7), read)
    parts.tail(parts.prefix(ids, mask, 2), torch.zeros(5, dtype=torch.long), torch.zeros(5, 32))
    with pytest.raises(RuntimeError):
        parts.tail(parts.prefix(ids, mask, 2), torch.zeros(5, dtype=torch.long), torch.zeros(5, 7))
    assert torch.equal(parts.logits(batch, read), plain)
    assert n_hooks(causal.module) == before


@torch.no_grad()
def test_mixed_positions_in_a_batch_equal_calls_row_by_row(causal, texts):
    parts, (ids, mask) = Parts(causal), texts
    positions, values = torch.tensor([11, 2, 0, 5, 4]), torch.randn(5, 32)
    for layer in (0, 2, L):
        together = parts.from_layer(parts.batch(ids, mask), layer, positions, values)
        for row in range(5):
            length = int(mask[row].sum())
            alone = parts.batch(ids[row : row + 1, :length], mask[row : row + 1, :length])
            single = parts.from_layer(alone, layer, positions[row : row + 1], values[row : row + 1])
            assert relative(together[row], single[0]) < 5e-6


def test_the_tail_equals_the_full_pass_with_its_gradient(causal, texts):
    parts, (ids, mask) = Parts(causal), texts
    assert parts.has_tail
    positions = torch.tensor([11, 2, 0, 5, 4])
    for layer in range(L + 1):
        start = torch.randn(5, 32, generator=torch.Generator().manual_seed(layer))
        prefix = parts.prefix(ids, mask, layer)
        found = []
        for run in (
            lambda values, layer=layer: parts.from_layer(parts.batch(ids, mask), layer, positions, values)[:, 0],
            lambda values, prefix=prefix: parts.tail(prefix, positions, values),
        ):
            values = start.clone().requires_grad_()
            logits = run(values)
            (gradient,) = torch.autograd.grad(logits.log_softmax(-1)[:, 7].sum(), values)
            found.append((logits.detach(), gradient))
        (full, full_gradient), (short, short_gradient) = found
        assert relative(short, full) < 1e-4
        assert relative(short_gradient, full_gradient) < 1e-4
        assert float(full_gradient.abs().min()) > 0 or layer == L


@torch.no_grad()
def test_a_prefix_serves_several_positions_of_a_text_and_is_not_used_up(llama, texts):
    parts, (ids, mask) = Parts(llama), texts
    prefix = parts.prefix(ids, mask, 2)
    rows, positions, values = torch.tensor([0, 0, 3]), torch.tensor([4, 9, 2]), torch.randn(3, 32)
    first = parts.tail(prefix.rows(rows), positions, values)
    again = parts.tail(prefix.rows(rows), positions, values)
    full = parts.from_layer(parts.batch(ids[rows], mask[rows]), 2, positions, values)[:, 0]
    assert torch.equal(first, again)
    assert relative(first, full) < 1e-4
    assert prefix.keys[0].shape[2] == ids.shape[1]


def test_a_deep_copy_of_the_truncated_stack_has_only_its_blocks(llama):
    import copy

    parts = Parts(llama)
    cut = copy.deepcopy(parts.truncated(2))
    names = {name.split(".")[1] for name, _ in cut.named_parameters() if name.startswith("layers.")}
    assert names == {"0", "1"}
    assert len(list(llama.base.layers)) == L


@pytest.mark.parametrize("family", sorted(CAUSAL))
@torch.no_grad()
def test_every_family_has_the_cut_and_the_tail_or_says_that_it_has_none(family, texts):
    from interp_plugins.models.wrapping import wrap_module

    model = wrap_module(
        tiny_models.build(AutoModelForCausalLM, tiny_models.language_config(family)), tiny_models.tokenizer()
    )
    parts, (ids, mask) = Parts(model), texts
    states = hidden_states(model, parts.batch(ids, mask))
    assert torch.equal(parts.activations(ids, mask, 1), states[1])
    positions, values = torch.tensor([11, 2, 0, 5, 4]), torch.randn(5, parts.width)
    full = parts.from_layer(parts.batch(ids, mask), 1, positions, values)[:, 0]
    assert parts.has_tail == (family not in {"bloom", "mpt", "falcon-alibi"})
    if parts.has_tail:
        assert relative(parts.tail(parts.prefix(ids, mask, 1), positions, values), full) < 1e-4
    else:
        with pytest.raises(UsageError, match="by itself"):
            parts.tail(parts.prefix(ids, mask, 1), positions, values)


def test_layers_beyond_the_last_and_models_that_predict_nothing_are_refused(llama):
    assert Parts(llama).address(L) == Layer(L, pre_norm=True)
    with pytest.raises(UsageError, match="0 to 4"):
        Parts(llama).address(5)

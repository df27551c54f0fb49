"""Text written with gradients: straight-through choices, the cache, what is forbidden."""

import copy

import pytest
import torch
from torch.testing import assert_close

from interp_plugins.methods.lens.consistency.generation import (
    FORBIDDEN,
    Sampling,
    generate,
    gumbel_noise,
    straight_through,
)
from interp_plugins.methods.lens.parts import Parts


def source(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def writer(causal):
    """A network with gradients, its embedding table, and a prompt of four embeddings for five rows."""
    model = copy.deepcopy(causal)
    table = Parts(model).embed(torch.arange(64)).detach()
    prompt = torch.randn(5, 4, table.shape[1], generator=source(1)) * table.std()
    return model.module.requires_grad_(True), table, prompt


def written_with_gradients(writer, **how):
    network, table, prompt = writer
    prompt = prompt.clone().requires_grad_()
    network.zero_grad()
    written = generate(network, table, prompt, Sampling(6, generator=source(3), **how))
    upstream = torch.randn(written.embeddings.shape, generator=source(4))
    ((written.embeddings * upstream).sum() + written.logits.logsumexp(-1).sum()).backward()
    gradients = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    return written, prompt.grad, gradients


@pytest.mark.parametrize("tau", [0.3, 1.0, 4.0])
def test_the_gradient_of_a_choice_is_the_softmax_jacobian_over_tau(tau):
    scores = torch.randn(3, 7, dtype=torch.float64, generator=source()).requires_grad_()
    upstream = torch.randn(3, 7, dtype=torch.float64, generator=source(1))
    straight_through(scores, tau).backward(upstream)
    for row in range(3):
        y = (scores[row].detach() / tau).softmax(-1)
        jacobian = (torch.diag(y) - torch.outer(y, y)) / tau
        assert (scores.grad[row] - jacobian @ upstream[row]).abs().max() < 1e-12


def test_a_choice_is_one_hot_to_the_last_bit():
    scores = 30 * torch.randn(500, 40, generator=source())
    chosen = straight_through(scores.requires_grad_(), 0.7)
    assert torch.equal(chosen, torch.nn.functional.one_hot(scores.argmax(-1), 40).float())


def test_tokens_are_draws_from_the_softmax_whatever_tau_is():
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0, 0.5])
    n = 100_000
    scores = logits + gumbel_noise(torch.Size([n, 5]), logits, source(5))
    counts = [straight_through(scores, tau).sum(0) for tau in (0.1, 1.0, 10.0)]
    assert torch.equal(counts[0], counts[1])
    assert torch.equal(counts[0], counts[2])
    p = logits.double().softmax(-1)
    assert ((counts[0] / n - p).abs() < 3 * (p * (1 - p) / n).sqrt()).all()


@pytest.mark.parametrize("other", [{"cached": False}, {"checkpointing": True}], ids=["uncached", "checkpointed"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_cached_writing_equals_the_other_ways_in_tokens_logits_and_gradients(writer, other, temperature):
    cached, at_prompt, gradients = written_with_gradients(writer, temperature=temperature)
    again, at_prompt_again, gradients_again = written_with_gradients(writer, temperature=temperature, **other)
    assert torch.equal(cached.token_ids, again.token_ids)
    assert_close(cached.logits, again.logits, atol=2e-5, rtol=0)
    assert (at_prompt - at_prompt_again).norm() <= 1e-5 * at_prompt.norm()
    assert gradients.keys() == gradients_again.keys()
    largest = max(gradient.norm() for gradient in gradients.values())
    for name, gradient in gradients.items():
        assert (gradient - gradients_again[name]).norm() <= 1e-5 * gradient.norm() + 1e-7 * largest, name


def test_checkpointing_keeps_less_for_the_backward_pass(writer):
    def kept(**how):
        storages = {}

        def pack(tensor):
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        network, table, prompt = writer
        parameters = {p.untyped_storage().data_ptr() for p in network.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            written = generate(network, table, prompt, Sampling(16, generator=source(3), **how))
        assert written.embeddings.requires_grad
        return sum(size for where, size in storages.items() if where not in parameters)

    assert kept(checkpointing=True) < 0.5 * kept()


def test_greedy_writing_is_what_the_library_generates(llama):
    network = llama.module
    table = Parts(llama).embed(torch.arange(64)).detach()
    prompt = torch.randn(3, 4, 32, generator=source(2)) * table.std()
    with torch.no_grad():
        ours = generate(network, table, prompt, Sampling(8, temperature=0.0))
        theirs = network.generate(
            inputs_embeds=prompt, attention_mask=torch.ones(3, 4), max_new_tokens=8, do_sample=False, eos_token_id=None
        )
    assert torch.equal(ours.token_ids, theirs)
    assert ours.choices is None


def test_embeddings_are_those_of_the_embedding_module(causal):
    parts = Parts(causal)
    table = parts.embed(torch.arange(64)).detach()
    written = generate(causal.module, table, table[torch.tensor([[2, 7]])], Sampling(5, generator=source()))
    assert_close(written.embeddings, parts.embed(written.token_ids), atol=1e-6, rtol=0)


def test_log_probabilities_are_those_of_one_pass_over_the_whole_text(causal):
    table = Parts(causal).embed(torch.arange(64)).detach()
    prompt = table[torch.tensor([[2, 7], [2, 9]])]
    with torch.no_grad():
        written = generate(causal.module, table, prompt, Sampling(5, generator=source()))
        logits = causal.module(inputs_embeds=torch.cat([prompt, written.embeddings], 1)).logits[:, 1:-1]
    expected = logits.log_softmax(-1).gather(-1, written.token_ids[..., None])[..., 0]
    assert_close(written.logprobs, expected, atol=2e-5, rtol=0)


def test_forbidden_tokens_are_never_written_and_get_no_gradient(llama):
    table = Parts(llama).embed(torch.arange(64)).detach()
    forbidden = torch.ones(64, dtype=torch.bool)
    forbidden[[5, 6]] = False
    prompt = table[torch.tensor([[2, 7]])].expand(40, -1, -1).clone().requires_grad_()
    written = generate(llama.module, table, prompt, Sampling(4, generator=source(), forbidden=forbidden))
    assert set(written.token_ids.unique().tolist()) == {5, 6}
    assert (written.logits[..., forbidden] == FORBIDDEN).all()
    written.embeddings.square().sum().backward()
    assert torch.isfinite(prompt.grad).all()


def test_noise_is_a_function_of_the_seed(llama):
    table = Parts(llama).embed(torch.arange(64)).detach()
    prompt = table[torch.tensor([[2, 7]])].expand(8, -1, -1)
    first, again, other = (
        generate(llama.module, table, prompt, Sampling(6, generator=source(seed))).token_ids for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)

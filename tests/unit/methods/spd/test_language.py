"""Language models as targets: linear, embedding and Conv1D modules."""

import pytest
import torch
from torch.testing import assert_close
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from interp_plugins.methods.spd import loss_config as losses
from interp_plugins.methods.spd.building import build_decomposition
from interp_plugins.methods.spd.config import DecomposeConfig, SharedMlpConfig
from interp_plugins.methods.spd.masks import Masks
from interp_plugins.methods.spd.targets.language import LanguageTarget, token_rows
from interp_registry.errors import DataError, UsageError

LLAMA = {"*.mlp.*_proj": 5, "*.q_proj": 4, "model.embed_tokens": 6}
GPT2 = {"*.mlp.c_fc": 5, "transformer.wte": 4}


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    small = {"vocab_size": 23, "num_hidden_layers": 2, "num_attention_heads": 2}
    llama = LlamaForCausalLM(LlamaConfig(hidden_size=16, intermediate_size=20, **small))
    gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=23, n_embd=16, n_layer=2, n_head=2, n_positions=32))
    return {"llama": (LanguageTarget(llama), LLAMA), "gpt2": (LanguageTarget(gpt2), GPT2)}


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_masks_of_one_with_delta_give_the_logits_exactly_and_the_model_is_left_as_it_was(name, networks, source, begin):
    target, patterns = networks[name]
    model = build_decomposition(DecomposeConfig(components=patterns), target, source)
    ids = torch.randint(0, 23, (3, 7), generator=source)
    with torch.no_grad():
        logits = target.network(ids).logits
    step = begin(model, ids, delta=True, distance="kl")
    assert torch.equal(step.known.output, logits)
    ones = Masks(kept=tuple(torch.ones_like(h) for h in step.inner), deltas=torch.ones(3, 7, len(model.sites)))
    assert torch.equal(model.masked_output(step.known, step.inner, ones), logits)
    zeros = Masks(kept=tuple(torch.zeros_like(h) for h in step.inner))
    assert not torch.allclose(model.masked_output(step.known, step.inner, zeros), logits)
    with torch.no_grad():
        assert torch.equal(target.network(ids).logits, logits)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_losses_give_gradients_to_components_and_importances_only(name, networks, source, begin):
    target, patterns = networks[name]
    model = build_decomposition(DecomposeConfig(components=patterns), target, source)
    step = begin(model, torch.randint(0, 23, (2, 5), generator=source), delta=True, distance="kl")
    terms = [losses.StochasticReconConfig(over="subset"), losses.StochasticReconConfig(over="layerwise"),
             losses.ImportanceMinimalityConfig(p=0.9), losses.PgdReconConfig(n_steps=2),
             losses.PersistentReconConfig(n_warmup=1), losses.HiddenActivationsConfig()]  # fmt: skip
    total = sum(term.build()(step) for term in terms)
    assert torch.isfinite(total)
    total.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.component_parameters())
    assert all(p.grad is None for p in target.network.parameters())


def test_weights_are_input_by_output_for_every_kind_of_module(networks):
    llama, gpt2 = networks["llama"][0], networks["gpt2"][0]
    assert llama.weight("model.layers.0.mlp.gate_proj").shape == (16, 20)
    assert llama.weight("model.embed_tokens").shape == (23, 16)
    assert gpt2.weight("transformer.h.0.mlp.c_fc").shape == (16, 64)
    assert_close(gpt2.bias("transformer.h.0.mlp.c_fc"), gpt2.network.transformer.h[0].mlp.c_fc.bias)


def test_vector_importances_refuse_embeddings(networks, source):
    target, patterns = networks["llama"]
    with pytest.raises(UsageError, match="an embedding has none"):
        build_decomposition(DecomposeConfig(components=patterns, importance=SharedMlpConfig()), target, source)


def test_texts_are_joined_and_cut_into_rows():
    assert token_rows([[1, 2, 3], [4, 5], [6]], 3).tolist() == [[1, 2, 3], [4, 5, 6]]
    with pytest.raises(DataError, match="do not fill"):
        token_rows([[1, 2, 3]], 3)

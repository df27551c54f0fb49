"""Language models as targets: linear, embedding and Conv1D modules."""

import pytest
import torch
from torch.testing import assert_close
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from interp_plugins.methods.spd import loss_config as losses
from interp_plugins.methods.spd.building import build_decomposition
from interp_plugins.methods.spd.config import DecomposeConfig, GlobalTransformerConfig, SharedMlpConfig
from interp_plugins.methods.spd.evaluation import Evaluation
from interp_plugins.methods.spd.masks import Masks
from interp_plugins.methods.spd.metric_config import MultiBatchPgdConfig, SubsetCeKlConfig
from interp_plugins.methods.spd.targets.language import LanguageTarget, token_rows
from interp_plugins.methods.spd.transformer_importance import rotate
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


def _components_of(networks, source, importance=None, patterns=None):
    target, all_patterns = networks["llama"]
    config = DecomposeConfig(components=patterns or all_patterns)
    config.importance = importance or config.importance
    return build_decomposition(config, target, source), config


@pytest.mark.parametrize("unembed", [False, True])
def test_embedding_reconstruction_is_the_error_of_the_embedding_under_masks(networks, source, begin, unembed):
    model, _ = _components_of(networks, source)
    ids = torch.randint(0, 23, (2, 5), generator=source)
    step = begin(model, ids)
    step.draws = _Fixed(step)
    got = losses.EmbeddingReconConfig(unembed=unembed).build()(step)
    network = model.target.network
    v, u = model.v("model.embed_tokens"), model.u("model.embed_tokens")
    span = model.spans["model.embed_tokens"]
    ci = step.lower[..., span]
    out, want = ((v[ids] * (ci + (1 - ci) * 0.25)) @ u), network.model.embed_tokens(ids)
    if unembed:
        log_p, log_q = network.lm_head(want).log_softmax(-1), network.lm_head(out).log_softmax(-1)
        assert_close(got, (log_p.exp() * (log_p - log_q)).sum(-1).mean())
    else:
        assert_close(got, (out - want).square().sum(-1).mean())
    got.backward()
    assert model.component_parameters()[0].grad is not None


class _Fixed:
    """Every source is a quarter."""

    def __init__(self, step):
        self.shape = step.lower.shape

    def component_sources(self, lead, widths, *, binary):
        return torch.full(self.shape, 0.25)


def test_embedding_reconstruction_wants_one_embedding(networks, source, begin):
    model, _ = _components_of(networks, source, patterns={"*.q_proj": 4})
    step = begin(model, torch.randint(0, 23, (2, 5), generator=source))
    with pytest.raises(UsageError, match="0 embeddings are decomposed"):
        losses.EmbeddingReconConfig().build()(step)


def _evaluation(model, config, source):
    config.n_eval_batches, config.eval_batch_size, config.distance = 2, 3, "kl"
    rows = torch.randint(0, 23, (16, 5), generator=source)
    return Evaluation(model, config, lambda n, g: rows[torch.randint(0, 16, (n,), generator=g)], seed=0)


def test_a_subset_replaces_its_modules_only(networks, source):
    model, config = _components_of(networks, source)
    evaluation = _evaluation(model, config, torch.Generator().manual_seed(5))
    everything = SubsetCeKlConfig(include={"all": ["*"], "mlp": ["*.mlp.*"]}, exclude={"rest": ["*.mlp.*"]}).build()
    found = everything(evaluation).scalars
    assert set(found) == {
        f"subset/{n}/{k}" for n in ("all", "mlp", "rest") for k in ("kl", "ce_difference", "ce_unrecovered")
    }
    assert min(found[f"subset/{name}/kl"] for name in ("all", "mlp", "rest")) > 0
    with torch.no_grad():
        for site in model.sites:
            if ".mlp." not in site.name:
                model.u(site.name).zero_()
    again = everything(_evaluation(model, config, torch.Generator().manual_seed(5))).scalars
    assert again["subset/mlp/kl"] == found["subset/mlp/kl"]
    assert again["subset/rest/kl"] != found["subset/rest/kl"]
    with pytest.raises(UsageError, match="'none' holds no module"):
        SubsetCeKlConfig(include={"none": ["*.nothing"]}).build()(evaluation)


def test_an_adversary_of_several_batches_is_one_for_all_of_them(networks, source):
    model, config = _components_of(networks, source)
    evaluation = _evaluation(model, config, source)
    attack = MultiBatchPgdConfig(start="zeroes", n_steps=4, step_size=0.1, n_batches=1).build()
    alone = losses.PgdReconConfig(start="zeroes", n_steps=4, step_size=0.1).build()
    value = attack(evaluation).scalars["loss/pgd_multi_batch"]
    assert value == pytest.approx(float(alone(evaluation.steps[0]).detach()), rel=1e-6)
    both = (
        MultiBatchPgdConfig(start="zeroes", n_steps=4, step_size=0.1)
        .build()(evaluation)
        .scalars["loss/pgd_multi_batch"]
    )
    start = MultiBatchPgdConfig(start="zeroes", n_steps=0).build()(evaluation).scalars["loss/pgd_multi_batch"]
    own = sum(float(alone(step).detach()) for step in evaluation.steps) / 2
    assert start < both
    assert both == pytest.approx(own, rel=0.2)


def test_transformer_importances_see_the_whole_sequence_and_its_order(networks, source, begin):
    patterns = {"*.mlp.up_proj": 5, "*.q_proj": 4}
    importance = GlobalTransformerConfig(width=16, n_blocks=1, n_heads=2, mlp_width=24)
    model, _ = _components_of(networks, source, importance, patterns)
    inputs = [torch.randn(2, 6, 16, generator=source) for _ in model.sites]
    out = model.importance([], inputs)
    assert out.shape == (2, 6, 18)
    later = [x.clone() for x in inputs]
    later[0][:, -1] += 1
    assert not torch.allclose(model.importance([], later)[:, 0], out[:, 0])
    swapped = model.importance([], [x[:, [1, 0, 2, 3, 4, 5]] for x in inputs])
    assert not torch.allclose(swapped[:, 5], out[:, 5], atol=1e-5)
    assert_close(model.importance([], [3 * x for x in inputs]), out, rtol=1e-3, atol=1e-4)
    step = begin(model, torch.randint(0, 23, (2, 6), generator=source))
    losses.StochasticReconConfig().build()(step).backward()
    assert all(p.grad is not None for p in model.importance.parameters())


def test_rotated_vectors_know_their_distance_only():
    x, y = torch.randn(2, 8)
    turned_x, turned_y = rotate(x.expand(9, 8)), rotate(y.expand(9, 8))
    products = turned_x @ turned_y.T
    assert_close(products.diagonal(2), products[0, 2].expand(7), rtol=1e-4, atol=1e-5)
    assert abs(float(products[0, 2] - products[0, 3])) > 1e-4


def test_transformer_importances_of_a_toy_read_rows_one_by_one(tms, source, begin):
    config = DecomposeConfig(components={"*": 7}, importance=GlobalTransformerConfig(width=8, n_blocks=1, n_heads=2))
    model = build_decomposition(config, tms, source)
    rows = torch.rand(6, 5, generator=source)
    whole = begin(model, rows).unbounded
    assert_close(begin(model, rows[2:4]).unbounded, whole[2:4])
    config.importance.n_heads = 3
    with pytest.raises(UsageError, match="even width"):
        build_decomposition(config, tms, source)

"""Forward passes through components."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from interp_plugins.methods.spd import loss_config as losses
from interp_plugins.methods.spd.config import SharedMlpConfig, VectorMlpConfig
from interp_plugins.methods.spd.masks import Masks, stochastic_masks, uniform_k_routing
from interp_plugins.methods.spd.sites import choose_sites
from interp_plugins.methods.spd.sparse_data import SparseFeatures, nonzero_rows
from interp_plugins.methods.spd.targets.toys import ResidualMlp
from interp_registry.errors import UsageError

TARGETS = ["tms", "residual"]


def _batch(target, n_rows=9, seed=3):
    return torch.randn(n_rows, target.n_features, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", TARGETS)
def test_masks_of_one_with_the_delta_component_give_the_targets_output_exactly(name, request, decompose, begin):
    target = request.getfixturevalue(name)
    model = decompose(target)
    step = begin(model, _batch(target), delta=True)
    ones = Masks(kept=tuple(torch.ones_like(h) for h in step.inner), deltas=torch.ones(9, len(model.sites)))
    assert torch.equal(model.masked_output(step.known, step.inner, ones), step.known.output)


@pytest.mark.parametrize("name", TARGETS)
def test_components_that_sum_to_the_weights_give_the_targets_output(name, request, decompose, begin):
    target = request.getfixturevalue(name)
    model = decompose(target)
    with torch.no_grad():
        for site in model.sites:
            weight = model.weight(site.name)
            rank = min(weight.shape)
            left, values, right = torch.linalg.svd(weight, full_matrices=False)
            model.v(site.name)[:, :rank].copy_(left)
            model.u(site.name)[:rank].copy_(values[:, None] * right)
            model.u(site.name)[rank:].zero_()
    step = begin(model, _batch(target))
    assert_close(model.masked_output(step.known, step.inner, Masks()), step.known.output, rtol=1e-4, atol=1e-4)
    assert float(losses.FaithfulnessConfig().build()(step).detach()) < 1e-10


@pytest.mark.parametrize("name", TARGETS)
def test_a_layerwise_pass_equals_a_pass_that_routes_one_module(name, request, decompose, begin):
    target = request.getfixturevalue(name)
    model = decompose(target)
    step = begin(model, _batch(target), delta=True)
    masks = stochastic_masks(step.lower_parts, step.draws, delta=True)
    for i, site in enumerate(model.sites):
        route = torch.zeros(9, len(model.sites), dtype=torch.bool)
        route[:, i] = True
        routed = model.masked_output(step.known, step.inner, replace(masks, routing=route))
        assert_close(model.masked_output(step.known, step.inner, masks, only=site.name), routed, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", TARGETS)
def test_routing_nowhere_leaves_the_target_alone(name, request, decompose, begin):
    target = request.getfixturevalue(name)
    model = decompose(target)
    step = begin(model, _batch(target))
    masks = Masks(kept=step.lower_parts, routing=torch.zeros(9, len(model.sites), dtype=torch.bool))
    assert_close(model.masked_output(step.known, step.inner, masks), step.known.output, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("importance", [None, VectorMlpConfig([3]), SharedMlpConfig([5])])
def test_zero_rows_taken_once_give_the_same_losses_and_gradients(name, importance, request, decompose, begin):
    target = request.getfixturevalue(name)
    model = decompose(target, **({"importance": importance} if importance else {}))
    batch = SparseFeatures(target.n_features, 0.1, -1, 1).batch(200, torch.Generator().manual_seed(0))
    rows, weights = nonzero_rows(batch)
    assert len(rows) < 150
    assert float(weights.sum()) == 200
    terms = [losses.ImportanceMinimalityConfig(p=2.0, beta=0.5), losses.ImportanceMinimalityConfig(p=0.7),
             losses.MaskedReconConfig(), losses.UnmaskedReconConfig(), losses.SchattenConfig(),
             losses.MaskedReconConfig(over="layerwise"), losses.FrequencyMinimalityConfig()]  # fmt: skip
    every, once = begin(model, batch), begin(model, rows, weights)
    parameters = list(model.parameters())
    for term in (config.build() for config in terms):
        a, b = term(every), term(once)
        assert_close(b, a, rtol=1e-5, atol=1e-7)
        grads = [torch.autograd.grad(v, parameters, retain_graph=True, allow_unused=True) for v in (a, b)]
        for want, got in zip(*grads, strict=True):
            if want is not None:
                assert_close(got, want, rtol=1e-4, atol=1e-5 * float(want.abs().max()) + 1e-9)


def test_runs_in_a_batch_equal_runs_one_by_one(residual, decompose, begin):
    def run(i):
        weights = {name: w * (1 + i) for name, w in residual.weights.items()}
        return ResidualMlp(weights, {}, embedding=residual.embedding, unembedding=residual.unembedding)

    singles = [decompose(run(i)) for i in range(3)]
    stacked = ResidualMlp(
        {name: torch.stack([s.target.weights[name] for s in singles]) for name in residual.weights}, {}, 1,
        embedding=residual.embedding.expand(3, -1, -1), unembedding=residual.unembedding.expand(3, -1, -1),
    )  # fmt: skip
    batched = decompose(stacked)
    with torch.no_grad():
        for pair in zip(batched.parameters(), *[s.parameters() for s in singles], strict=True):
            pair[0].copy_(torch.stack(pair[1:]))
    batch = _batch(residual)
    together = begin(batched, batch.expand(3, -1, -1))
    for term in (losses.FaithfulnessConfig(), losses.ImportanceMinimalityConfig(p=2.0), losses.UnmaskedReconConfig(),
                 losses.MaskedReconConfig(), losses.MaskedReconConfig(over="layerwise"), losses.SchattenConfig()):  # fmt: skip
        want = torch.stack([term.build()(begin(single, batch)) for single in singles])
        assert_close(term.build()(together), want, rtol=1e-4, atol=1e-6)


def test_an_inserted_identity_is_a_matrix_of_its_own(tms, decompose, begin):
    model = decompose(tms, identities={"linear2": 3})
    assert [site.name for site in model.sites] == ["linear1", "linear2.pre_identity", "linear2"]
    assert_close(model.weight("linear2.pre_identity"), torch.eye(2))
    step = begin(model, _batch(tms), delta=True)
    ones = Masks(kept=tuple(torch.ones_like(h) for h in step.inner), deltas=torch.ones(9, 3))
    assert torch.equal(model.masked_output(step.known, step.inner, ones), step.known.output)
    alone = model.masked_output(step.known, step.inner, Masks(), only="linear2.pre_identity")
    hidden = step.known.inputs["linear2"]
    through = hidden @ model.v("linear2.pre_identity") @ model.u("linear2.pre_identity")
    assert_close(alone, torch.relu(through @ tms.weight("linear2") + tms.bias("linear2")))


def test_tied_factors_share_storage_and_keep_gradients_apart(tms, decompose, begin):
    model = decompose(tms)
    assert model.transposed == {"linear2"}
    assert_close(model.u("linear2"), model.v("linear1").T)
    assert model.u("linear2").data_ptr() == model.v("linear1").data_ptr()
    step = begin(model, _batch(tms))
    losses.UnmaskedReconConfig().build()(step).backward()
    v1, _, _, u2 = model.component_parameters()
    assert not torch.equal(v1.grad, u2.grad)


def test_uniform_k_routing_picks_every_number_of_modules_equally_often(begin, tms, decompose, source):
    from interp_plugins.methods.spd.randomness import Draws

    counts = uniform_k_routing((6000,), 3, Draws(source)).sum(-1).bincount(minlength=4)
    assert counts[0] == 0
    assert (counts[1:] - 2000).abs().max() < 200


def test_a_pattern_that_matches_nothing_is_an_error(tms):
    with pytest.raises(UsageError, match=r"'layers\.\*' matches nothing"):
        choose_sites(tms, {"layers.*": 3})

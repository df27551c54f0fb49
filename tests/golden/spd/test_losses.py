"""Causal importances, every loss, gradients and optimiser steps against the published implementation."""

import pytest
from torch.testing import assert_close

from interp_plugins.methods.spd import loss_config as c
from interp_plugins.methods.spd.optimiser import decomposition_optimiser
from interp_plugins.methods.spd.sigmoids import squashers
from interp_plugins.methods.spd.step import Sampling, begin_step, split

PREFIXES = ["tms_mlp", "resid_mlp", "resid_vector_mlp", "resid_shared_mlp"]


def _close(got, want):
    assert_close(got, want, rtol=0, atol=1e-5 * float(want.abs().max()))


def _step(model, batch, draws, **sampling):
    binary = sampling.pop("binary", False)
    step = begin_step(model, batch, squashers("leaky_hard", "upwards"), draws, Sampling(**sampling))
    if binary:  # the stored importances are without the jitter of binomial sampling
        step.sampling = Sampling(binary=True, **sampling)
    return step


@pytest.mark.parametrize("prefix", PREFIXES)
def test_activations_and_importances(main, build, replay, prefix):
    model = build(prefix)
    step = _step(model, main[f"{prefix}/batch"], replay("none"))
    _close(step.known.output, main[f"{prefix}/target_out"])
    inner, lower, upper = step.inner, step.lower_parts, split(step.upper, model.widths)
    unbounded = split(model.unbounded_importances(step.known, step.inner), model.widths)
    for i, site in enumerate(model.sites):
        x = step.known.inputs[site.name]
        _close(x.dense() if hasattr(x, "dense") else x, main[f"{prefix}/pre_weight_acts/{site.name}"])
        _close(inner[i], main[f"{prefix}/component_acts/{site.name}"])
        _close(unbounded[i], main[f"{prefix}/ci_pre_sigmoid/{site.name}"])
        _close(lower[i], main[f"{prefix}/ci_lower/{site.name}"])
        _close(upper[i], main[f"{prefix}/ci_upper/{site.name}"])
        _close(model.delta(site.name).T, main[f"{prefix}/weight_delta/{site.name}"])


def _check(values, key, loss):
    assert float(loss.detach()) == pytest.approx(values[key], rel=1e-5), key


@pytest.mark.parametrize("prefix", PREFIXES)
def test_losses_without_random_numbers(main, values, build, replay, prefix):
    step = _step(build(prefix), main[f"{prefix}/batch"], replay("none"))
    _check(values, f"{prefix}/faithfulness", c.FaithfulnessConfig().build()(step))
    for p in (0.5, 1.0, 2.0):
        for beta in (0.0, 0.5):
            loss = c.ImportanceMinimalityConfig(p=p, beta=beta).build()(step)
            _check(values, f"{prefix}/importance_minimality/p{p}_beta{beta}", loss)
    _check(values, f"{prefix}/unmasked_recon", c.UnmaskedReconConfig().build()(step))
    _check(values, f"{prefix}/ci_masked_recon", c.MaskedReconConfig().build()(step))
    _check(values, f"{prefix}/ci_masked_recon_layerwise", c.MaskedReconConfig(over="layerwise").build()(step))


@pytest.mark.parametrize("delta", [0, 1])
@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("sampling", ["continuous", "binomial"])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_stochastic_losses(  # noqa: PLR0917 - fixtures and parameters
    main, values, build, replay, prefix, sampling, samples, delta
):
    model = build(prefix)
    for over, name in (("all", ""), ("layerwise", "_layerwise"), ("subset", "_subset")):
        key = f"{prefix}/stochastic_recon{name}/{sampling}_S{samples}_delta{delta}"
        draws = replay(key)
        step = _step(model, main[f"{prefix}/batch"], draws, n_samples=samples, delta=bool(delta),
                     binary=sampling == "binomial")  # fmt: skip
        _check(values, key, c.StochasticReconConfig(over=over).build()(step))
        assert draws.is_used_up()


@pytest.mark.parametrize("delta", [0, 1])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_static_routing_and_hidden_activations(main, values, build, replay, prefix, delta):
    model, batch = build(prefix), main[f"{prefix}/batch"]
    key = f"{prefix}/stochastic_recon_subset/static_p0.4_delta{delta}"
    static = c.StochasticReconConfig(over="subset", routing="static", probability=0.4).build()
    _check(values, key, static(_step(model, batch, replay(key), delta=bool(delta))))
    key = f"{prefix}/stochastic_hidden_acts_recon/delta{delta}"
    _check(values, key, c.HiddenActivationsConfig().build()(_step(model, batch, replay(key), delta=bool(delta))))


# not ("ones", 1): a stationary point, where the published numbers are rounding noise
@pytest.mark.parametrize(("start", "delta"), [("zeroes", 0), ("zeroes", 1), ("ones", 0), ("random", 0), ("random", 1)])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_projected_gradient_losses(  # noqa: PLR0917 - fixtures and parameters
    main, values, build, replay, prefix, start, delta
):
    model, batch = build(prefix), main[f"{prefix}/batch"]
    for scope, published in (("shared", "shared_across_batch"), ("per_row", "unique_per_datapoint")):
        key = f"{prefix}/pgd_recon/{published}_{start}_n3_step0.1_delta{delta}"
        attack = c.PgdReconConfig(start=start, n_steps=3, step_size=0.1, scope=scope).build()
        _check(values, key, attack(_step(model, batch, replay(key), delta=bool(delta))))


@pytest.mark.parametrize("delta", [0, 1])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_layerwise_projected_gradient(main, values, build, replay, prefix, delta):
    step = _step(build(prefix), main[f"{prefix}/batch"], replay("none"), delta=bool(delta))
    attack = c.PgdReconConfig(over="layerwise", start="zeroes", n_steps=3, step_size=0.1).build()
    _check(values, f"{prefix}/pgd_recon_layerwise/delta{delta}", attack(step))


def _published_names(model, kinds=("0.W", "0.b", "2.W", "2.b")):
    """Yield (published name, our tensor) pairs of all decomposed parameters."""
    for i, site in enumerate(model.sites):
        dashed = site.name.replace(".", "-")
        for kind in "VU":
            stored = model._factors[f"{site.name}.{kind}".replace(".", "-")]
            yield f"_components.{dashed}.{kind}", stored, site.name in model.transposed
        span = model.spans[site.name]
        for kind, j in zip(kinds, range(4), strict=True):
            yield f"_ci_fns.{dashed}.layers.{kind}", (i, span, j), False


def _value(model, item, transposed, *, grad):
    if isinstance(item, tuple):
        i, span, j = item
        if grad:
            layers = getattr(model.importance, "modules_layers", None)
            if layers is not None:
                return layers[i][j].grad
            return model.importance.layers[j].grad[span]
        return model.importance.module_weights(span.start, span.stop, i)[j]
    value = item.grad if grad else item
    return value.T if transposed else value


@pytest.mark.parametrize("prefix", PREFIXES)
def test_gradients_and_three_optimiser_steps(main, values, build, replay, prefix):
    model = build(prefix, "tied_state" if prefix == "tms_mlp" else "state")
    optimiser = decomposition_optimiser(model, 1e-2)
    minimality = c.ImportanceMinimalityConfig(coeff=1e-2).build()
    terms = [(1e-2, minimality), (1.0, c.StochasticReconConfig().build()),
             (1.0, c.StochasticReconConfig(over="layerwise").build()), (1.0, c.FaithfulnessConfig().build())]  # fmt: skip
    for i in range(3):
        step = _step(model, main[f"{prefix}/batch"], replay(f"{prefix}/train_step{i}"), delta=True)
        total = sum(coeff * loss(step) for coeff, loss in terms)
        _check(values, f"{prefix}/train_step{i}/total", total)
        optimiser.zero_grad()
        total.backward()
        if i == 0:
            for name, item, transposed in _published_names(model):
                _close(_value(model, item, transposed, grad=True), main[f"{prefix}/grad_step0/{name}"])
        optimiser.step()
    for name, item, transposed in _published_names(model):
        _close(_value(model, item, transposed, grad=False).detach(), main[f"{prefix}/state_after3/{name}"])

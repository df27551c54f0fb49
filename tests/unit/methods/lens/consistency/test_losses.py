"""The terms of the loss, their schedules, the controller."""

import copy

import pytest
import torch
from torch.distributions import Categorical, kl_divergence
from torch.testing import assert_close

from interp_plugins.methods.lens.consistency.bottleneck import Vocabulary
from interp_plugins.methods.lens.consistency.config import ConsistencyConfig
from interp_plugins.methods.lens.consistency.control import Controller
from interp_plugins.methods.lens.consistency.generation import Sampling, generate
from interp_plugins.methods.lens.consistency.losses import (
    divergence,
    fluency,
    relative_error,
    resampled,
    token_entropy,
)
from interp_plugins.methods.lens.consistency.objective import Weights, base_logits, own_text_nll, used
from interp_plugins.methods.lens.parts import Parts
from interp_registry.errors import ConfigError
from interp_registry.training.schedules import ScheduleConfig


def source(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def base(causal):
    """A base model, its tokens, and what it writes itself after its start token."""
    parts = Parts(copy.deepcopy(causal))
    parts.model.module.requires_grad_(False)
    vocabulary = Vocabulary(parts)
    prompt = vocabulary.table[torch.tensor([vocabulary.start])].expand(6, 1, -1).clone().requires_grad_()
    how = Sampling(5, generator=source(), forbidden=vocabulary.forbidden)
    return parts, vocabulary, generate(parts.model.module, vocabulary.table, prompt, how)


def test_divergence_is_that_of_the_distributions():
    p, q = torch.randn(2, 4, 9, generator=source(), dtype=torch.float64)
    assert_close(divergence(p, q), kl_divergence(Categorical(logits=p), Categorical(logits=q)))
    assert divergence(p, p).abs().max() == 0
    assert_close(token_entropy(p), Categorical(logits=p).entropy().mean())


def test_a_perfect_reconstruction_costs_nothing_and_the_mean_costs_one():
    rows = torch.randn(50, 6, generator=source(), dtype=torch.float64) + 3
    mean = rows.mean(0)
    variance = float((rows - mean).square().sum(1).mean())
    assert relative_error(rows, rows, variance) == 0
    assert_close(relative_error(mean.expand_as(rows), rows, variance), torch.ones((), dtype=torch.float64))


@pytest.mark.parametrize("form", ["kl", "reverse_kl"])
def test_a_decoder_equal_to_the_base_model_is_perfectly_fluent(base, form):
    """Consistency Lens compared the decoder's logits for token t with the base model's for token t + 1."""
    parts, vocabulary, written = base
    logits = base_logits(parts, vocabulary, written, with_gradient=False)
    assert fluency(written, logits, form).abs() < 1e-6
    shifted = divergence(written.logits[:, :-1], logits[:, 1:]).mean()
    assert shifted > 0.1


def test_the_loss_of_a_text_is_what_the_library_says(base):
    parts, vocabulary, written = base
    given = base_logits(parts, vocabulary, written, with_gradient=False)
    ids = torch.cat([torch.full((6, 1), vocabulary.start), written.token_ids], 1)
    allowed = parts.model.module(input_ids=ids).logits[:, :-1].masked_fill(vocabulary.forbidden, -torch.inf)
    expected = -allowed.log_softmax(-1).gather(-1, written.token_ids[..., None]).mean()
    assert_close(fluency(written, given, "nll").detach(), expected, atol=1e-5, rtol=0)
    assert_close(-written.logprobs.mean().detach(), expected, atol=1e-5, rtol=0)


def test_without_a_start_token_the_first_token_is_left_out(base):
    parts, vocabulary, written = base
    silent = copy.copy(vocabulary)
    silent.start = None
    logits = base_logits(parts, silent, written, with_gradient=False)
    whole = parts.model.module(input_ids=written.token_ids).logits[:, :-1]
    assert_close(logits, whole.masked_fill(vocabulary.forbidden, -1e4), atol=1e-5, rtol=0)
    assert torch.isfinite(fluency(written, logits, "kl"))
    with pytest.raises(ConfigError, match="neither BOS nor EOS"):
        own_text_nll(parts, silent, 5, 0)


@pytest.mark.parametrize("form", ["nll", "kl", "reverse_kl"])
def test_every_form_of_fluency_has_a_gradient_that_lowers_it(base, form):
    parts, vocabulary, _ = base
    prompt = vocabulary.table[torch.tensor([[vocabulary.start, 9]])].expand(64, 2, -1).clone()

    def cost(prompt):
        how = Sampling(3, generator=source(1), forbidden=vocabulary.forbidden)
        written = generate(parts.model.module, vocabulary.table, prompt, how)
        return fluency(written, base_logits(parts, vocabulary, written, with_gradient=form == "nll"), form), written

    moved = prompt.clone().requires_grad_()
    term, _ = cost(moved)
    term.backward()
    assert moved.grad.abs().sum() > 0
    if form != "nll":  # the tokens of nll jump: its gradient is an estimate, checked by training
        step = 1e-3 * moved.grad / moved.grad.norm()
        logits = [cost(p)[1].logits[:, 0] for p in (prompt, prompt - step)]
        fixed = base_logits(parts, vocabulary, cost(prompt)[1], with_gradient=False)[:, 0]
        pair = [divergence(fixed, q) if form == "kl" else divergence(q, fixed) for q in logits]
        assert pair[1].mean() < pair[0].mean() + 1e-6


def test_resample_ablation_of_a_row_by_itself_gives_the_row_back():
    rows, made = torch.randn(2, 7, 5, generator=source(), dtype=torch.float64)
    assert_close(resampled(made, rows, made, stop_gradient=False), rows, atol=1e-15, rtol=0)
    other, other_made = torch.randn(2, 7, 5, generator=source(1), dtype=torch.float64).requires_grad_()
    assert_close(resampled(made, other, other_made, stop_gradient=False), made + other - other_made)
    assert resampled(made, other, other_made, stop_gradient=False).requires_grad
    assert not resampled(made, other, other_made, stop_gradient=True).requires_grad


def test_weights_follow_their_schedules_and_a_late_ramp_is_zero_until_then():
    config = ConsistencyConfig(
        tau=ScheduleConfig(shape="cosine", start=2.0, end=0.5, reach="last"),
        fluency=ScheduleConfig(shape="linear", start=0.0, end=0.1, hold="60%", reach="last"),
        through_words=True,
    )
    weights = Weights.of(config, 100)
    assert (weights.tau(0), weights.tau(99), weights.tau(500)) == (2.0, 0.5, 0.5)
    taus = [weights.tau(step) for step in range(100)]
    assert taus == sorted(taus, reverse=True)
    assert {weights.fluency(step) for step in range(61)} == {0.0}
    assert weights.fluency(99) == pytest.approx(0.1)
    assert weights.mse(0) == weights.mse(99) == 1.0
    assert used(config.fluency)
    assert not used(config.entropy)


@pytest.mark.parametrize("tau", [ScheduleConfig(start=0.0), ScheduleConfig(shape="linear", start=1.0, end=0.0)])
def test_a_temperature_of_zero_is_refused(tau):
    with pytest.raises(ConfigError, match="temperature"):
        Weights.of(ConsistencyConfig(tau=tau), 10)


def test_durations_of_minus_one_are_refused():
    with pytest.raises(ConfigError, match="-1"):
        Weights.of(ConsistencyConfig(tau=ScheduleConfig(shape="linear", end=0.5, length="-1")), 10)


def test_the_controller_raises_the_weight_until_the_value_is_at_its_target():
    controller, weight, values = Controller(integral=0.05, largest=2.0, smoothing=0.5), 0.0, []
    for _ in range(600):
        values.append(4.0 - 3.0 * weight)  # a plant whose value falls with the weight
        weight = controller.update(values[-1] - 2.5)
    assert values[-1] == pytest.approx(2.5, abs=1e-3)
    assert weight == pytest.approx(0.5, abs=1e-3)


def test_the_controller_stays_within_its_bounds_and_does_not_wind_up():
    controller = Controller(integral=0.1, largest=0.3, smoothing=0.0)
    assert {controller.update(-5.0) for _ in range(100)} == {0.0}
    assert controller.update(1.0) == pytest.approx(0.1)
    for _ in range(100):
        controller.update(1.0)
    assert controller.weight == 0.3
    assert controller.update(-1.0) == pytest.approx(0.2)


def test_a_controller_goes_on_where_it_stopped():
    controller, other = Controller(0.1, 0.05), Controller(0.1, 0.05)
    controller.update(0.7)
    other.load(controller.state())
    assert other.update(0.2) == controller.update(0.2)

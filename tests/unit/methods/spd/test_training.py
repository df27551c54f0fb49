"""Training, resuming, weights in and out."""

import pytest
import torch
from torch.testing import assert_close

from interp_plugins.methods.spd import loss_config as losses
from interp_plugins.methods.spd.building import build_decomposition
from interp_plugins.methods.spd.config import DecomposeConfig, StartsConfig
from interp_plugins.methods.spd.decompose import decompose, training_config
from interp_plugins.methods.spd.training import DecompositionTraining, export_weights, import_weights
from interp_registry.errors import InterruptedRunError, UsageError
from interp_registry.events import EventSink, Scalar
from interp_registry.stores.checkpoint import CheckpointStore
from interp_registry.tensors.seeding import generator
from interp_registry.training.loop import Tools
from interp_registry.training.schedules import ScheduleConfig


class _Numbers(EventSink):
    def __init__(self, into):
        self.into = into

    def emit(self, event):
        if isinstance(event, Scalar):
            self.into.append((event.step, event.name, event.value))


def _trace(config, problem, tools=None, *, seed=0, into=None):
    values = [] if into is None else into
    tools = tools or Tools()
    tools.events = _Numbers(values)
    config.log_every = 1
    return decompose(config, problem, seed, tools), values


def test_the_loss_falls(tiny):
    config, problem = tiny
    config.steps = 200
    _, trace = _trace(config, problem)
    total = [value for _, name, value in trace if name == "train/loss"]
    assert sum(total[-20:]) < 0.7 * sum(total[:20])


def _persistent(config):
    config.losses["adversary"] = losses.PersistentReconConfig(coeff=0.5, scope="shared")


@pytest.mark.parametrize("change", [lambda _: None, _persistent])
def test_a_resumed_run_equals_an_uninterrupted_one(tiny, tmp_path, change):
    config, problem = tiny
    change(config)
    whole, trace = _trace(config, problem)
    config.checkpoint_every = 10
    store = CheckpointStore(tmp_path)
    calls = iter(range(100))
    with pytest.raises(Exception, match="interrupted"):
        _trace(config, problem, Tools(checkpoints=store, stop=lambda: next(calls) == 22))
    assert store.latest().step == 23
    resumed, second = _trace(config, problem, Tools(checkpoints=store))
    assert second == [entry for entry in trace if entry[0] > 23]
    for name, value in export_weights(whole.model).items():
        assert torch.equal(value, export_weights(resumed.model)[name]), name


def test_weights_survive_a_round_trip_and_ties_hold(tiny):
    config, problem = tiny
    model = build_decomposition(config, problem.target, torch.Generator().manual_seed(0))
    other = build_decomposition(config, problem.target, torch.Generator().manual_seed(1))
    import_weights(other, export_weights(model))
    for name, value in export_weights(model).items():
        assert torch.equal(value, export_weights(other)[name])
    assert other.u("linear2").data_ptr() == other.v("linear1").data_ptr()


def test_a_loss_with_coefficient_zero_is_reported_and_not_trained_on(tiny):
    config, problem = tiny
    config.losses = {"unmasked": losses.UnmaskedReconConfig(coeff=0.0), "faithful": losses.FaithfulnessConfig()}
    training = DecompositionTraining(
        build_decomposition(config, problem.target, torch.Generator().manual_seed(0)), config, problem.batches, 0
    )
    found = training.step(0)
    assert found["unmasked"] > 0
    assert_close(found["loss"], found["faithful"])


def test_gradients_of_components_and_importances_are_clipped_apart(tiny):
    config, problem = tiny
    config.clip_components = 1e-3
    model = build_decomposition(config, problem.target, torch.Generator().manual_seed(0))
    training = DecompositionTraining(model, config, problem.batches, 0)
    training.step(0)["loss"].backward()
    before = [p.grad.clone() for p in model.importance.parameters()]
    norms = training.before_update(0)
    assert norms["grad_norm/components"] > 1e-3
    total = torch.stack([p.grad.norm() for p in model.component_parameters()]).norm()
    assert float(total) == pytest.approx(1e-3, rel=1e-3)
    for was, parameter in zip(before, model.importance.parameters(), strict=True):
        assert torch.equal(was, parameter.grad)


def test_zero_rows_are_skipped_only_where_that_is_exact(tiny):
    config, problem = tiny
    model = build_decomposition(config, problem.target, torch.Generator().manual_seed(0))
    assert DecompositionTraining(model, config, problem.batches, 0).skips_zero_rows
    config.losses["adversary"] = losses.PersistentReconConfig(scope="per_row")
    assert not DecompositionTraining(model, config, problem.batches, 0).skips_zero_rows


def test_warm_up_is_a_share_of_the_schedule_and_not_of_the_steps_made():
    config = DecomposeConfig(steps=1000, stop_after=100, schedule=ScheduleConfig(shape="linear", warmup="10%"))
    settings = training_config(config)
    assert settings.steps == 100
    rates = settings.schedule.build(settings.steps)
    whole = config.schedule.build(1000)
    assert [rates(i) for i in range(100)] == [whole(i) for i in range(100)]


def test_of_several_starts_the_one_with_the_least_loss_goes_on(tiny):
    config, problem = tiny
    config.starts = StartsConfig(n=3, steps=15)
    several, trace = _trace(config, problem)
    losses = several.starts.losses
    assert len(set(losses)) == 3
    assert several.starts.taken == losses.index(min(losses))
    config.starts = StartsConfig()
    alone, single = _trace(config, problem, seed=several.starts.seed)
    for name, value in export_weights(alone.model).items():
        assert torch.equal(value, export_weights(several.model)[name]), name
    prefix = f"start-{several.starts.taken}/"
    merged = [(i, name.removeprefix(prefix), v) for i, name, v in trace if "/train" not in name or prefix in name]
    assert [e for e in merged if e[1].startswith("train/")] == [e for e in single if e[1].startswith("train/")]


def test_the_loss_that_chooses_a_start_is_the_whole_one(tiny):
    config, problem = tiny
    config.starts, config.stop_after = StartsConfig(n=2, steps=15), 15
    trained, _ = _trace(config, problem)
    fresh = DecompositionTraining(trained.model, config, problem.batches, 0)
    terms = [fresh.step(config.steps + i) for i in range(8)]
    whole = sum(float(t[name].detach()) * loss.coeff for t in terms for name, loss in config.losses.items()) / 8
    assert min(trained.starts.losses) == pytest.approx(whole, rel=1e-5)


def test_starts_that_were_interrupted_go_on_and_the_choice_is_kept(tiny, tmp_path):
    config, problem = tiny
    config.starts, config.checkpoint_every = StartsConfig(n=3, steps=15), 10
    whole, trace = _trace(config, problem)
    store = CheckpointStore(tmp_path)
    seen = []
    for stop_at in (4, 20, 30):  # the first start, the second, and what goes on
        asked = iter([False] * stop_at + [True])
        with pytest.raises(InterruptedRunError):
            _trace(config, problem, Tools(checkpoints=store, stop=asked.__next__), into=seen)
    resumed, _ = _trace(config, problem, Tools(checkpoints=store), into=seen)
    assert resumed.starts == whole.starts
    assert {(s, n): v for s, n, v in seen} == {(s, n): v for s, n, v in trace}
    assert [path.name for path in tmp_path.glob("start-*")] == []


def test_a_batch_in_parts_gives_the_mean_gradient_of_its_parts(tiny):
    config, problem = tiny
    config.steps, config.accumulate, config.learning_rate = 1, 2, 1e-2
    trained, _ = _trace(config, problem)
    by_hand = build_decomposition(config, problem.target, generator(0, "spd init"))
    training = DecompositionTraining(by_hand, config, problem.batches, 0)
    assert training.begin(1).n_rows == config.batch_size / 2
    assert training.begin(1).progress == 0
    sum(training.step(i)["loss"] / 2 for i in range(2)).backward()
    training.optimiser.step()
    for name, value in export_weights(by_hand).items():
        assert_close(export_weights(trained.model)[name], value, rtol=1e-5, atol=1e-6)
    config.accumulate = 3
    with pytest.raises(UsageError, match="cannot be computed in 3 equal parts"):
        DecompositionTraining(by_hand, config, problem.batches, 0)


def test_the_activity_of_components_is_their_mean_importance_with_the_most_active_first(tiny):
    config, problem = tiny
    model = build_decomposition(config, problem.target, torch.Generator().manual_seed(0))
    training = DecompositionTraining(model, config, problem.batches, 0)
    assert training.activity() is None
    training.step(0)
    shown = training.activity()
    assert shown.rows == tuple(site.name for site in model.sites)
    step = training.begin(0)
    weights = step.row_weights / step.row_weights.sum()
    for row, part in zip(shown.values, step.lower_parts, strict=True):
        expected = (weights[:, None] * part).sum(0).sort(descending=True).values
        assert list(row[: len(expected)]) == pytest.approx(expected.tolist(), abs=6e-5)


def test_bf16_is_close_to_full_precision_and_leaves_weights_and_what_is_left_of_them_alone(tiny):
    config, problem = tiny
    config.delta = True
    found, grads = [], []
    for bf16 in (False, True):
        config.bf16 = bf16
        model = build_decomposition(config, problem.target, generator(0, "spd init"))
        values = DecompositionTraining(model, config, problem.batches, 0).step(0)
        values["loss"].backward()
        assert {p.grad.dtype for p in model.parameters()} == {torch.float32}
        found.append({name: float(value.detach()) for name, value in values.items()})
        grads.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert found[0]["faithfulness"] == found[1]["faithfulness"]
    assert found[0]["stochastic_recon"] != found[1]["stochastic_recon"]
    assert found[0] == pytest.approx(found[1], rel=0.02)
    assert float((grads[0] - grads[1]).norm() / grads[0].norm()) < 0.02

"""The training loop."""

import itertools

import pytest
import torch

from interp_registry.contracts.tracker import GuardedTracker
from interp_registry.errors import ConfigError, InterpError, InterruptedRunError, UsageError
from interp_registry.events import HeatMapEvent, MemorySink, Progress, Scalar
from interp_registry.figures import HeatMap
from interp_registry.stores.checkpoint import CheckpointStore
from interp_registry.training.config import TrainingConfig
from interp_registry.training.loop import Tools, train
from interp_registry.training.schedules import ScheduleConfig


def weights(toy) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in toy.state()["weights"].items()}


def test_the_loss_goes_down(toy):
    trained = toy()
    summary = train(trained, TrainingConfig(steps=200, checkpoint_every=None), seed=0)
    assert summary.steps == 200
    assert sum(trained.trace[-20:]) < 0.3 * sum(trained.trace[:20])
    assert summary.metrics["error"] < 0.5


def test_an_update_is_the_one_that_a_loop_written_out_makes(toy):
    config = TrainingConfig(
        steps=5, schedule=ScheduleConfig("linear", warmup="2"), clip_norm=0.5, checkpoint_every=None
    )
    trained, reference = toy(), toy()
    reference.body[1].p = trained.body[1].p = 0.0
    train(trained, config, seed=0)
    schedule = config.schedule.build(5)
    optimisers = reference.optimisers()
    for i in range(5):
        for name, rate in (("body", 0.02), ("head", 0.05)):
            optimisers[name].param_groups[0]["lr"] = rate * schedule(i)
            optimisers[name].zero_grad()
        reference.step(i)["loss"].backward()
        parameters = [*reference.body.parameters(), *reference.head.parameters()]
        torch.nn.utils.clip_grad_norm_(parameters, 0.5)
        for optimiser in optimisers.values():
            optimiser.step()
    assert all(torch.equal(a, b) for a, b in zip(weights(trained).values(), weights(reference).values(), strict=True))


def test_accumulation_averages_the_gradients_of_consecutive_batches(toy):
    trained, reference = toy(), toy()
    reference.body[1].p = trained.body[1].p = 0.0
    train(trained, TrainingConfig(steps=1, accumulate=3, checkpoint_every=None), seed=0)
    for optimiser in reference.optimisers().values():
        optimiser.zero_grad()
    torch.stack([reference.step(i)["loss"] for i in range(3)]).mean().backward()
    for optimiser in reference.optimisers().values():
        optimiser.step()
    assert trained.trace == reference.trace
    for a, b in zip(weights(trained).values(), weights(reference).values(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("stops", [(3,), (10,), (11, 14), (1, 2, 3, 4)])
def test_a_training_that_was_stopped_ends_as_one_that_was_not(toy, checkpoints: CheckpointStore, stops):
    config = TrainingConfig(
        steps=20, schedule=ScheduleConfig("cosine", warmup="4"), checkpoint_every=7, evaluate_every=5
    )
    whole = toy()
    expected = train(whole, config, seed=3)
    trace: list[float] = []
    for stop in stops:
        part = toy()
        counter = itertools.count(len(trace) + 1)
        with pytest.raises(InterruptedRunError):
            train(part, config, 3, Tools(checkpoints=checkpoints, stop=lambda c=counter, s=stop: next(c) >= s))
        trace += part.trace
        assert len(trace) == stop
    last = toy()
    found = train(last, config, 3, Tools(checkpoints=checkpoints))
    assert trace + last.trace == whole.trace
    assert found == expected
    assert all(torch.equal(a, b) for a, b in zip(weights(last).values(), weights(whole).values(), strict=True))


def test_going_on_after_the_end_trains_no_more(toy, checkpoints: CheckpointStore):
    config = TrainingConfig(steps=3)
    first = train(toy(), config, 0, Tools(checkpoints=checkpoints))
    again = toy()
    assert train(again, config, 0, Tools(checkpoints=checkpoints)) == first
    assert again.trace == []


def test_a_checkpoint_of_another_seed_is_refused(toy, checkpoints: CheckpointStore):
    train(toy(), TrainingConfig(steps=2), 0, Tools(checkpoints=checkpoints))
    with pytest.raises(UsageError, match="seed 0, this run has seed 1"):
        train(toy(), TrainingConfig(steps=4), 1, Tools(checkpoints=checkpoints))


def test_a_run_without_improvement_stops_early_and_keeps_its_best(toy, tmp_path):
    checkpoints = CheckpointStore(tmp_path, keep_last=1, keep_best=1)
    config = TrainingConfig(steps=100, evaluate_every=2, checkpoint_every=2, monitor="error", patience=3)
    trained = toy()
    values = iter([5.0, 4.0, 3.0, 3.5, 3.0, 4.0, 1.0])
    trained.evaluate = lambda step: {"error": next(values)}
    summary = train(trained, config, 0, Tools(checkpoints=checkpoints))
    assert (summary.steps, summary.best, summary.best_step, summary.stopped_early) == (12, 3.0, 6, True)
    assert checkpoints.steps() == [6, 12]
    best = checkpoints.best()
    assert best is not None
    assert (best.step, best.metric) == (6, 3.0)


def test_an_unknown_monitored_value_is_named(toy):
    with pytest.raises(UsageError, match="'accuracy' is not evaluated"):
        train(toy(), TrainingConfig(steps=1, monitor="accuracy", checkpoint_every=None), 0)


def test_a_loss_that_is_not_finite_ends_the_training(toy):
    trained = toy()
    trained.head.weight.data.fill_(float("inf"))
    with pytest.raises(InterpError, match=r"the loss is (nan|inf) at step 1"):
        train(trained, TrainingConfig(steps=5, log_every=1), 0)


@pytest.mark.parametrize("rate", [1e300, float("inf"), float("nan")])
def test_a_learning_rate_that_float32_cannot_hold_is_refused(toy, rate):
    trainable = toy()
    for optimiser in trainable.optimisers().values():
        optimiser.param_groups[0]["lr"] = rate
    with pytest.raises(UsageError, match=r"learning rate of .* cannot be used"):
        train(trainable, TrainingConfig(steps=2), 0)


def test_losses_rates_evaluations_and_progress_become_events(toy):
    sink = MemorySink()
    config = TrainingConfig(steps=4, log_every=2, schedule=ScheduleConfig("linear"), evaluate_every=4, clip_norm=1.0)
    train(toy(), config, 0, Tools(events=sink))
    scalars = {(e.name, e.step): e.value for e in sink.events if isinstance(e, Scalar)}
    assert {name for name, _ in scalars} == {
        "train/loss", "train/largest", "train/grad_norm", "lr/body", "lr/head", "eval/error"
    }  # fmt: skip
    assert {step for _, step in scalars} == {2, 4}
    assert scalars["lr/head", 4] == pytest.approx(0.05 * 0.25)
    progress = [(e.done, e.total) for e in sink.events if isinstance(e, Progress)]
    assert progress == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_global_generators_are_left_as_they_were(toy):
    trained = toy()
    before = torch.get_rng_state()
    train(trained, TrainingConfig(steps=2, checkpoint_every=None), 0)
    assert torch.equal(before, torch.get_rng_state())


def test_a_trainable_may_change_gradients_and_log_about_it(toy):
    trained = toy()

    def before_update(step: int) -> dict[str, float]:
        for parameter in trained.head.parameters():
            parameter.grad.zero_()
        return {"norm_body": 1.5}

    trained.before_update = before_update
    head = trained.head.weight.clone()
    summary = train(trained, TrainingConfig(steps=2, checkpoint_every=None), 0)
    assert torch.equal(head, trained.head.weight)
    assert summary.losses["norm_body"] == 1.5


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"accumulate": 0}, {"log_every": 0}, {"clip_norm": 0.0}, {"patience": 2}, {"keep_last": 0}]
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        TrainingConfig(**wrong)


def test_an_accelerator_of_one_process_changes_nothing(toy, checkpoints: CheckpointStore):
    from accelerate import Accelerator

    config = TrainingConfig(steps=4, clip_norm=0.5, accumulate=2, checkpoint_every=2)
    plain, accelerated = toy(), toy()
    train(plain, config, 0)
    train(accelerated, config, 0, Tools(checkpoints=checkpoints, accelerator=Accelerator(cpu=True)))
    assert accelerated.trace == plain.trace
    assert checkpoints.steps() == [2, 4]
    for a, b in zip(weights(accelerated).values(), weights(plain).values(), strict=True):
        assert torch.equal(a, b)


def test_the_tools_of_a_run_are_its_events_checkpoints_and_stop_signal(toy, tmp_path):
    from types import SimpleNamespace

    sink = MemorySink()
    ctx = SimpleNamespace(
        events=sink, tracker=None, accelerator=None, stopping=True, run=SimpleNamespace(checkpoints=tmp_path / "c")
    )
    config = TrainingConfig(steps=5, monitor="error", monitor_mode="max")
    tools = Tools.of(ctx, config)
    with pytest.raises(InterruptedRunError):
        train(toy(), config, 0, tools)
    assert CheckpointStore(tmp_path / "c").steps() == [1]
    assert any(isinstance(event, Progress) for event in sink.events)


def test_what_a_trainable_shows_is_sent_when_losses_are_logged(toy):
    trained, sink = toy(), MemorySink()
    trained.activity = lambda: HeatMap([[1.0]])
    train(trained, TrainingConfig(steps=20, log_every=10, checkpoint_every=None), seed=0, tools=Tools(events=sink))
    shown = [event for event in sink.events if isinstance(event, HeatMapEvent)]
    assert [event.name for event in shown] == ["live/activity"] * len(
        [e for e in sink.events if isinstance(e, Scalar) and e.name == "train/loss"]
    )
    assert len(shown) >= 2


class Rank:
    """One of two processes, as far as the loop can tell; the other one's gradients are taken for equal."""

    def __init__(self, index):
        self.process_index, self.num_processes, self.is_main_process = index, 2, index == 0
        self.device = torch.device("cpu")
        self.reduced = 0

    def backward(self, loss):
        loss.backward()

    def clip_grad_norm_(self, parameters, norm):
        return torch.nn.utils.clip_grad_norm_(parameters, norm)

    def wait_for_everyone(self):
        pass

    def reduce(self, tensor, reduction):
        self.reduced += tensor.ndim > 0  # the vote on stopping is a single number
        return tensor * 2 if reduction == "sum" else tensor


def test_processes_take_turns_at_the_batches_of_an_update(toy):
    config = TrainingConfig(steps=2, accumulate=4, checkpoint_every=None)
    taken = {}
    for index in (0, 1):
        trained, rank = toy(), Rank(index)
        trained.shares_batches = True
        seen, step = [], trained.step
        trained.step = lambda i, step=step, seen=seen: (seen.append(i), step(i))[1]
        train(trained, config, 0, Tools(accelerator=rank))
        taken[index] = seen
        assert rank.reduced == 2 * (4 + 1), "four parameters and the losses, in each of two updates"
    assert taken == {0: [0, 2, 4, 6], 1: [1, 3, 5, 7]}


@pytest.mark.parametrize("prepared", [False, True])
def test_accelerate_scales_losses_and_clips_only_where_it_has_prepared_a_model(toy, prepared):
    """An engine, or a scale for half precision, that knows nothing of the model would fail or leave scaled gradients."""
    calls, rank = [], Rank(0)
    rank._models = [object()] if prepared else []
    rank.backward = lambda loss: (calls.append("backward"), loss.backward())
    rank.clip_grad_norm_ = lambda parameters, norm: (
        calls.append("clip"),
        torch.nn.utils.clip_grad_norm_(parameters, norm),
    )[1]
    train(toy(), TrainingConfig(steps=2, clip_norm=1.0, checkpoint_every=None), 0, Tools(accelerator=rank))
    assert calls == (["backward", "clip"] * 2 if prepared else [])


def test_batches_that_cannot_be_shared_are_refused_and_others_left_to_the_trainable(toy):
    shared, own = toy(), toy()
    shared.shares_batches = True
    with pytest.raises(UsageError, match="1 batches per update cannot be shared by 2 processes"):
        train(shared, TrainingConfig(steps=1), 0, Tools(accelerator=Rank(0)))
    rank = Rank(0)
    train(own, TrainingConfig(steps=1), 0, Tools(accelerator=rank))
    assert rank.reduced == 0


def test_a_number_is_reported_once_where_the_tracker_reports_to_the_same_events(toy):
    for tracker_of in (lambda sink: GuardedTracker((), sink), lambda sink: GuardedTracker(), lambda sink: None):
        sink = MemorySink()
        tools = Tools(events=sink, tracker=tracker_of(sink))
        train(
            toy(), TrainingConfig(steps=5, log_every=1, evaluate_every=None, checkpoint_every=None), seed=0, tools=tools
        )
        steps = [event.step for event in sink.events if isinstance(event, Scalar) and event.name == "train/loss"]
        assert steps == [1, 2, 3, 4, 5]


def poisoned(toy, step: int):
    """A toy whose update ``step`` makes a weight NaN though its loss is finite, so that the next loss is none."""
    trained = toy()

    def before_update(i: int) -> dict[str, float]:
        if i == step - 1:
            trained.head.weight.grad[0, 0] = float("nan")
        return {}

    trained.before_update = before_update
    return trained


@pytest.mark.parametrize(
    ("steps", "evaluate_every", "message"),
    [
        (20, None, "the trained weights are not finite after step 4"),
        (20, 5, "the trained weights are not finite after step 4"),
        (4, None, "the trained weights are not finite after step 4"),
    ],
)
def test_weights_that_are_not_finite_are_never_a_checkpoint(toy, checkpoints, steps, evaluate_every, message):
    config = TrainingConfig(steps=steps, log_every=10, checkpoint_every=2, evaluate_every=evaluate_every)
    with pytest.raises(InterpError, match=message):
        train(poisoned(toy, 4), config, 0, Tools(checkpoints=checkpoints))
    assert checkpoints.steps() == [2]
    with pytest.raises(InterpError, match=message):
        train(poisoned(toy, 4), TrainingConfig(steps=4, log_every=10, checkpoint_every=None), 0)


@pytest.mark.parametrize("due", [{"checkpoint_every": 5}, {"evaluate_every": 5}, {"log_every": 5}])
def test_the_first_step_without_a_finite_loss_is_named_at_whatever_is_due_next(toy, checkpoints, due):
    config = TrainingConfig(steps=20, **{"log_every": 10, "checkpoint_every": None, **due})
    with pytest.raises(InterpError, match=r"the loss is nan at step 3.*smaller learning rate"):
        train(poisoned(toy, 2), config, 0, Tools(checkpoints=checkpoints))
    assert checkpoints.steps() == []


def test_a_loss_that_is_not_finite_at_once_is_no_matter_of_the_learning_rate(toy):
    trained = toy()
    trained.head.weight.data.fill_(float("nan"))
    with pytest.raises(InterpError, match=r"at step 1.*no weight had been changed yet"):
        train(trained, TrainingConfig(steps=3), 0)


def test_a_monitored_value_that_is_not_a_number_is_never_the_best(toy):
    trained = toy()
    values = iter([float("nan"), 3.0, 2.0, float("nan")])
    trained.evaluate = lambda step: {"error": next(values)}
    summary = train(trained, TrainingConfig(steps=4, evaluate_every=1, checkpoint_every=None, monitor="error"), 0)
    assert (summary.best, summary.best_step) == (2.0, 3)

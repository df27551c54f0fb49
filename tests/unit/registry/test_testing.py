"""The contract checks find what breaks a contract."""

import subprocess
from dataclasses import dataclass

import pytest
import torch

from interp_registry.contracts.data import CaptionedImage, Dataset, LabelledSample, TextSample
from interp_registry.contracts.launcher import Job, LauncherCapabilities
from interp_registry.contracts.method import Method, Stage
from interp_registry.contracts.metric import MetricInfo
from interp_registry.errors import DataError
from interp_registry.testing import (
    ContractError,
    check_dataset,
    check_evaluator,
    check_launcher,
    check_loss,
    check_method,
    check_metric,
    check_tracker,
)


class Gram:
    """A metric that keeps the contract."""

    info = MetricInfo("gram cosine", "test", (-1.0, 1.0), self_score=1.0)

    def prepare(self, layers):
        return {"g": torch.stack([(v := (x.double() @ x.double().T).flatten()) / v.norm() for x in layers])}

    def score_pairs(self, x, y):
        return x["g"] @ y["g"].T


def test_a_metric_that_keeps_the_contract_passes():
    check_metric(Gram())


def broken(**members):
    return type("Broken", (Gram,), members)()


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (broken(score_pairs=lambda s, x, y: (x["g"] @ y["g"].T).float()), "wanted float64"),
        (broken(score_pairs=lambda s, x, y: (x["g"] @ y["g"].T)[:1]), "gave shape"),
        (broken(score_pairs=lambda s, x, y: x["g"] @ y["g"].T * float("nan")), "on ordinary data"),
        (
            broken(score_pairs=lambda s, x, y: x["g"] @ y["g"].T + torch.rand(1, dtype=torch.float64)),
            "two different answers",
        ),
        (broken(score_pairs=lambda s, x, y: x["g"] @ y["g"].T * 3), "above the range"),
        (broken(score_pairs=lambda s, x, y: x["g"] @ y["g"].T / 2), "flagged 1.0"),
        (broken(score_pairs=lambda s, x, y: x["g"] @ y["g"].T - torch.arange(len(y["g"])) / 9), "score"),
        (
            broken(prepare=lambda s, v: Gram.prepare(s, [x[:5] for x in v])),
            "order of the samples",
        ),
        (broken(null_pairs=lambda s, x, y, p: (x["g"] @ y["g"].T)[None]), "null_pairs differs"),
        (broken(subset=lambda s, x, rows: x), "subset differs"),
    ],
)
def test_a_metric_that_breaks_the_contract_is_told_why(metric, message):
    with pytest.raises(ContractError, match=message):
        check_metric(metric)


class Words(Dataset):
    name, modalities = "words", frozenset({"language"})

    def __len__(self):
        return 3

    def __getitem__(self, index):
        if index >= 3:
            raise IndexError(index)
        return TextSample(str(index), f"word {index}")


def test_a_data_set_that_keeps_the_contract_passes():
    check_dataset(Words())


@pytest.mark.parametrize(
    ("sample", "captions"),
    [
        (TextSample("a", "one"), ("one",)),
        (LabelledSample("a", "one", 0), ("one",)),
        (CaptionedImage("a", None, ["one", "two"]), ("one", "two")),
        (LabelledSample("a", object(), 0), ()),
    ],
)
def test_a_data_set_that_gives_samples_alone_has_their_texts(sample, captions):
    dataset = type("Mine", (Words,), {"__getitem__": lambda self, index: sample})()
    part = dataset.select(1)
    assert dataset.captions_of(0) == part.captions_of(0) == captions
    assert tuple(part.text(0, number) for number in range(len(captions))) == captions
    with pytest.raises(DataError, match=f"'a' of words has {len(captions)} texts, so none at index {len(captions)}"):
        part.text(0, len(captions))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"__len__": lambda self: 0}, "no samples"),
        ({"modalities": frozenset()}, "no modality"),
        ({"key": lambda self, i: "same"}, "same key"),
        ({"captions_of": lambda self, i: ("other", self[i].text), "text": lambda self, i: self[i].text}, "captions_of"),
        ({"fingerprint": "constant", "select": lambda self, n=None, seed=None: self}, "ignores the samples"),
        ({"__getitem__": lambda self, i: TextSample(str(i), "x" * i)}, "must raise IndexError"),
    ],
)
def test_a_data_set_that_breaks_the_contract_is_told_why(members, message):
    with pytest.raises(ContractError, match=message):
        check_dataset(type("Broken", (Words,), members)())


class WrongGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.square().sum()

    @staticmethod
    def backward(ctx, g):
        return g * torch.ones(6, 4, dtype=torch.float64)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda x, y: x - y, "wanted a scalar"),
        (lambda x, y: (x - y).sum() / 0.0, "on ordinary data"),
        (lambda x, y: WrongGradient.apply(x) + y.sum(), "a gradient is wrong"),
    ],
)
def test_a_loss_that_breaks_the_contract_is_told_why(loss, message):
    with pytest.raises(ContractError, match=message):
        check_loss(loss)


def test_an_evaluator_must_give_the_same_numbers_twice():
    check_evaluator(lambda v: {"mean": sum(v) / len(v)}, [1.0, 2.0])
    with pytest.raises(ContractError, match="two calls differ"):
        check_evaluator(lambda v: {"x": float(torch.rand(()))}, [1.0])
    with pytest.raises(ContractError, match="wanted named numbers"):
        check_evaluator(sum, [1.0])


def test_a_tracker_that_raises_is_named_with_the_call(tmp_path):
    class Fails:
        def start(self, run): ...

        def log(self, values, step):
            raise ValueError("no numbers")

    with pytest.raises(ContractError, match=r"log.*no numbers"):
        check_tracker(Fails(), tmp_path)


@dataclass
class NoHelp:
    size: int = 1


def test_a_method_without_help_for_an_option_is_refused():
    with pytest.raises(ContractError, match="--size has no help"):
        check_method(Method("m", "help", (Stage("s", "help", NoHelp, "json:loads"),)))
    with pytest.raises(ContractError, match="has no help"):
        check_method(Method("m", "", (Stage("s", "help", NoHelp, "json:loads"),)))


class RunsHere:
    """A launcher that runs tasks in place, each ``times`` times."""

    def __init__(self, times=1):
        self.times = times
        self.capabilities = LauncherCapabilities()

    def check(self, launch): ...

    def script(self, launch, tasks):
        return str(launch.task_command)

    def start(self, launch, tasks, environment):
        for task in [task for task in tasks for _ in range(self.times)]:
            subprocess.run([*launch.task_command, str(task)], env={**environment, **launch.environment}, check=True)
        return [Job("1", tuple(tasks))]

    def states(self, jobs):
        return {task: "gone" for job in jobs for task in job.tasks}

    def cancel(self, jobs, tasks=None): ...

    def gpus_in_use(self):
        return 0


def test_a_launcher_runs_every_task_exactly_once(tmp_path):
    for name in ("once", "twice"):
        (tmp_path / name).mkdir()
    check_launcher(RunsHere(), tmp_path / "once", n_tasks=2)
    with pytest.raises(ContractError, match="run twice"):
        check_launcher(RunsHere(times=2), tmp_path / "twice", n_tasks=1)

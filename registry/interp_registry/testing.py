"""What a plugin's tests can call: one contract check for every kind of plugin, and a context to run a stage in.

Every check raises :class:`ContractError` with the first thing that is wrong. They are what the tool's own plugins are tested with.
"""

import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from interp_registry.catalog import Catalog
from interp_registry.config_io import decode, encode, fields_of
from interp_registry.contracts.data import Dataset
from interp_registry.contracts.launcher import Launch, Launcher, Resources
from interp_registry.contracts.method import Method, Result, RunContext, Stage
from interp_registry.contracts.metric import Metric, Permutable, State, Subsettable, info_of
from interp_registry.contracts.tracker import TrackedRun, Tracker
from interp_registry.errors import PluginError
from interp_registry.events import MemorySink
from interp_registry.stores.run import Run, RunStore

if TYPE_CHECKING:
    from torch import Tensor

    from interp_registry.contracts.model import Encoded, Model
    from interp_registry.stores.activations import ActivationStore
    from interp_registry.stores.features import FeatureStore

__all__ = [
    "ContractError",
    "FakeContext",
    "check_dataset",
    "check_evaluator",
    "check_launcher",
    "check_loss",
    "check_method",
    "check_metric",
    "check_model",
    "check_tracker",
    "run_stage",
]


class ContractError(PluginError):
    """A plugin does not keep its contract."""


def _require(condition: object, message: str) -> None:
    if not condition:
        raise ContractError(message)


def check_metric(metric: Metric, n: int = 48, seed: int = 0, tolerance: float = 1e-5) -> None:
    """Check a metric on random layers: shape and type, range, flags, invariance to the order of the samples, fast paths.

    Args:
        metric: The metric, built.
        n: Number of samples.
        seed: Seed of the layers.
        tolerance: Largest absolute difference that counts as equal.

    Raises:
        ContractError: It does not keep what its flags or the protocol promise.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(n, 12, generator=generator)
    xs = [base, base @ torch.randn(12, 7, generator=generator), torch.randn(n, 5, generator=generator)]
    ys = [base + 0.5 * torch.randn(n, 12, generator=generator), torch.randn(n, 9, generator=generator)]
    x, y = metric.prepare(xs), metric.prepare(ys)
    scores = metric.score_pairs(x, y)
    _require(tuple(scores.shape) == (3, 2), f"score_pairs gave shape {tuple(scores.shape)} for 3 and 2 layers")
    _require(scores.dtype == torch.float64, f"score_pairs gave {scores.dtype}, wanted float64")
    _require(torch.isfinite(scores).all(), f"score_pairs gave {scores.tolist()} on ordinary data")
    _require(torch.equal(scores, metric.score_pairs(x, y)), "score_pairs gave two different answers")
    _check_flags(metric, x, y, scores, tolerance)
    order = torch.randperm(n, generator=generator)
    moved = metric.score_pairs(metric.prepare([v[order] for v in xs]), metric.prepare([v[order] for v in ys]))
    _require(_close(moved, scores, tolerance), "the score depends on the order of the samples")
    if isinstance(metric, Permutable):
        slow = metric.score_pairs(x, metric.prepare([v[order] for v in ys]))
        fast = metric.null_pairs(x, y, order[None])[0]
        _require(_close(fast, slow, tolerance), "null_pairs differs from preparing the shuffled samples again")
    if isinstance(metric, Subsettable):
        rows = order[: n // 2]
        slow = metric.score_pairs(metric.prepare([v[rows] for v in xs]), metric.prepare([v[rows] for v in ys]))
        fast = metric.score_pairs(metric.subset(x, rows), metric.subset(y, rows))
        _require(_close(fast, slow, tolerance), "subset differs from preparing the chosen samples again")


def _close(a: "Tensor", b: "Tensor", tolerance: float) -> bool:
    return bool((a - b).abs().max() <= tolerance)


def _check_flags(metric: Metric, x: State, y: State, scores: "Tensor", tolerance: float) -> None:
    info = info_of(metric)
    low, high = info.range
    _require(
        low is None or scores.min() >= low - tolerance, f"a score of {scores.min():.6g} is below the range {info.range}"
    )
    _require(
        high is None or scores.max() <= high + tolerance,
        f"a score of {scores.max():.6g} is above the range {info.range}",
    )
    swapped = metric.score_pairs(y, x).T
    _require(not info.symmetric or _close(swapped, scores, tolerance), "flagged symmetric, but score(y, x) differs")
    if info.self_score is not None:
        own = metric.score_pairs(x, x).diagonal()
        _require(
            bool((own - info.self_score).abs().max() <= max(tolerance, 1e-4)),
            f"a layer with itself scores {own.tolist()}, flagged {info.self_score}",
        )


def check_dataset(dataset: Dataset) -> None:
    """Check a data set: it has samples, unique keys, answers the same twice, and its fingerprint changes with its content.

    Raises:
        ContractError: It does not.
    """
    n = len(dataset)
    _require(n > 0, "the data set has no samples")
    _require(dataset.modalities, "the data set says no modality")
    keys = [dataset.key(i) for i in range(min(n, 64))]
    _require(len(set(keys)) == len(keys), "two samples have the same key")
    for modality, read in (("language", dataset.text), ("vision", dataset.image)):
        if modality in dataset.modalities:
            _require(read(0) == read(0), f"sample 0 read twice as {modality} differs")
    if "language" in dataset.modalities:
        _require(dataset.captions_of(0)[:1] == (dataset.text(0),), "captions_of(0) does not begin with text(0)")
    _require(dataset.fingerprint == dataset.fingerprint, "the fingerprint differs when asked twice")
    if n > 1:
        _require(dataset.select(n - 1).fingerprint != dataset.fingerprint, "the fingerprint ignores the samples")
    try:
        dataset[n]
    except IndexError:
        return
    raise ContractError(f"sample {n} of {n} exists: __getitem__ must raise IndexError beyond the end")


def check_model(model: "Model", samples: Sequence[Any], tolerance: float = 1e-4) -> None:
    """Check a model: layers and widths are as stated, a sample's features do not depend on its batch, hooks are removed.

    Args:
        model: The model, loaded.
        samples: Two or more texts or images; texts of different lengths test the padding.
        tolerance: Largest relative difference between a sample alone and in a batch.

    Raises:
        ContractError: It does not keep the contract.
    """
    import torch

    info = model.info
    _require(info.layers and info.default_layers, "info names no layers")
    _require(set(info.default_layers) <= set(info.layers), "a default layer is not among the layers")
    _require(info.n_params > 0, f"info says {info.n_params} parameters")
    encoded = model.preprocess(list(samples))
    _require(len(encoded) == len(samples), f"preprocess made {len(encoded)} of {len(samples)} samples")
    with torch.no_grad():
        together = _captured(model, encoded)
        alone = _captured(model, encoded[:1])
    for layer in info.default_layers:
        batch, single = together[layer][0].float(), alone[layer][0].float()
        width = batch.shape[0] if info.spatial else batch.shape[-1]
        _require(width == info.widths[layer], f"layer {layer} has width {width}, stated {info.widths[layer]}")
        if not info.spatial:
            batch = batch[: single.shape[0]]
        difference = float((batch - single).norm() / single.norm().clamp_min(1e-12))
        _require(difference <= tolerance, f"layer {layer}: a sample depends on its batch by {difference:.2g}")


def _captured(model: "Model", encoded: "Sequence[Encoded]") -> Any:
    layers = model.info.default_layers
    with model.capture(layers) as capture:
        model.forward(model.collate(encoded))
    return {layer: capture[layer] for layer in layers}


def check_loss(loss: Callable[..., Any], *shapes: Sequence[int], seed: int = 0) -> None:
    """Check a loss on random float64 inputs: a finite scalar whose gradients agree with finite differences.

    Args:
        loss: The loss, built.
        shapes: Shapes of its tensor arguments; two of (6, 4) when left out.
        seed: Seed of the inputs.

    Raises:
        ContractError: The value is no finite scalar, or a gradient is wrong.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    wanted = shapes or ((6, 4), (6, 4))
    inputs = [torch.randn(*s, generator=generator, dtype=torch.float64, requires_grad=True) for s in wanted]
    value = loss(*inputs)
    _require(value.ndim == 0, f"the loss has shape {tuple(value.shape)}, wanted a scalar")
    _require(math.isfinite(float(value.detach())), f"the loss is {float(value.detach())} on ordinary data")
    try:
        torch.autograd.gradcheck(loss, inputs)
    except RuntimeError as err:
        raise ContractError(f"a gradient is wrong: {str(err).splitlines()[0]}") from err


def check_evaluator(evaluator: Callable[..., Any], *arguments: Any) -> None:
    """Check an evaluator: it gives named finite numbers, the same ones twice.

    Raises:
        ContractError: It does not.
    """
    first, second = evaluator(*arguments), evaluator(*arguments)
    _require(isinstance(first, dict) and first, f"the evaluator gave {first!r}, wanted named numbers")
    _require(all(isinstance(v, (int, float)) for v in first.values()), "a value is no number")
    _require(first == second, f"two calls differ: {first} and {second}")


def check_tracker(tracker: Tracker, folder: Path) -> None:
    """Check a tracker: it takes a run, numbers (not-finite ones too) and a picture, and closes, twice if need be.

    Raises:
        ContractError: A call raised.
    """
    png = bytes.fromhex(
        "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
    )
    calls: list[tuple[str, tuple[Any, ...]]] = [
        ("start", (TrackedRun("run", "test", folder, {"lr": 1e-3, "names": ["a"]}),)),
        ("log", ({"loss": 0.5}, 1)),
        ("log", ({"loss": float("nan")}, 2)),
        ("image", ("picture", png, 2)),
        ("close", ()),
        ("close", ()),
    ]
    for name, arguments in calls:
        try:
            getattr(tracker, name)(*arguments)
        except Exception as err:
            raise ContractError(f"{name}{arguments} raised {type(err).__name__}: {err}") from err


def check_launcher(launcher: Launcher, folder: Path, n_tasks: int = 3, seconds: float = 60.0) -> None:
    """Check a launcher: a stable script, and every task started once with its number and the variables it was promised.

    Args:
        launcher: The launcher, built. One that only shows what it would do is not asked to start anything.
        folder: An empty folder that its tasks can write to.
        n_tasks: Number of tasks.
        seconds: How long they may take.

    Raises:
        ContractError: A task did not run, ran twice, or the queue says that it is still there when it has ended.
    """
    code = "import os, pathlib, sys; pathlib.Path(sys.argv[1], sys.argv[2]).open('a').write(os.environ['INTERP_CHECK'])"
    command = (sys.executable, "-c", code, str(folder))
    launch = Launch(
        "check", folder, "check", n_tasks, n_tasks, Resources(cpus=1), command, command, {"INTERP_CHECK": "a b$c"}
    )
    tasks = list(range(n_tasks))
    launcher.check(launch)
    _require(launcher.script(launch, tasks) == launcher.script(launch, tasks), "the same launch gives two scripts")
    if not launcher.capabilities.starts:
        return
    jobs = launcher.start(launch, tasks, {"PATH": os.environ["PATH"]})
    _require({task for job in jobs for task in job.tasks} == set(tasks), f"the jobs name the tasks {jobs}")
    end = time.monotonic() + seconds
    while time.monotonic() < end and not all((folder / str(task)).exists() for task in tasks):
        time.sleep(0.05)
    for task in tasks:
        found = (folder / str(task)).read_text() if (folder / str(task)).exists() else None
        _require(found == "a b$c", f"task {task} left {found!r}: not run, run twice, or without its environment")
    while time.monotonic() < end and any(s in ("queued", "running") for s in launcher.states(jobs).values()):
        time.sleep(0.05)
    _require(not {"queued", "running"} & set(launcher.states(jobs).values()), "a task that ended is still in the queue")
    _require(launcher.gpus_in_use() >= 0, "gpus_in_use is negative")
    launcher.cancel(jobs)


def check_method(method: Method) -> None:
    """Check a method: names, help for every option, configurations that survive a round trip, functions that import.

    Raises:
        ContractError: Something is missing.
    """
    names = [stage.name for stage in method.stages]
    _require(method.help.strip(), f"method {method.name!r} has no help")
    _require(len(set(names)) == len(names), f"two stages of {method.name!r} have the same name")
    _require(sum(stage.default for stage in method.stages) <= 1, f"{method.name!r} has several default stages")
    for stage in method.stages:
        _require(stage.help.strip(), f"stage {stage.name!r} has no help")
        _require(callable(stage.load_run()), f"stage {stage.name!r}: {stage.run!r} is not callable")
        for field in fields_of(stage.config_type).values():
            _require(
                field.help or field.hidden,
                f"stage {stage.name!r}: --{field.name} has no help (a string below the field)",
            )
        _check_round_trip(stage)


def _check_round_trip(stage: Stage[Any]) -> None:
    try:
        config = stage.config_type()
    except TypeError:
        return  # a required field: nothing to build without a value
    again = decode(stage.config_type, encode(config))
    _require(again == config, f"stage {stage.name!r}: its configuration changes when it is stored and read")


class FakeContext:
    """A context for tests: real stores in a folder, events in memory, the CPU, no network.

    Args:
        folder: An empty folder.
        seed: Seed of the run.
    """

    def __init__(self, folder: Path, seed: int = 0) -> None:
        self.folder = folder
        self.seed = seed
        self.device = "cpu"
        self.offline = True
        self.stopping = False
        self.is_main = True
        self.events = MemorySink()
        self.catalog = Catalog(())
        self.cache = folder / "cache"
        self.children: list[tuple[str, Any]] = []

    @cached_property
    def run(self) -> Run:
        """A new run's folder."""
        return RunStore(self.folder / "runs").create("test", {})

    @cached_property
    def features(self) -> "FeatureStore":
        """A store of features."""
        from interp_registry.stores.features import FeatureStore

        return FeatureStore(self.folder / "store")

    @cached_property
    def activations(self) -> "ActivationStore":
        """A store of activations."""
        from interp_registry.stores.activations import ActivationStore

        return ActivationStore(self.folder / "store")

    @cached_property
    def accelerator(self) -> Any:
        """Accelerate on the CPU."""
        from accelerate import Accelerator

        return Accelerator(cpu=True)

    @cached_property
    def tracker(self) -> Tracker:
        """No tracker."""
        from interp_registry.contracts.tracker import GuardedTracker

        return GuardedTracker((), self.events)

    def run_stage(self, name: str, config: Any) -> Run:
        """Remember the child and run the stage that is installed under that name."""
        from interp_registry.discovery import discover

        self.children.append((name, config))
        head, _, tail = name.partition(" ")
        method = discover().methods[head]
        stage = next((s for s in method.stages if s.name == tail), None) or method.default_stage
        _require(stage is not None, f"there is no stage {name!r}")
        assert stage is not None  # noqa: S101 - for the type checker
        run = RunStore(self.folder / "runs").create(name, encode(config))
        run.start()
        run.finish(stage.load_run()(config, cast("RunContext", self)).to_json())
        return run


def run_stage(stage: Stage[Any], config: Any, folder: Path, seed: int = 0) -> Result:
    """Run a stage in a fake context and check that its result can be stored as JSON."""
    import json

    result = stage.load_run()(config, cast("RunContext", FakeContext(folder, seed)))
    json.dumps(result.to_json(), allow_nan=False)
    return result

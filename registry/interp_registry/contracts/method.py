"""Methods and their stages: what a plugin adds to become a command of the tool.

A :class:`Method` is a top-level command. With one stage it is a plain command (``interp align``); with several it is a group
(``interp lens train``), in which a stage marked ``default`` runs when no stage is named.

A stage is a configuration class and one function ``run(config, ctx) -> Result``. It never sees the command line, never prints and
keeps no globals: the shell turns arguments into the configuration, and shows the result. Load, one pure function, store.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

from interp_registry.imports import load_attribute
from interp_registry.json_values import to_plain

if TYPE_CHECKING:
    import pandas as pd
    from accelerate import Accelerator

    from interp_registry.catalog import Catalog
    from interp_registry.contracts.tracker import Tracker
    from interp_registry.events import EventSink
    from interp_registry.figures import Figure, Table
    from interp_registry.stores.activations import ActivationStore
    from interp_registry.stores.features import FeatureStore
    from interp_registry.stores.run import Run

__all__ = ["Cost", "Failure", "Method", "Result", "RunContext", "Stage"]

C = TypeVar("C")


@dataclass(frozen=True)
class Failure:
    """One item of a run that failed while the others went on.

    Attributes:
        item: The model, file or task that failed.
        error: Name of the error's class.
        message: What it said, in one line.
    """

    item: str
    error: str
    message: str


@dataclass(frozen=True)
class Cost:
    """What a run is expected to need; shown by ``--dry-run``.

    Attributes:
        seconds: Time on this machine, or None when unknown.
        disk_bytes: What it will write.
        memory_bytes: Peak memory.
        download_bytes: What it must fetch first.
        notes: One line each, e.g. what is stored already.
    """

    seconds: float | None = None
    disk_bytes: int | None = None
    memory_bytes: int | None = None
    download_bytes: int | None = None
    notes: tuple[str, ...] = ()


@dataclass
class Result:
    """What a stage found: numbers, tables, figures and the files it wrote. JSON-encodable.

    Attributes:
        scalars: Named numbers (or short strings), the summary.
        tables: Tables for people and for CSV.
        figures: Figures as data; the shell renders them.
        artifacts: Files and folders that the stage wrote.
        failures: Items that failed while others went on; any makes the exit code 3.
        data: Further JSON values that ``--json`` prints, e.g. whole matrices.
    """

    scalars: dict[str, Any] = field(default_factory=dict)
    tables: list["Table"] = field(default_factory=list)
    figures: list["Figure"] = field(default_factory=list)
    artifacts: list[Path] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The result as JSON values; not-finite numbers become None."""
        return {
            "scalars": _json_value(self.scalars),
            "tables": [table.to_json() for table in self.tables],
            "figures": [figure.to_json() for figure in self.figures],
            "artifacts": [str(path) for path in self.artifacts],
            "failures": [dataclasses.asdict(failure) for failure in self.failures],
            **_json_value(self.data),
        }

    def _repr_html_(self) -> str:
        """Numbers, tables and figures for a notebook, as a static fragment that needs no network."""
        from interp_registry.plots.notebook import result_html

        return result_html(self)

    def to_pandas(self) -> "pd.DataFrame":
        """The first table as a data frame; the named numbers when there is no table."""
        import pandas as pd

        return self.tables[0].to_pandas() if self.tables else pd.DataFrame([self.scalars])

    def plot(self) -> Any:
        """The first figure that has axes, as an interactive ``plotly.graph_objects.Figure``.

        Raises:
            UsageError: There is none.
        """
        from interp_registry.plots.notebook import first_plot

        return first_plot(self.figures)


def _json_value(value: Any) -> Any:
    return _without_marks(to_plain(value))


def _without_marks(value: Any) -> Any:
    """Plain JSON with None for each not-finite number: the readers of a result know nothing of marks."""
    if isinstance(value, list):
        return [_without_marks(item) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    pairs = cast("dict[str, Any]", value)
    return None if pairs.keys() == {"$float"} else {key: _without_marks(item) for key, item in pairs.items()}


class RunContext(Protocol):
    """What a running stage is given. Members are made when first touched: importing torch and its friends costs seconds."""

    @property
    def run(self) -> "Run":
        """The run's folder: configuration, events, result, artifacts, checkpoints."""
        ...

    @property
    def seed(self) -> int:
        """Seed of the whole run; derive generators from it with `interp_registry.tensors.seeding`."""
        ...

    @property
    def device(self) -> str:
        """Device that the user asked for, or the best present: "cpu", "cuda", "cuda:1", "mps"."""
        ...

    @property
    def offline(self) -> bool:
        """Whether the network may not be used."""
        ...

    @property
    def is_main(self) -> bool:
        """Whether this process writes the run's artifacts: of several that share the work, one does. All return the result."""
        ...

    @property
    def accelerator(self) -> "Accelerator":
        """Accelerate's Accelerator for the devices and processes at hand."""
        ...

    @property
    def features(self) -> "FeatureStore":
        """Store of pooled features."""
        ...

    @property
    def activations(self) -> "ActivationStore":
        """Store of token-level activations."""
        ...

    @property
    def events(self) -> "EventSink":
        """Where progress, scalars and heat maps go; dashboards and ``interp watch`` read nothing else."""
        ...

    @property
    def tracker(self) -> "Tracker":
        """Experiment trackers that the user chose; a failing one never stops the run."""
        ...

    @property
    def catalog(self) -> "Catalog":
        """Named sets: model sets, data sets, experiments."""
        ...

    @property
    def cache(self) -> Path:
        """Folder for what can be made again (rendered data, neighbour tables, pretrained targets)."""
        ...

    @property
    def stopping(self) -> bool:
        """Whether a signal asked the run to stop at the next safe point."""
        ...

    def run_stage(self, name: str, config: Any) -> "Run":
        """Run another stage as a child run in the same store.

        Args:
            name: "extract", or "method stage" for a method with several stages, e.g. "spd pretrain".
            config: That stage's configuration object.

        Returns:
            The finished child run.
        """
        ...


@dataclass(frozen=True)
class Stage(Generic[C]):
    """One command: a configuration class and the function that does the work.

    Attributes:
        name: Name of the sub-command; of no matter when the method has one stage.
        help: First line: what it does. Further paragraphs are shown by ``--help``.
        config: A dataclass, or its import path ``"package.module:Class"``; its fields become options, its attribute docstrings
            their help. A path keeps ``interp --help`` fast.
        run: The function, or ``"package.module:function"`` so that nothing heavy is imported before it runs.
        default: Whether the method runs this stage when none is named.
        flags: Further options: name without dashes -> dotted path of a field (``{"topk": "metric.topk"}``).
        legacy_flags: An earlier tool's spellings -> ours.
        estimate: ``(config, ctx) -> Cost`` or its import path, for ``--dry-run``.
        run_batch: ``(configs, contexts) -> results`` or its import path: several runs in one process, for ``--sweep --batched``.
        batch_key: ``(config, catalog) -> key`` or its import path: runs with equal keys (JSON values) may share a process; None
            for one that runs by itself. Seeds may differ always.
        examples: Command lines for the help, without the leading ``interp``.
    """

    name: str
    help: str
    config: type[C] | str
    run: str | Callable[[C, RunContext], Result]
    default: bool = False
    flags: Mapping[str, str] = field(default_factory=dict)
    legacy_flags: Mapping[str, str] = field(default_factory=dict)
    estimate: str | Callable[[C, RunContext], Cost] | None = None
    run_batch: str | Callable[[Sequence[C], Sequence[RunContext]], Sequence[Result]] | None = None
    batch_key: "str | Callable[[C, Catalog], Any] | None" = None
    examples: tuple[str, ...] = ()

    @property
    def config_type(self) -> type[C]:
        """The configuration class, imported if need be."""
        found: Any = load_attribute(self.config) if isinstance(self.config, str) else self.config
        return found

    def load_run(self) -> Callable[[C, RunContext], Result]:
        """The function that does the work, imported if need be."""
        return load_attribute(self.run) if isinstance(self.run, str) else self.run

    def load_estimate(self) -> Callable[[C, RunContext], Cost] | None:
        """The function that estimates the cost, imported if need be."""
        return load_attribute(self.estimate) if isinstance(self.estimate, str) else self.estimate

    def load_run_batch(self) -> Callable[[Sequence[C], Sequence[RunContext]], Sequence[Result]] | None:
        """The function that carries out several runs at once, imported if need be."""
        return load_attribute(self.run_batch) if isinstance(self.run_batch, str) else self.run_batch

    def load_batch_key(self) -> "Callable[[C, Catalog], Any] | None":
        """The function that says which runs may share a process, imported if need be."""
        return load_attribute(self.batch_key) if isinstance(self.batch_key, str) else self.batch_key


@dataclass(frozen=True)
class Method:
    """A top-level command.

    Attributes:
        name: Name of the command.
        help: One line.
        stages: Its stages, at least one.
        api: Public Python names -> ``"package.module:attribute"``; ``import interp_cli as interp`` offers them lazily.
        choices: Registries of its own that others may add to: kind -> draccus ``ChoiceRegistry`` class, or its import path.
        cite: BibTeX entries of the papers behind it, for ``interp cite``.
    """

    name: str
    help: str
    stages: tuple[Stage[Any], ...]
    api: Mapping[str, str] = field(default_factory=dict)
    choices: Mapping[str, type | str] = field(default_factory=dict)
    cite: tuple[str, ...] = ()

    @property
    def default_stage(self) -> Stage[Any] | None:
        """The stage that runs when none is named: the only one, or the one marked default."""
        if len(self.stages) == 1:
            return self.stages[0]
        return next((stage for stage in self.stages if stage.default), None)

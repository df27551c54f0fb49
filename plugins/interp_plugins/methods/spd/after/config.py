"""Configurations of the stages that look into a finished decomposition. Dataclasses only."""

from dataclasses import dataclass, field

__all__ = ["AttributeConfig", "ClusterConfig", "CompareConfig", "EditConfig", "HarvestConfig", "ShowConfig"]


@dataclass
class HarvestConfig:
    """Which decomposition to gather statistics of."""

    decomposition: str = field(default="", metadata={"positional": True, "complete": "runs"})
    """Run (id or folder) of `interp spd run`."""
    n_batches: int = 8
    """Evaluation batches to go through."""
    batch_size: int | None = None
    """Rows per batch; none takes the experiment's."""
    threshold: float = 0.1
    """Importance from which a component fires."""
    n_examples: int = 8
    """Strongest inputs to keep per component."""
    n_related: int = 5
    """Related components to list per component."""


@dataclass
class ClusterConfig:
    """Which decomposition's components to merge into groups."""

    decomposition: str = field(default="", metadata={"positional": True, "complete": "runs"})
    """Run (id or folder) of `interp spd run`."""
    n_batches: int = 2
    """Evaluation batches to go through."""
    batch_size: int | None = None
    """Rows per batch; none takes the experiment's."""
    threshold: float = 0.1
    """Importance from which a component fires."""
    alpha: float = 1.0
    """Price of a member of a group, in bits."""
    n_groups: int | None = None
    """Number of groups to stop at; none takes the shortest description."""
    max_components: int = 400
    """Most live components to merge, the most frequent first."""


@dataclass
class AttributeConfig:
    """Between which modules of a decomposition to attribute."""

    decomposition: str = field(default="", metadata={"positional": True, "complete": "runs"})
    """Run (id or folder) of `interp spd run`."""
    pairs: list[str] = field(default_factory=list)
    """Pairs of modules as EARLIER>LATER; none takes all neighbours in the order of the forward pass."""
    n_batches: int = 2
    """Evaluation batches to go through."""
    batch_size: int | None = 512
    """Rows per batch."""
    threshold: float = 0.1
    """Only components that ever reach this importance take part."""


@dataclass
class EditConfig:
    """Which components to scale."""

    decomposition: str = field(default="", metadata={"positional": True, "complete": "runs"})
    """Run (id or folder) of `interp spd run`."""
    components: list[str] = field(default_factory=list)
    """Components as MODULE:NUMBER."""
    factor: float = 0.0
    """What they are multiplied by; 0 ablates them."""
    n_batches: int = 4
    """Evaluation batches to measure on."""
    batch_size: int | None = None
    """Rows per batch; none takes the experiment's."""
    threshold: float = 0.1
    """Importance from which a component counts as in use on a row."""


@dataclass
class CompareConfig:
    """Which two decompositions to compare."""

    first: str = field(default="", metadata={"positional": True, "complete": "runs"})
    """Run (id or folder) of `interp spd run`."""
    second: str = field(default="", metadata={"positional": True, "complete": "runs"})
    """The run to compare with."""
    density: float = 1e-3
    """Share of rows on which a component has to fire to count as alive."""
    threshold: float = 0.1
    """Importance from which a component fires."""


@dataclass
class ShowConfig:
    """Which decomposition to show."""

    decomposition: str = field(default="", metadata={"positional": True, "complete": "runs"})
    """Run (id or folder) of `interp spd run`."""
    n_batches: int = 4
    """Evaluation batches to take examples from."""
    batch_size: int | None = None
    """Rows per batch; none takes the experiment's."""
    threshold: float = 0.1
    """Importance from which a component fires."""
    n_examples: int = 6
    """Examples per component."""

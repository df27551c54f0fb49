"""What the stage ``extract`` touches of a run's context, without a run."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

from interp_registry.catalog import Catalog
from interp_registry.events import MemorySink
from interp_registry.stores.activations import ActivationStore
from interp_registry.stores.features import FeatureStore


@dataclass
class Context:
    """A store below a folder, and a sink of events."""

    root: Path
    device: str = "cpu"
    stopping: bool = False
    catalog: Catalog = field(default_factory=lambda: Catalog(()))
    events: MemorySink = field(default_factory=MemorySink)
    accelerator: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(wait_for_everyone=lambda: None))

    @property
    def features(self) -> FeatureStore:
        return FeatureStore(self.root)

    @property
    def activations(self) -> ActivationStore:
        return ActivationStore(self.root)

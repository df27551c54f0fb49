"""A run's context without the shell, and features that share a latent."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from interp_registry.catalog import Catalog
from interp_registry.events import MemorySink
from interp_registry.stores.features import FeaturePlan, FeatureRequest, FeatureStore
from interp_registry.stores.run import Run, RunStore


@dataclass
class Context:
    """What a stage needs of a RunContext."""

    root: Path
    run: Run
    features: FeatureStore
    catalog: Catalog
    events: MemorySink = field(default_factory=MemorySink)
    seed: int = 0
    device: str = "cpu"
    offline: bool = True
    stopping: bool = False
    asked: list[tuple[str, Any]] = field(default_factory=list)

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    def run_stage(self, name: str, config: Any) -> Run:
        self.asked.append((name, config))
        raise AssertionError("nothing is to be extracted in this test")


@pytest.fixture
def ctx(tmp_path):
    catalog = tmp_path / "catalog" / "modelsets"
    catalog.mkdir(parents=True)
    (catalog / "tiny.yaml").write_text("language: [lm-a, lm-b]\nvision: [vit-a]\n")
    run = RunStore(tmp_path / "runs").create("align", {})
    return Context(tmp_path, run, FeatureStore(tmp_path / "store"), Catalog((tmp_path / "catalog",)))


@pytest.fixture
def latent():
    return torch.randn(64, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def make_layers(latent):
    def make(n_layers=3, width=12, noise=0.5, seed=1):
        generator = torch.Generator().manual_seed(seed)
        mixes = [torch.randn(latent.shape[1], width, generator=generator) for _ in range(n_layers)]
        return [latent @ mix + noise * torch.randn(len(latent), width, generator=generator) for mix in mixes]

    return make


@pytest.fixture
def store_features(ctx):
    """Store layers as `interp extract` would; returns the key."""

    def store(model, layers, ids=None, totals=None, dataset="shapes", pools=("avg",)):
        n = len(layers[0])
        addresses = [str(i) for i in range(len(layers))]
        request = FeatureRequest(model, dataset, f"digest-of-{dataset}", pools)
        plan = FeaturePlan(n, n, {a: layer.shape[1] for a, layer in zip(addresses, layers, strict=True)})
        entry = ctx.features.open(request, plan)
        tensors = {f"{pool}/{a}": layer for pool in pools for a, layer in zip(addresses, layers, strict=True)}
        entry.write_shard(0, tensors, ids or [f"s{i}" for i in range(n)])
        entry.finish(totals or {})
        return entry.key

    return store

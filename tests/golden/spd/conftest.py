"""The published implementation's values, and models built from its states."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from interp_plugins.methods.spd.config import ScalarMlpConfig, SharedMlpConfig, VectorMlpConfig
from interp_plugins.methods.spd.decomposition import Decomposition
from interp_plugins.methods.spd.importance import Bank
from interp_plugins.methods.spd.randomness import Draws
from interp_plugins.methods.spd.sites import choose_sites
from interp_plugins.methods.spd.targets.toys import ResidualMlp, ToySuperposition

HERE = Path(__file__).parent
CI = {
    "tms_mlp": ScalarMlpConfig(hidden=[3], kernel="plain"),
    "resid_mlp": ScalarMlpConfig(hidden=[4], kernel="plain"),
    "resid_vector_mlp": VectorMlpConfig(hidden=[3]),
    "resid_shared_mlp": SharedMlpConfig(hidden=[5]),
}


@cache
def _tensors(name: str) -> dict[str, torch.Tensor]:
    return load_file(HERE / f"{name}.safetensors")


@cache
def _values(name: str) -> dict[str, Any]:
    return json.loads((HERE / f"{name}.json").read_text())["values"]


class Replay(Draws):
    """Hands out stored draws in their order."""

    def __init__(self, tensors: dict[str, torch.Tensor], key: str) -> None:
        super().__init__(torch.Generator())
        found = [(int(name.rsplit("/", 1)[1].split("_")[0]), value) for name, value in tensors.items()
                 if name.startswith(f"sources/{key}/")]  # fmt: skip
        self.queue: Iterator[torch.Tensor] = iter([value for _, value in sorted(found, key=lambda pair: pair[0])])

    def component_sources(self, lead, widths, *, binary):
        return torch.cat([next(self.queue).to(torch.float32) for _ in widths], -1)

    def delta_sources(self, lead, n_modules):
        return torch.stack([next(self.queue) for _ in range(n_modules)], -1)

    def uniform(self, shape, rows_after=0):
        value = next(self.queue)
        assert tuple(value.shape) == tuple(shape)
        return value

    def integers(self, low, high, shape, rows_after=0):
        value = next(self.queue)
        assert tuple(value.shape) == tuple(shape)
        return value

    def is_used_up(self) -> bool:
        return next(self.queue, None) is None


def target_from(state: dict[str, torch.Tensor], prefix: str = "target_model.") -> ToySuperposition | ResidualMlp:
    if f"{prefix}W_E" in state:
        names = [f"layers.{i}.{kind}" for i in range(2) for kind in ("mlp_in", "mlp_out")]
        weights = {name: state[f"{prefix}{name}.weight"].T for name in names}
        return ResidualMlp(weights, {}, embedding=state[f"{prefix}W_E"], unembedding=state[f"{prefix}W_U"])
    names = ["linear1", "hidden_layers.0", "linear2"]
    weights = {name: state[f"{prefix}{name}.weight"].T for name in names}
    return ToySuperposition(weights, {"linear2": state[f"{prefix}linear2.bias"]})


def model_from(prefix: str, state: dict[str, torch.Tensor], *, tied: bool = False) -> Decomposition:
    target = target_from(state)
    dashed = {name: name.replace(".", "-") for name in target.module_names()}
    factors = {n: (state[f"_components.{d}.V"], state[f"_components.{d}.U"]) for n, d in dashed.items()}
    sites = choose_sites(target, {n: v.shape[-1] for n, (v, _) in factors.items()})
    bank = Bank(tuple(s.n_components for s in sites), tuple(target.weight(s.name).shape[0] for s in sites), (),
                torch.Generator())  # fmt: skip
    ties = (("linear1", "linear2"),) if tied else ()
    model = Decomposition(target, sites, factors, CI[prefix].build(bank), ties)
    with torch.no_grad():
        for i, site in enumerate(sites):
            span = model.spans[site.name]
            views = model.importance.module_weights(span.start, span.stop, i)
            for view, kind in zip(views, ("0.W", "0.b", "2.W", "2.b"), strict=True):
                view.copy_(state[f"_ci_fns.{dashed[site.name]}.layers.{kind}"])
    return model


@pytest.fixture(scope="session")
def main():
    return _tensors("main_2026_02")


@pytest.fixture(scope="session")
def values():
    return _values("main_2026_02")


@pytest.fixture(scope="session")
def september():
    return _tensors("sept_2025")


@pytest.fixture(scope="session")
def september_values():
    return _values("sept_2025")


@pytest.fixture(scope="session")
def state_of(main):
    def get(prefix: str, kind: str = "state") -> dict[str, torch.Tensor]:
        start = f"{prefix}/{kind}/"
        return {name.removeprefix(start): value for name, value in main.items() if name.startswith(start)}

    return get


@pytest.fixture(scope="session")
def build(state_of):
    def make(prefix: str, kind: str = "state") -> Decomposition:
        return model_from(prefix, state_of(prefix, kind), tied=kind == "tied_state")

    return make


@pytest.fixture(scope="session")
def replay(main):
    return lambda key: Replay(main, key)

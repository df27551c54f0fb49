"""A small installed plugin whose stages need no models, and the installed command."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

_PLUGIN = '''
"""Stages for tests: a parabola, and a sum over processes."""
import os
from dataclasses import dataclass, field
from pathlib import Path

from interp_registry.contracts.method import Method, Result, Stage
from interp_registry.errors import UsageError
from interp_registry.hookspecs import hookimpl


@dataclass
class Parabola:
    """A parabola with its top at 0.7."""

    experiments: list[str] = field(default_factory=list, metadata={"positional": True})
    """what to compute"""
    x: float = 0.0
    """place"""
    nested: "Nested" = field(default_factory=lambda: Nested())
    """more"""


@dataclass
class Nested:
    """More settings."""

    shift: float = 0.0
    """added"""


@dataclass
class Count:
    """Counts to ten."""

    to: int = 10
    """where to stop"""


def count(config: Count, ctx: object) -> Result:
    import time

    place = ctx.run.artifact("checkpoints/reached")
    reached = int(place.read_text()) if place.exists() else 0
    log = Path(os.environ["COUNT_LOG"])
    while reached < config.to and not ctx.stopping:
        time.sleep(0.2)
        reached += 1
        place.write_text(str(reached))
        with log.open("a") as target:
            target.write(f"{reached}\\n")
    if reached < config.to:
        return Result()
    return Result(scalars={"reached": reached})


@dataclass
class Sum:
    """Adds up the ranks."""

    failing: int = -1
    """rank that fails"""


def parabola(config: Parabola, ctx: object) -> Result:
    return Result(scalars={"y": -((config.x - 0.7) ** 2) + config.nested.shift, "n": len(config.experiments)})


def total(config: Sum, ctx: object) -> Result:
    import torch

    accelerator = ctx.accelerator
    if accelerator.process_index == config.failing:
        raise UsageError("this rank was told to fail")
    added = accelerator.reduce(torch.tensor([float(accelerator.process_index + 1)]))
    return Result(scalars={"n": accelerator.num_processes, "sum": float(added), "pid": os.getpid()})


Parabola.__annotations__["nested"] = Nested


@hookimpl
def methods() -> list[Method]:
    return [
        Method("parabola", "A parabola.", (Stage("parabola", "A parabola.", Parabola, parabola),)),
        Method("count", "A count.", (Stage("count", "A count.", Count, count),)),
        Method("total", "A sum.", (Stage("total", "A sum.", Sum, total),)),
    ]
'''


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an installed third-party plugin, on the path of every process started from here."""
    site = tmp_path / "site"
    info = site / "launchtest-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "launchtest.py").write_text(_PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: launchtest\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[interp]\nlaunchtest = launchtest\n")
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return site


@pytest.fixture
def interp(plugin: Path, tmp_path: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Run the installed command in a folder of its own."""
    folder = tmp_path / "work"
    folder.mkdir()

    def run(*words: str, timeout: float = 180.0, **variables: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-P", "-m", "interp_cli", *words],
            cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True, timeout=timeout,
        )  # fmt: skip

    run.folder = folder
    return run

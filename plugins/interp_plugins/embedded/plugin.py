"""Registers the embedded data sets and the stages ``interp zoo build`` and ``interp zoo verify``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import interp_registry
from interp_registry.contracts.method import Method, Stage

if TYPE_CHECKING:
    from interp_registry.choices import Registry

INTERP_API = 1

_STAGES = "interp_plugins.embedded.stages"


@interp_registry.hookimpl
def register(registry: "Registry") -> None:
    """Add the embedded data sets; the zoo's models are found by their names."""
    from interp_plugins.embedded.config import ShapesConfig, ShapesTwinsConfig

    registry.add("dataset", "shapes", ShapesConfig)
    registry.add("dataset", "shapes-twins", ShapesTwinsConfig)


@interp_registry.hookimpl
def methods() -> Sequence[Method]:
    """The zoo's command."""
    build = Stage(
        name="build",
        help="Train the models of the zoo again, from nothing.\n\nAbout half an hour for all on two cores; --dry-run says more.",
        config="interp_plugins.embedded.config:ZooBuildConfig",
        run=f"{_STAGES}:build",
        estimate=f"{_STAGES}:estimate_build",
        examples=("zoo build", "zoo build --only lm-d32,vit-d32"),
    )
    verify = Stage(
        name="verify",
        help="Measure the zoo and compare with its thresholds.\n\nAlignment of every language model with every vision model, "
        "trained and untrained, its null, loss, retrieval and twins. Exit code 3 when a threshold is missed.",
        config="interp_plugins.embedded.config:ZooVerifyConfig",
        run=f"{_STAGES}:verify",
        estimate=f"{_STAGES}:estimate_verify",
        examples=("zoo verify", "zoo verify --weights ~/.interp/runs/RUN/weights"),
    )
    return (Method(name="zoo", help="Build and verify the embedded models.", stages=(build, verify)),)

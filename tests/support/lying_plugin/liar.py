"""A plugin whose models, data sets, metrics, trackers and launchers break their contract, each in one way: its lie."""

from dataclasses import dataclass

import interp_plugins.methods.align.run
import interp_plugins.methods.extract.run
import interp_plugins.models.language
import interp_plugins.models.timm  # noqa: F401 - once in the server, and not in each of its forks
from interp_registry import DatasetConfig, MetricConfig, ModelConfig, hookimpl
from interp_registry.choices import LauncherConfig, TrackerConfig

MODEL = "width nan preprocess rows raises exits hangs complex integers vanishing"
DATASET = "short negative empty kind raises exits hangs hangs_len changing shuffled drifting captions_str captions_none"
IMAGES = "modes size_0 array shuffled hangs"
METRIC = "shape rows nan complex words null raises exits hangs range"
TRACKER = "building start log close raises exits"
LIES = {
    "model": (ModelConfig, "liar_models:Model", ["", *MODEL.split()]),
    "dataset": (DatasetConfig, "liar_data:Texts", ["", *DATASET.split()]),
    "images": (DatasetConfig, "liar_data:Images", IMAGES.split()),
    "metric": (MetricConfig, "liar_metrics:Metric", ["", *METRIC.split()]),
    "tracker": (TrackerConfig, "liar_others:Tracker", TRACKER.split()),
    "launcher": (LauncherConfig, "liar_others:Launcher", ["nothing", "raises", "exits", "hangs"]),
}


@hookimpl
def register(registry):
    """Register every lie under the name ``liar-KIND-LIE``."""
    for kind, (root, impl, lies) in LIES.items():
        for lie in lies:
            fields = {"__doc__": "Lies.", "__module__": __name__, "impl": impl, "lie": lie}
            made = dataclass(type(f"{kind}{lie}", (root,), fields))
            globals()[made.__name__] = made
            name = f"liar-{kind}-{lie}".strip("-").replace("_", "-")
            registry.add("dataset" if kind == "images" else kind, name, made)

"""Pure benchmark scores: ``interp.bench_metrics`` from Python."""

from interp_plugins.methods.bench.classification import class_weights, classification
from interp_plugins.methods.bench.intervals import wilson_interval
from interp_plugins.methods.bench.matching import choice, groups_right, winoground
from interp_plugins.methods.bench.retrieval import retrieval

__all__ = ["choice", "class_weights", "classification", "groups_right", "retrieval", "wilson_interval", "winoground"]

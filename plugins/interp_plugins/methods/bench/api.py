"""Public Python names of the benchmarks."""

from interp_plugins.methods.bench import metrics as bench_metrics

__all__ = ["bench_metrics"]

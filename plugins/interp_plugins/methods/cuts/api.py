"""Public Python name of the cuts."""

from interp_plugins.methods.cuts import public as cuts

__all__ = ["cuts"]

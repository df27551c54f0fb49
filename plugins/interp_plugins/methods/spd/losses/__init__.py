"""Losses of a decomposition."""

__all__: list[str] = []

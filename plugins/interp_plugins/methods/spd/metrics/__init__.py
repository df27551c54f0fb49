"""Metrics and figures of a decomposition."""

__all__: list[str] = []

"""Activations, checkpoints and settings of other lens tools."""

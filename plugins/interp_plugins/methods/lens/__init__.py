"""Lenses: what is in an activation, in words and in predictions."""

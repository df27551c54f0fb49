"""Representational similarity metrics: the maths, one module per family, and their registration."""

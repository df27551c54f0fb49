"""Lenses that predict the next token from an activation."""

"""Extraction: pooled activations of any model at every layer, over a data set."""

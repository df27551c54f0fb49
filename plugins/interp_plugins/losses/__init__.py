"""Alignment losses of paired embeddings: contrastive, kernel alignment, cross-covariance spectrum, normalised cut."""

__all__: list[str] = []

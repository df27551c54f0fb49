"""Lenses that give an activation back through the plainest bottlenecks: its mean, a linear subspace."""

"""Parameter decomposition: rank-one components of a model's matrices and how much each matters on each input."""

__all__: list[str] = []

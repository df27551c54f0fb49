"""What is done with a finished decomposition: harvest, cluster, attribute, edit, compare, show."""

__all__: list[str] = []

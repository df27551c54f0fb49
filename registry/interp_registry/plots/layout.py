"""Where the nodes of a graph stand."""

import math

from interp_registry.figures import Graph

__all__ = ["node_positions"]


def node_positions(figure: Graph) -> list[tuple[float, float]]:
    """A place for every node: its own coordinates, or one on the unit circle, clockwise from the top in node order."""
    n = max(len(figure.nodes), 1)
    places: list[tuple[float, float]] = []
    for i, node in enumerate(figure.nodes):
        angle = math.pi / 2 - 2 * math.pi * i / n
        x = math.cos(angle) if node.x is None else node.x
        y = math.sin(angle) if node.y is None else node.y
        places.append((x, y))
    return places

"""The method `neighbours`: who is nearest to whom in a layer of stored features."""

from interp_registry import Method, Stage, hookimpl

INTERP_API = 1


@hookimpl
def methods() -> list[Method]:
    """The method and its two stages."""
    index = Stage(
        "index",
        "Find the nearest neighbours of every sample in one layer of stored features.",
        "interp_neighbours.config:IndexConfig",
        "interp_neighbours.stages:index",
        examples=("neighbours index lm-d64 --layer 2",),
    )
    show = Stage(
        "show",
        "Show the neighbours of one sample from an index.",
        "interp_neighbours.config:ShowConfig",
        "interp_neighbours.stages:show",
    )
    api = {"nearest": "interp_neighbours.stages:nearest"}
    return [Method("neighbours", "Nearest neighbours in stored features.", (index, show), api=api)]

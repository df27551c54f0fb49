"""What an alignment is expected to need, for ``--dry-run``."""

from interp_plugins.methods.align.config import AlignConfig
from interp_plugins.methods.align.reading import means_file
from interp_plugins.methods.align.sources import sides
from interp_registry.contracts.method import Cost, RunContext

__all__ = ["estimate"]


def estimate(config: AlignConfig, ctx: RunContext) -> Cost:
    """Model pairs and metrics that would be scored; features that would be extracted are `interp extract --dry-run`'s to price.

    Raises:
        UsageError: There is nothing to compare.
    """
    x, y = sides(config, ctx.catalog)
    pairs = len(x) * len(y) if y else len(x) * (len(x) - 1) // 2
    stored = {str(entry.manifest["request"]["model"]) for entry in ctx.features.entries()}
    missing = [word for word in dict.fromkeys([*x, *y]) if word not in stored and not means_file(word)]
    null = config.n_permutations
    notes = [
        f"{pairs} model pair{'s' if pairs != 1 else ''} by {len(config.metric)} metric{'s' if len(config.metric) != 1 else ''}"
    ]
    notes.append(
        "no null"
        if null is None
        else f"{null} permutations of each; a pair of 24 x 12 layers at n = 1,024 takes 2 to 10 s"
    )
    if missing:
        notes.append(f"without stored features: {', '.join(missing[:6])}{', ...' if len(missing) > 6 else ''}")
    return Cost(notes=tuple(notes))

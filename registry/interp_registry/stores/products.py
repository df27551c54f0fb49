"""What finished runs made, found again by the names that people give: the lens of a run, its decomposition."""

from pathlib import Path

from interp_registry.errors import UsageError

__all__ = ["find_product"]


def find_product(name: str, runs: Path | None, product: str, what: str, made_by: str) -> Path:
    """Folder of something that a run made.

    Args:
        name: A run's id, an unmistakable beginning or ending of it, "last" (the latest run that has one), a run's folder, or the
            product's own folder.
        runs: Folder that holds the runs; without it only folders are found.
        product: A file that every product has, below the run's folder, e.g. ``lens/lens.json``.
        what: What it is called in messages, e.g. "lens".
        made_by: The command that makes it.

    Raises:
        UsageError: Nothing of that name, or several runs, have one.
    """
    inside = Path(product)
    given = Path(name).expanduser()
    for candidate in (given / inside.name, given / inside):
        if candidate.is_file():
            return candidate.parent
    made = [path for path in sorted(runs.iterdir()) if (path / inside).is_file()] if runs and runs.is_dir() else []
    named = [path for path in made if name and (path.name.startswith(name) or path.name.endswith(name))]
    matches = made[-1:] if name == "last" else named
    if len(matches) > 1:
        raise UsageError(f"{name!r} could be {', '.join(path.name for path in matches[:8])}", "write more of it")
    if not matches:
        raise UsageError(f"{name!r} is no {what}", f'give "last", or the id or folder of a finished `{made_by}`')
    return matches[0] / inside.parent

"""What finished runs made, found again by the names that people give: the lens of a run, its decomposition."""

from pathlib import Path

from interp_registry.errors import UnknownNameError, UsageError
from interp_registry.stores.dated_ids import choose_id

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
    made = {path.name: path for path in (runs.iterdir() if runs and runs.is_dir() else ()) if (path / inside).is_file()}
    try:
        chosen = max(made) if name == "last" and made else choose_id(what, name, made)
    except UnknownNameError as err:
        there = f"; {err.hint}" if made else ""
        hint = f'give "last", or the id or folder of a finished `{made_by}`{there}'
        raise UsageError(f"{name!r} is no {what}", hint) from err
    return made[chosen] / inside.parent

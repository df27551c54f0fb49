"""Which runs the words of a command line mean: runs, folders of runs, and launches."""

import re
from collections.abc import Sequence
from pathlib import Path

from interp_cli.launch.folder import LaunchFolder, list_launches
from interp_registry.errors import CorruptError, UnknownNameError, UsageError
from interp_registry.stores.home import Layout, layout
from interp_registry.stores.run import Run, RunStore

__all__ = ["chosen_launches", "chosen_runs"]


def chosen_runs(names: Sequence[str], out: Path | None) -> list[Run]:
    """The runs that ``names`` mean, each once, in order.

    Args:
        names: A run's id, an unmistakable part of it, a run's folder, a folder of runs, a launch (id or folder), or
            ``last``: the latest run, or all runs of the latest launch where that is later or the run is one of its own.
        out: Home folder instead of the usual one.

    Raises:
        UnknownNameError: A name means nothing; similar ones are suggested.
        UsageError: A folder holds no run.
    """
    found = {run.path.resolve(): run for name in names for run in _runs_of(name, out)}
    return list(found.values())


def chosen_launches(names: Sequence[str], out: Path | None) -> list[LaunchFolder]:
    """The launches among what ``names`` mean."""
    parent = layout(out).launches
    latest = list_launches(parent)[:1] if "last" in names else []
    places = [place for name in names for place in (Path(name), parent / name)]
    return [*latest, *(LaunchFolder(place) for place in places if (place / "tasks.jsonl").is_file())]


def _runs_of(name: str, out: Path | None) -> list[Run]:
    folders = layout(out)
    if name == "last" and (launches := list_launches(folders.launches)):
        return _last(folders, launches[0])
    for folder in (Path(name), folders.launches / name):
        if (folder / "record.json").is_file():
            return [Run(folder)]
        if (folder / "tasks.jsonl").is_file():
            return _runs_of_launch(folder)
    if "/" in name and Path(name).is_dir():
        runs = list(RunStore(Path(name)).runs())
        if not runs:
            raise UsageError(f"{name} holds no run", "name a run's folder, or a folder that holds such folders")
        return runs
    try:
        return [RunStore(folders.runs).get(name)]
    except UnknownNameError as error:
        launches = [path.name for path in folders.launches.iterdir()] if folders.launches.is_dir() else []
        known = ["last", *error.known, *launches]
        raise UnknownNameError("run or launch", name, known, str(folders.root), newest_first=True) from error


def _last(folders: Layout, launch: LaunchFolder) -> list[Run]:
    of_launch = _runs_of_launch(launch.path)
    try:
        run = RunStore(folders.runs).get("last")
    except UnknownNameError:
        return of_launch
    of_itself = run.id not in {one.id for one in of_launch} and _second(run.id) > _second(launch.id)
    return [run] if of_itself else of_launch


def _second(identity: str) -> str:
    """When a run or launch was made: year to second, the first fourteen digits of its id."""
    return re.sub(r"\D", "", identity)[:14]


def _runs_of_launch(folder: Path) -> list[Run]:
    """The runs that tasks of a launch have made so far: each left a file with the path of its run."""
    runs: list[Run] = []
    pointers = sorted(folder.glob("state/*.run"), key=lambda path: (len(path.stem), path.stem))
    for pointer in pointers:
        path = Path(pointer.read_text(encoding="utf-8").strip())
        if (path / "record.json").is_file():
            try:
                runs.append(Run(path))
            except CorruptError:
                continue
    return runs

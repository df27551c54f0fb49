"""Aim, through its own SDK: accelerate's tracker leaves its terminal capture on, which fights the dashboard."""

import hashlib
import io
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from interp_plugins.trackers.config import AimConfig
from interp_registry.contracts.tracker import TrackedRun, Tracker
from interp_registry.stores.artifact import replace_text

__all__ = ["AimTracker", "import_run", "known_hash"]

_log = logging.getLogger(__name__)


def known_hash(repo: Path, name: str) -> str | None:
    """Aim's identity of the run called ``name``, or ``None`` when this repository does not have it.

    Aim gives identities itself; which run has which is kept in files beside its data, named by a digest of the run's name.
    """
    note = _note(repo, name)
    return note.read_text(encoding="ascii").strip() if note.is_file() else None


def _note(repo: Path, name: str) -> Path:
    return repo / ".aim" / "interp-runs" / hashlib.sha256(name.encode()).hexdigest()[:32]


class AimTracker(Tracker):
    """Keeps a run in an Aim repository.

    Aim's own sampling of the machine and of the terminal is off. What its SDK writes it cannot read back before it is indexed, so
    :meth:`close` does that.

    Args:
        config: Where the repository is.
    """

    def __init__(self, config: AimConfig) -> None:
        self._config = config
        self._run: Any = None
        self._repo: Path | None = None

    def start(self, run: TrackedRun) -> None:
        """Begin to keep ``run``; a run that goes on continues its earlier entry."""
        os.environ.setdefault("AIM_UI_TELEMETRY_ENABLED", "0")
        import aim

        self._repo = self._config.repo or run.folder.parent
        self._repo.mkdir(parents=True, exist_ok=True)
        repo = aim.Repo.from_path(str(self._repo), init=True)
        known = known_hash(self._repo, run.name)
        self._run = aim.Run(
            run_hash=known,
            repo=repo,
            experiment=self._config.experiment or run.stage,
            force_resume=known is not None,
            log_system_params=False,
            system_tracking_interval=None,
            capture_terminal_logs=False,
        )
        note = _note(self._repo, run.name)
        note.parent.mkdir(exist_ok=True)
        replace_text(note, f"{self._run.hash}\n")
        self._run.name = run.name
        self._run["hparams"] = dict(run.config)
        self._run["interp"] = {"run": run.name, "stage": run.stage, "folder": str(run.folder)}

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Keep named numbers at a step."""
        for name, value in values.items():
            self._run.track(float(value), name=name, step=step)

    def image(self, name: str, png: bytes, step: int) -> None:
        """Keep a picture at a step."""
        import aim
        from PIL import Image

        self._run.track(aim.Image(Image.open(io.BytesIO(png))), name=name, step=step)

    def close(self) -> None:
        """Finish, and index the run so that it can be read."""
        if self._run is None:
            return
        import aim
        from aim.sdk.index_manager import RepoIndexManager

        identity = self._run.hash
        self._run.close()
        self._run = None
        if not RepoIndexManager.get_index_manager(aim.Repo.from_path(str(self._repo))).index(identity):
            _log.warning("Aim could not index run %s; `aim storage --repo %s reindex -y` does", identity, self._repo)


def import_run(repo: Path, run: TrackedRun, values: Iterable[tuple[int, Mapping[str, float]]]) -> bool:
    """Write a run into an Aim repository from what its events say, unless it is there.

    Args:
        repo: Folder of the repository.
        run: The run.
        values: Numbers by step.

    Returns:
        Whether it was written.
    """
    if known_hash(repo, run.name) is not None:
        return False
    tracker = AimTracker(AimConfig(repo=repo))
    tracker.start(run)
    for step, numbers in values:
        tracker.log(numbers, step)
    tracker.close()
    return True

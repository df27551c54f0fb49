"""TensorBoard, Weights & Biases and trackio, through accelerate's trackers."""

import contextlib
import importlib.util
import io
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from interp_plugins.trackers.config import TensorBoardConfig, TrackioConfig, WandbConfig
from interp_registry.contracts.tracker import TrackedRun, Tracker
from interp_registry.errors import MissingDependencyError

__all__ = ["TensorBoard", "Trackio", "Wandb", "flat_settings"]

_log = logging.getLogger(__name__)


def flat_settings(config: Mapping[str, Any], prefix: str = "") -> dict[str, bool | int | float | str]:
    """A nested configuration as dotted names and what trackers take: numbers, booleans and text."""
    flat: dict[str, bool | int | float | str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= flat_settings(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, (bool, int, float, str)) else str(value)
    return flat


class _Accelerated(Tracker):
    """A tracker of accelerate behind the contract."""

    package = ""

    def __init__(self) -> None:
        self._inner: Any = None

    def _make(self, run: TrackedRun) -> Any:
        raise NotImplementedError

    def start(self, run: TrackedRun) -> None:
        """Begin to keep ``run``.

        Raises:
            MissingDependencyError: The tracker's package is not installed.
        """
        if importlib.util.find_spec(self.package) is None:
            raise MissingDependencyError(
                f"{self.package} is not installed", f"pip install 'interp-cli[{self.package}]'"
            )
        from accelerate import PartialState

        PartialState()
        with _said_to_the_log():
            self._inner = self._make(run)
            self._inner.start()
            self._inner.store_init_configuration({**flat_settings(run.config), "run": run.name, "stage": run.stage})

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Keep named numbers at a step."""
        self._inner.log(dict(values), step=step)

    def image(self, name: str, png: bytes, step: int) -> None:
        """Keep a picture at a step, where the tracker keeps pictures."""
        if not hasattr(self._inner, "log_images"):
            return
        import numpy as np
        from PIL import Image

        picture = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
        self._inner.log_images({name: [picture]}, step=step)

    def close(self) -> None:
        """Finish."""
        if self._inner is not None:
            with _said_to_the_log():
                self._inner.finish()


@contextlib.contextmanager
def _said_to_the_log() -> Iterator[None]:
    """Take what a tracker prints into the log: the standard output is the command's result."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            yield
    finally:
        for line in filter(None, map(str.strip, said.getvalue().splitlines())):
            _log.info("%s", line)


class TensorBoard(_Accelerated):
    """TensorBoard event files in the run's folder, or in one that the configuration names."""

    package = "tensorboard"

    def __init__(self, config: TensorBoardConfig) -> None:
        super().__init__()
        self._config = config

    def _make(self, run: TrackedRun) -> Any:
        from accelerate.tracking import TensorBoardTracker

        folder = self._config.folder or run.folder / "tensorboard"
        return TensorBoardTracker(run.name, str(folder))

    def image(self, name: str, png: bytes, step: int) -> None:
        """Keep a picture at a step."""
        import numpy as np
        from PIL import Image

        picture = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
        self._inner.log_images({name: picture[None]}, step=step, dataformats="NHWC")


class Wandb(_Accelerated):
    """Weights & Biases."""

    package = "wandb"

    def __init__(self, config: WandbConfig) -> None:
        super().__init__()
        self._config = config

    def _make(self, run: TrackedRun) -> Any:
        from accelerate.tracking import WandBTracker

        mode = "offline" if run.offline else None
        options = {"name": run.name, "entity": self._config.entity, "dir": str(run.folder), "mode": mode}
        return WandBTracker(self._config.project, **options)


class Trackio(_Accelerated):
    """trackio."""

    package = "trackio"

    def __init__(self, config: TrackioConfig) -> None:
        super().__init__()
        self._config = config

    def _make(self, run: TrackedRun) -> Any:
        from accelerate.tracking import TrackioTracker

        return TrackioTracker(self._config.project, name=run.name)

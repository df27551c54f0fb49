"""Scoped helpers for notebooks: a loaded model, a tracked run. Nothing outlives its ``with`` block, and nothing is global."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch

from interp_plugins.models.image_text.config import ImageTextOptions
from interp_plugins.models.image_text.loading import load_image_text
from interp_plugins.models.image_text.two_towers import ImageTextModel
from interp_registry.errors import MissingDependencyError

__all__ = ["TrackedRun", "clip", "track"]


@contextmanager
def clip(
    name: str = "clip-bow",
    *,
    device: str | None = None,
    dtype: Literal["float32", "bfloat16", "float16"] = "float32",
    revision: str | None = None,
) -> Iterator[ImageTextModel]:
    """A loaded CLIP or SigLIP; its memory is given back at the end of the block.

    Example:
        >>> with interp.clip("openai/clip-vit-base-patch32") as clip:
        ...     similarity = clip.embed_images(images) @ clip.embed_texts(texts).T

    Args:
        name: An embedded model, a folder, or a name of the hub.
        device: "cpu", "cuda", "mps"; default: the best present.
        dtype: Type of the weights.
        revision: Branch, tag or commit of the hub.

    Raises:
        OfflineError: The model is not here and cannot be fetched.
        UsageError: It is no CLIP or SigLIP.
    """
    chosen = device or _best_device()
    model = load_image_text(name, ImageTextOptions(revision=revision, dtype=dtype), chosen)
    try:
        yield model
    finally:
        model.module.to("meta")
        if chosen.startswith("cuda"):
            torch.cuda.empty_cache()


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


class TrackedRun:
    """A run of Aim; :attr:`aim` is the object underneath."""

    def __init__(self, run: Any) -> None:
        self.aim = run

    @property
    def hash(self) -> str:
        """Identity of the run in its repository."""
        return self.aim.hash

    def track(self, value: float, name: str, step: int | None = None, context: Mapping[str, Any] | None = None) -> None:
        """Record a number.

        Args:
            value: The number; a tensor of one element is read.
            name: Name of the metric.
            step: Step; default: one after the last.
            context: Further keys, e.g. {"subset": "test"}.
        """
        self.aim.track(float(value), name=name, step=step, context=dict(context or {}))

    def __setitem__(self, key: str, value: Any) -> None:
        """Record a parameter."""
        self.aim[key] = value


@contextmanager
def track(repo: str | Path = ".", experiment: str | None = None, **parameters: Any) -> Iterator[TrackedRun]:
    """A run of Aim that is closed, and indexed so that it can be read back, at the end of the block.

    Example:
        >>> with interp.track(repo=".", experiment="x") as run:
        ...     run.track(0.5, name="loss", step=0)

    Args:
        repo: Folder of the Aim repository; made when it is missing.
        experiment: Name of the experiment.
        **parameters: Recorded with the run.

    Raises:
        MissingDependencyError: Aim is not installed.
    """
    try:
        from aim import Run
    except ImportError as err:
        raise MissingDependencyError(f"aim cannot be imported: {err}", "pip install 'aim>=3.29.1'") from err
    run = Run(
        repo=str(repo),
        experiment=experiment,
        system_tracking_interval=None,
        log_system_params=False,
        capture_terminal_logs=False,
    )
    try:
        for key, value in parameters.items():
            run[key] = value
        yield TrackedRun(run)
    finally:
        run.close()
        _index(str(repo), run.hash)


def _index(repo: str, run_hash: str) -> None:
    """Index a finished run: Aim 3.29's readers find nothing in one that is not."""
    from aim import Repo
    from aim.sdk.index_manager import RepoIndexManager

    RepoIndexManager.get_index_manager(Repo.from_path(repo)).index(run_hash)

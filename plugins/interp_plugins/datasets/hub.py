"""Data sets of the Hugging Face hub, streamed."""

import hashlib
import io
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import datasets
from datasets.config import HF_HUB_OFFLINE
from datasets.exceptions import DatasetNotFoundError
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from PIL import Image

from interp_plugins.datasets.config import HubDatasetConfig, PrhConfig
from interp_plugins.datasets.paths import open_image
from interp_plugins.datasets.sides import SidedDataset
from interp_plugins.models.fetching import hub_answers
from interp_registry.contracts.data import Dataset, SampleModality, StreamingDataset
from interp_registry.errors import DataError, OfflineError, UnknownNameError, UsageError

__all__ = ["HubRows", "HubStream", "load", "load_prh"]

_SHUFFLE_BUFFER = 10_000


@dataclass(frozen=True)
class _Columns:
    """Which columns hold the text and the encoded image."""

    text: str | None
    image: str | None


class HubStream(StreamingDataset):
    """A data set of the hub, read from its beginning.

    Args:
        config: Which data set and columns.
        rows: Its rows, images not decoded.
        columns: Where text and image are.
    """

    def __init__(self, config: HubDatasetConfig, rows: "datasets.IterableDataset", columns: _Columns) -> None:
        self.config, self._rows, self.columns = config, rows, columns
        self.name = config.name
        found: dict[SampleModality, str | None] = {"language": columns.text, "vision": columns.image}
        self.modalities = frozenset(modality for modality, column in found.items() if column is not None)

    def __iter__(self) -> Iterator[Any]:
        for number, row in enumerate(self._rows):
            yield replace(HubRows(self, [row], "")[0], key=str(number))

    def select(self, n: int | None = None, seed: int | None = None) -> Dataset:
        """The first ``n`` rows, after a shuffle with a buffer of 10,000 when ``seed`` is given; fetched now.

        All rows are not held but read from the hub's cache on disk, memory-mapped, so they may be more than fit in memory.

        Raises:
            DataError: ``n`` is None and the data set has no known end, or ``n`` is less than 1, or there are no rows.
        """
        if n is None:
            return self._whole().select(None, seed)
        if n < 1:
            raise DataError(f"a data set of {n} samples was asked for", "--limit must be at least 1")
        rows = self._rows if seed is None else self._rows.shuffle(seed=seed, buffer_size=_SHUFFLE_BUFFER)
        with _clear_errors(self.name):
            held = list(itertools.islice(rows, n))
        if not held:
            raise DataError(f"{self.name}, split {self.config.split!r}, has no rows")
        return HubRows(self, held, _fingerprint(held))

    def _whole(self) -> "HubRows":
        if _known_size(self._rows) is None and not Path(self.config.name).exists():
            raise DataError(f"{self.name} has no known end", "say how many samples: --limit N")
        config = self.config
        with _clear_errors(self.name):
            table: Any = datasets.load_dataset(
                config.name, config.subset, revision=config.revision, split=config.split, streaming=False
            )
        if self.columns.image is not None:
            table = table.cast_column(self.columns.image, datasets.Image(decode=False))
        parts = (config.name, config.subset, config.revision, config.split, len(table), table._fingerprint)
        return HubRows(self, table, hashlib.sha256(repr(parts).encode()).hexdigest())


class HubRows(SidedDataset):
    """Rows fetched from the hub; images stay encoded until they are asked for."""

    def __init__(self, stream: HubStream, rows: Sequence[Mapping[str, Any]], fingerprint: str) -> None:
        self.rows, self._fingerprint, self._columns = rows, fingerprint, stream.columns
        self.name, self.modalities = stream.name, stream.modalities

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def fingerprint(self) -> str:
        """Digest of the texts and encoded images, in order."""
        return self._fingerprint

    def image(self, index: int) -> Image.Image:
        """The image of a row."""
        value = self.rows[index].get(self._columns.image or "")
        if isinstance(value, Image.Image):
            return value.convert("RGB")
        if isinstance(value, Mapping) and isinstance(value.get("bytes"), bytes):
            return open_image(io.BytesIO(value["bytes"]), f"row {index} of {self.name}")
        raise DataError(f"row {index} of {self.name} has no image")

    def key(self, index: int) -> str:
        """Number of the row."""
        return str(index)

    def captions_of(self, index: int) -> tuple[str, ...]:
        """All texts of a row; its image is not decoded."""
        value = self.rows[index].get(self._columns.text or "")
        if isinstance(value, str):
            return (value,)
        return tuple(str(text) for text in value) if isinstance(value, list) else ()

    def origin(self, index: int) -> str:
        """What a row's column ``origin`` says."""
        return str(self.rows[index].get("origin", ""))


def load(config: HubDatasetConfig) -> HubStream:
    """Open a data set of the hub.

    Raises:
        OfflineError: The hub cannot be reached.
        UsageError: It has no name, does not exist, has no such subset or split, or no column of text or images.
    """
    if not config.name.strip("/ "):
        raise UsageError(f"{config.name!r} names no data set of the hub", "name it, as in hub:name=OWNER/DATASET")
    if not Path(config.name).exists() and not hub_answers():
        raise _unreachable(config.name)
    with _clear_errors(config.name):
        rows = datasets.load_dataset(
            config.name, config.subset, revision=config.revision, split=config.split, streaming=True
        )
    columns = _columns(config, rows.features)
    if columns.image is not None and rows.features is not None:
        rows = rows.cast_column(columns.image, datasets.Image(decode=False))
    return HubStream(config, rows, columns)


def load_prh(config: PrhConfig) -> HubStream:
    """Open minhuh/prh, whose revisions are its sets.

    Raises:
        OfflineError: The hub cannot be reached.
    """
    return load(HubDatasetConfig(name="minhuh/prh", revision=config.revision, text="text", image="image"))


def _columns(config: HubDatasetConfig, features: "Mapping[str, Any] | None") -> _Columns:
    known = dict(features or {})
    for name in (config.text, config.image):
        if name is not None and known and name not in known:
            raise UnknownNameError("column", name, known, config.name)
    if not known:
        return _Columns(config.text, config.image)
    text = config.text or next((name for name, kind in known.items() if _is_text(kind)), None)
    image = config.image or next((name for name, kind in known.items() if isinstance(kind, datasets.Image)), None)
    if text is None and image is None:
        raise UsageError(f"{config.name} has no column of text or images", f"its columns: {', '.join(known)}")
    return _Columns(text, image)


def _is_text(kind: Any) -> bool:
    return getattr(kind, "dtype", None) in {"string", "large_string"}


def _known_size(rows: "datasets.IterableDataset") -> int | None:
    splits = rows.info.splits or {}
    split = splits.get(str(rows.split))
    return None if split is None else split.num_examples


def _fingerprint(rows: list[dict[str, Any]]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, sort_keys=True, default=_encoded).encode())
    return digest.hexdigest()


def _encoded(value: Any) -> str:
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, Image.Image):
        return hashlib.sha256(value.tobytes()).hexdigest()
    return str(value)


@contextmanager
def _clear_errors(name: str) -> Iterator[None]:
    """Turn what the hub's library raises into one line."""
    try:
        yield
    except DatasetNotFoundError as err:
        if HF_HUB_OFFLINE:
            raise _unreachable(name) from err
        raise UsageError(f"the hub has no data set {name!r}, or it is private") from err
    except (OfflineModeIsEnabled, HfHubHTTPError, ConnectionError) as err:
        raise _unreachable(name) from err
    except ValueError as err:
        first_line = next(iter(str(err).splitlines()), "")
        raise UsageError(f"{name} cannot be opened: {first_line}") from err


def _unreachable(name: str) -> OfflineError:
    return OfflineError(
        f"the data set {name} has to be fetched, and the hub cannot be reached",
        "without a network: the embedded world (--dataset shapes), or a file or folder of your own",
    )

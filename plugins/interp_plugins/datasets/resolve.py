"""From what a user writes after ``--dataset`` to a data set: a registered name, a file, a folder, or a name on the hub."""

import dataclasses
from pathlib import Path
from typing import Any

import draccus

from interp_plugins.datasets.config import HubDatasetConfig
from interp_registry.choices import DatasetConfig, choice_names
from interp_registry.contracts.data import Dataset, StreamingDataset
from interp_registry.errors import DataError, UnknownNameError, UsageError

__all__ = ["dataset_config", "resolve_dataset", "select_dataset"]

_NEED_A_PATH = ("table", "images", "webdataset", "hub")


def resolve_dataset(text: str) -> Dataset | StreamingDataset:
    """Open a data set.

    Args:
        text: ``shapes``; ``captions.jsonl``; ``photos/``; ``shards/`` of tar archives; ``minhuh/prh``. Options follow
            a colon: ``table.csv:text=caption,key=id``, ``prh:revision=wit_4096``.

    Raises:
        UnknownNameError: Nothing is called so.
        DataError: The file or folder holds no data.
        OfflineError: It is on the hub, which cannot be reached.
    """
    return dataset_config(text).build()


def select_dataset(text: str, limit: int | None = None, shuffle_seed: int | None = None) -> Dataset:
    """Open a data set and take a finite part of it: the first ``limit`` samples, shuffled before when a seed is given.

    Raises:
        DataError: It is endless and no limit is given, or empty.
    """
    dataset = resolve_dataset(text).select(limit, shuffle_seed)
    if len(dataset) == 0:
        raise DataError(f"the data set {text!r} is empty")
    return dataset


def dataset_config(text: str) -> DatasetConfig:
    """The configuration that a user's word stands for, with the options behind its colon."""
    if text in choice_names(DatasetConfig) or Path(text).expanduser().exists():
        name, options = text, {}
    else:
        name, options = _split(text)
    config_class, fields = _class_of(name)
    known = [field.name for field in dataclasses.fields(config_class)]
    for key in options:
        if key not in known:
            raise UnknownNameError(f"option of data set {name!r}", key, known)
    try:
        return draccus.decode(config_class, {**fields, **options})
    except draccus.utils.DecodingError as err:
        raise UsageError(f"--dataset {text!r}: {err}") from err


def _split(text: str) -> tuple[str, dict[str, Any]]:
    name, colon, rest = text.partition(":")
    if not colon:
        return text, {}
    options: dict[str, Any] = {}
    for part in rest.split(","):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"--dataset {text!r}: {part!r} is no option", "write NAME:key=value,key=value")
        options[key.strip().replace("-", "_")] = value.strip()
    return name, options


def _class_of(name: str) -> tuple[type[DatasetConfig], dict[str, Any]]:
    choices = DatasetConfig.get_known_choices()
    if name in choices:
        return DatasetConfig.get_choice_class(name), {}
    path = Path(name).expanduser()
    if path.exists():
        return _class_of_path(path)
    if name == "minhuh/prh" and "prh" in choices:
        return DatasetConfig.get_choice_class("prh"), {}
    if name.count("/") == 1 and not path.suffix:
        return HubDatasetConfig, {"name": name}
    if path.suffix or "/" in name:
        raise DataError(f"there is no file or folder {name!r}")
    known = [one for one in choice_names(DatasetConfig) if one not in _NEED_A_PATH]
    raise UnknownNameError("data set", name, known, "and there is no file or folder of that name")


def _class_of_path(path: Path) -> tuple[type[DatasetConfig], dict[str, Any]]:
    for name in choice_names(DatasetConfig):
        config_class = DatasetConfig.get_choice_class(name)
        fields = config_class.claim(str(path))
        if fields is not None:
            return config_class, dict(fields)
    raise DataError(f"the folder {path} holds neither images nor tar archives")

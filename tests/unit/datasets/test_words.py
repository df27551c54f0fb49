"""Where a stage takes data sets as choices, files and folders are written as they are for `interp extract --dataset`."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from interp_plugins.datasets.config import ImageFolderConfig, TableConfig, WebDatasetConfig
from interp_plugins.datasets.resolve import dataset_config
from interp_registry.choices import DatasetConfig
from interp_registry.config_io import Override, resolve
from interp_registry.discovery import discover
from interp_registry.errors import DataError


@dataclass
class Config:
    datasets: list[DatasetConfig] = field(default_factory=list)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of pictures, one of archives, an empty one, and a file of texts."""
    discover()
    monkeypatch.chdir(tmp_path)
    for name in ("photos", "shards", "nothing"):
        (tmp_path / name).mkdir()
    (tmp_path / "shards" / "0.tar").touch()
    for i in range(2):
        Image.fromarray(np.full((4, 4, 3), 90 * i, np.uint8)).save(tmp_path / "photos" / f"{i}.png")
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": f"picture {i}"}) + "\n" for i in range(2)))
    return tmp_path


def chosen(text: str) -> list[DatasetConfig]:
    return resolve(Config, (), [Override("datasets", text, "--datasets")]).config.datasets


def test_folders_and_files_are_data_sets_wherever_one_is_chosen(files: Path):
    folder, archives, table = chosen("photos:captions=texts.jsonl,shards,texts.jsonl")
    assert folder == ImageFolderConfig(path=Path("photos"), captions=Path("texts.jsonl"))
    assert (archives, table) == (WebDatasetConfig(path=Path("shards")), TableConfig(path=Path("texts.jsonl")))
    assert folder.build()[1].captions == ("picture 1",)


@pytest.mark.parametrize("text", ["photos:captions=texts.jsonl", "shards", "texts.jsonl", "shapes"])
def test_both_ways_of_writing_a_data_set_mean_the_same(files: Path, text: str):
    assert chosen(text) == [dataset_config(text)]


def test_a_folder_without_data_is_refused(files: Path):
    with pytest.raises(DataError, match="neither images nor tar archives"):
        dataset_config("nothing")

"""Configuration of the data sets that ship with the tool."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from interp_registry.choices import DatasetConfig

__all__ = ["HubDatasetConfig", "ImageFolderConfig", "PrhConfig", "TableConfig", "WebDatasetConfig"]


@dataclass
class TableConfig(DatasetConfig):
    """Rows of a JSONL, CSV, TSV or Parquet file: texts, and images by path beside the file."""

    impl: ClassVar[str] = "interp_plugins.datasets.tables:TableDataset"

    path: Path = Path()
    """The file; its ending says what it is."""
    text: str = "text"
    """Column of the text; a list of texts counts as several captions."""
    image: str | None = None
    """Column with the path of an image, relative to the file's folder."""
    key: str | None = None
    """Column with the name of the sample; the row number when it is not given."""

    @classmethod
    def claim(cls, text: str) -> Mapping[str, Any] | None:
        """Any file that is no tar archive; one that is no table is refused when it is read."""
        path = Path(text).expanduser()
        return {"path": str(path)} if path.is_file() and path.suffix != ".tar" else None


@dataclass
class ImageFolderConfig(DatasetConfig):
    """Images in a folder and its sub-folders; with ``metadata.jsonl`` beside them, their captions too."""

    impl: ClassVar[str] = "interp_plugins.datasets.images:ImageFolder"

    path: Path = Path()
    """The folder."""
    captions: Path | None = None
    """File of their texts in place of ``metadata.jsonl`` (JSONL, CSV, TSV, Parquet): rows name their image as ``file_name``, or
    are in the order of the sorted paths."""
    text: str = "text"
    """Column of the text; a list of texts counts as several captions."""

    @classmethod
    def claim(cls, text: str) -> Mapping[str, Any] | None:
        """A folder with images and no tar archives."""
        from interp_plugins.datasets.paths import IMAGE_ENDINGS

        path = Path(text).expanduser()
        if not path.is_dir() or any(path.glob("*.tar")):
            return None
        holds_images = (path / "metadata.jsonl").is_file() or any(
            file.suffix.lower() in IMAGE_ENDINGS for file in path.rglob("*")
        )
        return {"path": str(path)} if holds_images else None


@dataclass
class WebDatasetConfig(DatasetConfig):
    """Tar archives in the WebDataset layout: members of one sample share the name before the first dot."""

    impl: ClassVar[str] = "interp_plugins.datasets.archives:WebDataset"

    path: Path = Path()
    """A .tar file, or a folder of them."""

    @classmethod
    def claim(cls, text: str) -> Mapping[str, Any] | None:
        """A .tar file, or a folder that holds some."""
        path = Path(text).expanduser()
        is_archive = path.suffix == ".tar" if path.is_file() else path.is_dir() and any(path.glob("*.tar"))
        return {"path": str(path)} if is_archive else None


@dataclass
class HubDatasetConfig(DatasetConfig):
    """A data set of the Hugging Face hub, streamed: only what is used is fetched."""

    impl: ClassVar[str] = "interp_plugins.datasets.hub:load"

    name: str = ""
    """Name on the hub."""
    subset: str | None = None
    """Its configuration, where it has several."""
    revision: str | None = None
    """Branch, tag or commit."""
    split: str = "train"
    """Which split."""
    text: str | None = None
    """Column of the text; found by its type when not given."""
    image: str | None = None
    """Column of the image; found by its type when not given."""


@dataclass
class PrhConfig(DatasetConfig):
    """The image-caption pairs of the Platonic Representation Hypothesis (minhuh/prh, from Wikipedia)."""

    impl: ClassVar[str] = "interp_plugins.datasets.hub:load_prh"

    revision: Literal["wit_1024", "wit_4096"] = "wit_1024"
    """Which set: 1,024 or 4,096 pairs. A sample has three texts: caption, page description, section description."""

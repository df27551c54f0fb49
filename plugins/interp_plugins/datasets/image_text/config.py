"""Configurations of image-text data sets; no heavy imports."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from interp_registry.choices import DatasetConfig

__all__ = [
    "Aro",
    "CaptionedFiles",
    "Coco",
    "Flickr30k",
    "ImageNet",
    "LabelledFolder",
    "SugarCrepe",
    "WebDatasetTars",
    "WhatsUp",
    "Winoground",
    "WorldChoices",
    "WorldClasses",
    "WorldPairs",
    "WorldTwins",
]

WorldSplit = Literal["train", "evaluation"]


@dataclass
class WorldPairs(DatasetConfig):
    """Pictures and captions of the embedded world (retrieval, training); no network."""

    impl: ClassVar[str] = "interp_plugins.datasets.image_text.embedded:WorldPairsDataset"

    split: WorldSplit = "evaluation"
    """the evaluation split has other scenes than the training split"""
    n: int = 1000
    """number of pictures, the first of the split"""
    n_captions: int = 1
    """captions of each picture"""


@dataclass
class WorldTwins(DatasetConfig):
    """Twins of the embedded world: two pictures and two captions of the same words (Winoground)."""

    impl: ClassVar[str] = "interp_plugins.datasets.image_text.embedded:WorldTwinsDataset"

    split: WorldSplit = "evaluation"
    """combinations of colours and shapes of the evaluation split occur in no training twin"""
    n: int = 400
    """number of items"""


@dataclass
class WorldChoices(DatasetConfig):
    """Each picture of a twin with its own and the other's caption (choices, pairs of pictures)."""

    impl: ClassVar[str] = "interp_plugins.datasets.image_text.embedded:WorldChoicesDataset"

    split: WorldSplit = "evaluation"
    """as for twins"""
    n: int = 400
    """number of twin items; each gives two choices"""


@dataclass
class WorldClasses(DatasetConfig):
    """Pictures of the embedded world with one object, labelled by its colour or shape (classification)."""

    impl: ClassVar[str] = "interp_plugins.datasets.image_text.embedded:WorldClassesDataset"

    attribute: Literal["colour", "shape"] = "colour"
    """what the ten classes are"""
    split: WorldSplit = "evaluation"
    """the evaluation split has other scenes than the training split"""
    n: int = 1000
    """number of pictures of the split that are looked at; about one in six has a single object"""


@dataclass
class Winoground(DatasetConfig):
    """Winoground (Thrush et al. 2022), gated on the hub: ask for access there, then `hf auth login`."""

    impl: ClassVar[str] = "interp_plugins.datasets.image_text.hub:WinogroundDataset"

    path: str = "facebook/winoground"
    """name on the hub, or a folder of parquet files"""
    revision: str | None = None
    """branch, tag or commit"""


WhatsUpSubset = Literal[
    "Controlled_Images_A",
    "Controlled_Images_B",
    "COCO_QA_one_obj",
    "COCO_QA_two_obj",
    "VG_QA_one_obj",
    "VG_QA_two_obj",
    "VG_Relation",
    "VG_Attribution",
    "COCO_Order",
]
"""The parts of What'sUp."""


@dataclass
class WhatsUp(DatasetConfig):
    """What'sUp (Kamath et al. 2023): choices of spatial captions, with pairs and sets."""

    impl: ClassVar[str] = "interp_plugins.datasets.image_text.hub:WhatsUpDataset"

    subset: WhatsUpSubset = "Controlled_Images_A"
    """which part"""
    path: str = "ServiceNow/whatsup_all"
    """name on the hub, or a folder of parquet files"""
    revision: str | None = None
    """branch, tag or commit"""
    limit: int | None = None
    """read only the first so many rows, without fetching the rest"""


@dataclass
class Flickr30k(DatasetConfig):
    """Flickr30k with the Karpathy split and all five captions, from the hub's parquet copy."""

    impl: ClassVar[str] = "interp_plugins.datasets.image_text.hub:HubCaptionsDataset"

    path: str = "nlphuji/flickr30k"
    """name on the hub, or a folder of parquet files"""
    revision: str | None = "refs/convert/parquet"
    """the parquet copy; scripts are never run"""
    split: str = "test"
    """Karpathy split: train, val or test (1,000 images)"""
    hub_split: str = "test"
    """the only split on the hub; the Karpathy split is a column"""
    limit: int | None = None
    """read only the first so many rows, without fetching the rest"""


@dataclass
class Coco(DatasetConfig):
    """COCO captions with the Karpathy split and all captions, from `dataset_coco.json` and a folder of images."""

    impl: ClassVar[str] = "interp_plugins.datasets.image_text.files:KarpathyDataset"

    annotations: Path = Path("dataset_coco.json")
    """Karpathy's JSON file (also of Flickr8k and Flickr30k)"""
    images: Path = Path()
    """folder of the images; those of COCO lie in its `val2014` and `train2014`"""
    split: str = "test"
    """train, restval, val or test (5,000 images)"""


@dataclass
class SugarCrepe(DatasetConfig):
    """SugarCrepe (Hsieh et al. 2023): a right and a wrong caption, from its JSON files and COCO val2017."""

    impl: ClassVar[str] = "interp_plugins.datasets.image_text.files:SugarCrepeDataset"

    annotations: Path = Path("sugar-crepe/data")
    """folder of add_att.json, add_obj.json, replace_att.json, ..."""
    images: Path = Path("val2017")
    """folder of the images"""
    subset: Literal[
        "all", "add_att", "add_obj", "replace_att", "replace_obj", "replace_rel", "swap_att", "swap_obj"
    ] = "all"
    """which part; `all` tells them apart in the table of kinds"""


@dataclass
class Aro(DatasetConfig):
    """ARO (Yuksekgonul et al. 2023): Visual Genome relations and attributions, or captions in another order, from JSON files and images."""

    impl: ClassVar[str] = "interp_plugins.datasets.image_text.files:AroDataset"

    annotations: Path = Path("visual_genome_relation.json")
    """visual_genome_relation.json or visual_genome_attribution.json; or a file of captions in other orders (COCO, Flickr30k): a list of
    {"image": path, "caption_options": [right, wrong, ...]}"""
    images: Path = Path("images")
    """folder of the images"""


@dataclass
class ImageNet(DatasetConfig):
    """ImageNet-1k validation from the hub (gated); give OpenAI's class names as a file for the published numbers."""

    impl: ClassVar[str] = "interp_plugins.datasets.image_text.hub:ImageNetDataset"

    path: str = "ILSVRC/imagenet-1k"
    """name on the hub, or a folder of parquet files"""
    revision: str | None = None
    """branch, tag or commit"""
    split: str = "validation"
    """hub split"""
    limit: int | None = None
    """read only the first so many rows, without fetching the rest"""


@dataclass
class LabelledFolder(DatasetConfig):
    """A folder with a sub-folder of images for every class (classification)."""

    impl: ClassVar[str] = "interp_plugins.datasets.image_text.files:LabelledFolderDataset"

    folder: Path = Path()
    """the folder; with a `split`, the sub-folder of that name holds the classes"""
    split: str = ""
    """sub-folder such as train or test"""


@dataclass
class CaptionedFiles(DatasetConfig):
    """Images with captions listed in a .csv, .tsv, .jsonl, .json or .parquet file: one row per caption (retrieval, training)."""

    impl: ClassVar[str] = "interp_plugins.datasets.image_text.files:CaptionedFilesDataset"

    file: Path = Path("captions.csv")
    """columns or keys `image` (path below the file's folder) and `caption`, which in JSON may be a list"""


@dataclass
class WebDatasetTars(DatasetConfig):
    """Tar files in the WebDataset layout of CLIP_benchmark: retrieval (.txt) or classification (.cls)."""

    impl: ClassVar[str] = "interp_plugins.datasets.image_text.webdataset:WebDatasetDataset"

    folder: Path = Path()
    """holds `test/nshards.txt`, `test/0.tar`, ..., and `classnames.txt` or `dataset_type.txt`"""
    split: str = "test"
    """sub-folder of the tars"""

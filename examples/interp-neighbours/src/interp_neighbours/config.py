"""Options of the two stages."""

from dataclasses import dataclass, field


@dataclass
class IndexConfig:
    """What to index."""

    key: str = field(metadata={"positional": True})
    """key of stored features (see `interp store ls`), or an unmistakable beginning of it"""
    layer: str = ""
    """address of the layer; the last one when left out"""
    topk: int = 5
    """neighbours of each sample"""


@dataclass
class ShowConfig:
    """What to show."""

    index: str = field(metadata={"positional": True})
    """folder of the run that made the index"""
    sample: int = 0
    """row of the sample"""

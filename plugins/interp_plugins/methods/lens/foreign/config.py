"""Formats of other tools that ``interp lens import`` and ``interp lens export`` know."""

from dataclasses import dataclass, field
from typing import ClassVar

from interp_plugins.methods.lens.choices import LensExportConfig, LensImportConfig

__all__ = [
    "ConsistencyDumpImport",
    "ConsistencySettingsImport",
    "NlaExport",
    "NlaImport",
    "NlaParquetImport",
]

_STAGES = "interp_plugins.methods.lens.foreign.stages"


@dataclass
class NlaParquetImport(LensImportConfig):
    """Activations of natural-language autoencoders: FILE.parquet with FILE.parquet.nla_meta.yaml beside it."""

    impl: ClassVar[str] = f"{_STAGES}:import_parquet"


@dataclass
class ConsistencyDumpImport(LensImportConfig):
    """Activations of Consistency Lens: a .pt file, or a folder of shards with metadata.json."""

    impl: ClassVar[str] = f"{_STAGES}:import_dump"


@dataclass
class ConsistencySettingsImport(LensImportConfig):
    """Settings of Consistency Lens (YAML), for `interp lens train --config FILE`."""

    impl: ClassVar[str] = f"{_STAGES}:import_settings"

    steps: int | None = None
    """steps of the training, in place of those of the file"""


@dataclass
class NlaImport(LensImportConfig):
    """A released natural-language autoencoder: folder of the verbaliser, with nla_meta.yaml."""

    impl: ClassVar[str] = f"{_STAGES}:import_checkpoints"

    reconstructor: str = field(default="")
    """folder of the reconstructor; default: `ar` beside the verbaliser's folder"""
    dump: str = ""
    """key of stored activations of the model, whose statistics the lens keeps"""
    injection_scale: float | None = None
    """length of injected activations, where the checkpoint states none"""
    max_tokens: int = 200
    """tokens of an explanation at most"""


@dataclass
class NlaExport(LensExportConfig):
    """Both halves of a lens `nla` as released checkpoints: folders av and ar with nla_meta.yaml."""

    impl: ClassVar[str] = f"{_STAGES}:export_checkpoints"

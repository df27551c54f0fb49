"""``nla_meta.yaml``: what a natural-language autoencoder's checkpoint or data set says about itself.

Published documents call the two halves ``av`` and ``ar``, the code that writes them ``actor`` and ``critic``: both are read. Layer
index ``K`` there is the output of block ``K``, which is layer ``K + 1`` here (`interp_plugins.methods.lens.contract`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from interp_registry.config_io import read_yaml
from interp_registry.errors import DataError, UsageError

__all__ = ["SIDECAR", "CheckpointSidecar", "DatasetSidecar", "MarkerTokens", "dataset_sidecar_path", "dump_sidecar"]

SIDECAR = "nla_meta.yaml"
"""Name of a checkpoint's sidecar; a data set ``x.parquet`` has ``x.parquet.nla_meta.yaml``."""

Role = Literal["verbaliser", "reconstructor"]
_ROLES: Mapping[str, Role] = {
    "av": "verbaliser", "actor": "verbaliser", "ar": "reconstructor", "critic": "reconstructor",
}  # fmt: skip
_MODEL_SCHEMAS, _DATASET_SCHEMAS = (1, 2), (1,)
_STAGES = ("base", "av_sft", "ar_sft", "rl")
_SQRT_D = "sqrt_d_model"


def dataset_sidecar_path(parquet: Path) -> Path:
    """Where the sidecar of a data set lies."""
    return parquet.with_name(f"{parquet.name}.{SIDECAR}")


@dataclass(frozen=True)
class MarkerTokens:
    """The marker that is overwritten by an activation, and what must stand around it."""

    char: str
    """The marker as it is written into the prompt."""
    token_id: int
    """Its single token."""
    left_id: int
    """The token before it."""
    right_id: int
    """The token after it."""
    suffix_ids: tuple[int, ...] = ()
    """Last tokens of the reconstructor's prompt; empty when the sidecar states none."""


@dataclass(frozen=True)
class CheckpointSidecar:
    """What a checkpoint says about itself, checked for types and for itself; the tokenizer is checked where it is loaded."""

    path: Path
    """Where it was read, for messages."""
    role: Role
    """Which half the checkpoint is."""
    d_model: int
    """Width of the activations."""
    layer_index: int | None
    """K, the block whose output the activations are; None when it is not stated."""
    n_layers: int | None
    """Blocks that a reconstructor has."""
    injection_scale: float | None
    """Length of an activation as it is put into the prompt; None when it is not stated."""
    mse_scale: float
    """Length of both sides of the reconstruction error."""
    tokens: MarkerTokens | None
    """None for a reconstructor that states none."""
    prompt: str | None
    """The verbaliser's prompt with ``{injection_char}``."""
    reading: str | None
    """The reconstructor's prompt with ``{explanation}``."""
    suffix_ids: tuple[int, ...]
    """Last tokens of the reconstructor's prompt; empty when they are not stated."""
    plain: bool = False
    """Whether explanations are the whole answer, without ``<explanation>`` tags (an addition of this tool)."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Stage, base checkpoint, parents: as they were written."""

    @property
    def layer(self) -> int | None:
        """The layer in this tool's convention: K + 1."""
        if self.layer_index is not None:
            return self.layer_index + 1
        return self.n_layers

    @classmethod
    def read(cls, folder: Path) -> "CheckpointSidecar":
        """Read and check the sidecar of a checkpoint folder.

        Raises:
            DataError: It is missing, is no such sidecar, or a field is missing or wrong; the message names the field.
        """
        path = folder / SIDECAR
        if not path.is_file():
            raise DataError(f"{folder} has no {SIDECAR}", "is it the folder of a natural-language autoencoder?")
        given = _Fields.read(path)
        given.expect("kind", ("nla_model",))
        given.expect("schema_version", _MODEL_SCHEMAS, default=2)
        role = _ROLES.get(given.text("role")) if given.has("role") else _guessed_role(given)
        if role is None:
            raise given.wrong("role", f"one of {', '.join(_ROLES)}")
        if given.get("extraction.norm", default="none") not in {"none", None}:
            raise given.wrong("extraction.norm", "none: activations that were whitened or scaled are not supported")
        width = given.integer("d_model", least=1)
        index = given.optional_integer(
            "extraction_layer_index", "critic.extraction_layer_index", "ar.extraction_layer_index",
            "extraction.extraction_layer_index", "extraction.layer_index",
        )  # fmt: skip
        n_layers = given.optional_integer("critic.num_hidden_layers", "ar.num_hidden_layers", least=1)
        if index is not None and n_layers is not None and n_layers != index + 1:
            raise DataError(
                f"{path}: num_hidden_layers is {n_layers}, which does not go with the layer index {index}",
                f"a reconstructor of layer index {index} has {index + 1} blocks",
            )
        prompt = given.template("injection_char", "prompt_templates.av", "prompt_templates.actor")
        reading = given.template("explanation", "prompt_templates.ar", "prompt_templates.critic")
        scale = given.scale("extraction.injection_scale", width, None)
        mse_scale = given.scale("extraction.mse_scale", width, _SQRT_D)
        if mse_scale is None:
            raise given.wrong("extraction.mse_scale", "a length greater than 0, or sqrt_d_model")
        suffix = given.integers("tokens.critic_suffix_ids", "tokens.ar_suffix_ids")
        tokens = _marker(given, suffix) if role == "verbaliser" or given.has("tokens.injection_token_id") else None
        _needs(given, role, prompt, reading)
        plain = given.get("interp.response", default="tags") == "plain"
        names = ("stage", "base_checkpoint", "trained_on", "parent_checkpoints")
        provenance = {name: given.data[name] for name in names if name in given.data}
        return cls(
            path, role, width, index, n_layers, scale, mse_scale, tokens, prompt, reading, suffix, plain, provenance
        )

    def check_role(self, role: Role) -> None:
        """Refuse the other half.

        Raises:
            DataError: The checkpoint is the other half.
        """
        if self.role != role:
            raise DataError(f"{self.path}: role is that of a {self.role}", f"a {role} is needed here")

    def check_width(self, width: int) -> None:
        """Refuse a network of another width than the sidecar states.

        Raises:
            DataError: They differ.
        """
        if self.d_model != width:
            raise DataError(f"{self.path}: d_model is {self.d_model}, the network beside it has {width}")

    def to_json(self) -> dict[str, Any]:
        """The sidecar as schema 2 has it, in the spelling of published checkpoints."""
        marker = self.tokens
        tokens: dict[str, Any] = {"critic_suffix_ids": list(self.suffix_ids)}
        if marker is not None:
            tokens |= {
                "injection_char": marker.char,
                "injection_token_id": marker.token_id,
                "injection_left_neighbor_id": marker.left_id,
                "injection_right_neighbor_id": marker.right_id,
            }
        templates = {"av": self.prompt, "ar": self.reading}
        content: dict[str, Any] = {
            "kind": "nla_model",
            "schema_version": 2,
            "role": "av" if self.role == "verbaliser" else "ar",
            "d_model": self.d_model,
            "extraction_layer_index": self.layer_index,
            "extraction": {"norm": "none", "injection_scale": self.injection_scale, "mse_scale": self.mse_scale},
            "tokens": tokens,
            "prompt_templates": {name: text for name, text in templates.items() if text is not None},
            **self.provenance,
        }
        if self.role == "reconstructor":
            content["critic"] = {
                "extraction_layer_index": self.layer_index,
                "num_hidden_layers": self.n_layers,
            }
        return content | {"interp": {"response": "plain" if self.plain else "tags"}}


def _guessed_role(given: "_Fields") -> Role | None:
    """The role of a sidecar of schema 1 that states none: only reconstructors have a section of their own."""
    if given.get("schema_version", default=2) != 1:
        raise given.missing("role")
    return "reconstructor" if given.has("critic") or given.has("ar") else "verbaliser"


def _marker(given: "_Fields", suffix: tuple[int, ...]) -> MarkerTokens:
    return MarkerTokens(
        given.text("tokens.injection_char"),
        given.integer("tokens.injection_token_id"),
        given.integer("tokens.injection_left_neighbor_id"),
        given.integer("tokens.injection_right_neighbor_id"),
        suffix,
    )


def _needs(given: "_Fields", role: Role, prompt: str | None, reading: str | None) -> None:
    if role == "verbaliser" and prompt is None:
        raise given.missing("prompt_templates.av")
    if role == "reconstructor" and reading is None:
        raise given.missing("prompt_templates.ar")


@dataclass(frozen=True)
class DatasetSidecar:
    """What a parquet file of activations says about itself."""

    path: Path
    """Where it was read, for messages."""
    dataset_id: str
    """Its name."""
    row_count: int
    """How many rows the file has."""
    stage: str
    """base, av_sft, ar_sft or rl."""
    base_model: str
    """The model that the activations are of."""
    d_model: int
    """Their width."""
    layer_index: int
    """K: they are the outputs of block K."""
    corpus: str
    """The texts that they are of."""

    @property
    def layer(self) -> int:
        """The layer in this tool's convention: K + 1."""
        return self.layer_index + 1

    @classmethod
    def read(cls, parquet: Path) -> "DatasetSidecar":
        """Read and check the sidecar of a parquet file.

        Raises:
            DataError: It is missing, is no such sidecar, or a field is missing or wrong; the message names the field.
        """
        path = dataset_sidecar_path(parquet)
        if not path.is_file():
            raise DataError(f"{parquet} has no sidecar {path.name}", "it states the model and the layer; get it too")
        given = _Fields.read(path)
        given.expect("kind", ("nla_dataset",))
        given.expect("schema_version", _DATASET_SCHEMAS, default=1)
        given.expect("stage", _STAGES)
        if given.get("extraction.norm", default="none") not in {"none", None}:
            raise given.wrong("extraction.norm", "none: activations that were whitened or scaled are not supported")
        return cls(
            path,
            given.text("dataset_id"),
            given.integer("row_count"),
            given.text("stage"),
            given.text("extraction.base_model"),
            given.integer("extraction.d_model", least=1),
            given.integer("extraction.layer_index"),
            str(given.get("extraction.corpus", default="")),
        )


def dump_sidecar(sidecar: CheckpointSidecar, folder: Path) -> Path:
    """Write a checkpoint's sidecar into its folder."""
    from interp_registry.config_io import dump_yaml
    from interp_registry.stores.artifact import replace

    path = folder / SIDECAR
    text = dump_yaml(sidecar.to_json())
    replace(path, lambda file: file.write(text.encode()))
    return path


class _Fields:
    """A sidecar's mapping, read by dotted names; every complaint names file and field."""

    def __init__(self, path: Path, data: Mapping[str, Any]) -> None:
        self.path, self.data = path, data

    @classmethod
    def read(cls, path: Path) -> "_Fields":
        try:
            return cls(path, read_yaml(path))
        except UsageError as err:
            raise DataError(err.message, err.hint) from err

    def wrong(self, key: str, expected: str) -> DataError:
        return DataError(f"{self.path}: {key} is {self.get(key, default=None)!r}", f"expected {expected}")

    def missing(self, key: str) -> DataError:
        return DataError(f"{self.path}: {key} is missing")

    def has(self, key: str) -> bool:
        return self.get(key, default=None) is not None

    def get(self, *keys: str, default: Any) -> Any:
        """The first of some dotted names that is given."""
        for key in keys:
            value: Any = self.data
            for part in key.split("."):
                value = value.get(part) if isinstance(value, Mapping) else None
            if value is not None:
                return value
        return default

    def expect(self, key: str, allowed: Sequence[object], default: object = None) -> None:
        value = self.get(key, default=default)
        if value is None:
            raise self.missing(key)
        if value not in allowed or isinstance(value, bool):
            raise self.wrong(key, " or ".join(str(item) for item in allowed))

    def text(self, key: str) -> str:
        value = self.get(key, default=None)
        if value is None:
            raise self.missing(key)
        if not isinstance(value, str) or not value:
            raise self.wrong(key, "text")
        return value

    def integer(self, key: str, least: int = 0) -> int:
        value = self.get(key, default=None)
        if value is None:
            raise self.missing(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise self.wrong(key, f"a whole number of at least {least}")
        return value

    def optional_integer(self, *keys: str, least: int = 0) -> int | None:
        """One number under several names, which must agree."""
        given = {key: self.integer(key, least) for key in keys if self.has(key)}
        if len(set(given.values())) > 1:
            stated = ", ".join(f"{key} = {value}" for key, value in given.items())
            raise DataError(f"{self.path}: the layer is stated twice: {stated}")
        return next(iter(given.values()), None)

    def integers(self, *keys: str) -> tuple[int, ...]:
        value = self.get(*keys, default=())
        if not isinstance(value, list | tuple) or not all(type(item) is int and item >= 0 for item in value):
            raise self.wrong(keys[0], "a list of token ids")
        return tuple(value)

    def scale(self, key: str, width: int, default: str | None) -> float | None:
        """A length; ``sqrt_d_model`` stands for the root of the width."""
        value = self.get(key, default=default)
        if value is None:
            return None
        if value == _SQRT_D:
            return math.sqrt(width)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise self.wrong(key, f"a length greater than 0, or {_SQRT_D}")
        return float(value)

    def template(self, name: str, *keys: str) -> str | None:
        """A prompt in which ``{name}`` occurs once, in one of two spellings, which must agree."""
        given = {key: self.text(key) for key in keys if self.has(key)}
        if len(set(given.values())) > 1:
            raise DataError(f"{self.path}: {' and '.join(given)} differ")
        for key, text in given.items():
            if text.count("{" + name + "}") != 1:
                raise self.wrong(key, "a text in which {" + name + "} occurs once")
            return text
        return None

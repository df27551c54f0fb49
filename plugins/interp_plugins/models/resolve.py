"""From a name to a model's configuration, by looking the name up and never by guessing from its letters.

In turn: the embedded zoo, models that plugins registered, a local folder, timm's registry, the Hugging Face hub. A
name that is known in two places is ambiguous, and ``--kind`` decides.
"""

import dataclasses
import difflib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from interp_plugins.embedded import zoo
from interp_plugins.models.config import HuggingFaceModelConfig, LoadOptions, ModelKind, TimmModelConfig
from interp_registry.choices import ModelConfig, choice_names
from interp_registry.contracts.model import Modality, Model
from interp_registry.errors import OfflineError, UnknownNameError, UsageError

__all__ = ["ResolvedModel", "load_model", "resolve_model"]

_SLIP = 0.75
_LOADERS = ("huggingface", "timm")


@dataclass(frozen=True)
class ResolvedModel:
    """A name that has been looked up, its weights not yet loaded."""

    name: str
    """As the user wrote it; a tower of a two-tower model has ``:text`` or ``:vision`` behind it."""
    kind: ModelKind
    """Where it was found."""
    modality: Modality
    """What it takes."""
    config: ModelConfig
    """``config.build()`` loads it."""

    @property
    def revision(self) -> str:
        """What identifies its weights, found without loading them."""
        return _revision(self)

    def load(self) -> Model:
        """Load the weights."""
        return self.config.build()

    def towers(self) -> "list[ResolvedModel]":
        """The towers of a two-tower model as models of their own; any other model alone."""
        if self.modality != "two_tower":
            return [self]
        return [self._tower("text"), self._tower("vision")]

    def _tower(self, tower: Literal["text", "vision"]) -> "ResolvedModel":
        config = dataclasses.replace(self.config, tower=tower)  # pyright: ignore[reportCallIssue]
        return ResolvedModel(f"{self.name}:{tower}", self.kind, "language" if tower == "text" else "vision", config)


def load_model(name: str, options: LoadOptions | None = None, kind: ModelKind = "auto") -> Model:
    """Look a name up and load the model.

    Raises:
        InterpError: See :func:`resolve_model` and the loaders.
    """
    return resolve_model(name, options, kind).load()


def resolve_model(name: str, options: LoadOptions | None = None, kind: ModelKind = "auto") -> ResolvedModel:
    """Look a name up: no weights are read, and the network is asked only for a name that nothing local knows.

    Args:
        name: A model of the zoo, a plugin's model, a folder, a timm model or a model of the hub; ``:text`` or
            ``:vision`` behind it chooses a tower.
        options: How to load it.
        kind: Where to look.

    Raises:
        UnknownNameError: Nothing is called so; near names are suggested.
        UsageError: Several things are called so.
        OfflineError: It may be a model of the hub, which cannot be asked.
    """
    options = options or LoadOptions()
    base, _, tower = name.rpartition(":")
    if base and tower in {"text", "vision"}:
        whole = resolve_model(base, options, kind)
        if whole.modality != "two_tower":
            raise UsageError(f"{base} has no tower {tower!r}", "only two-tower models (CLIP, SigLIP) have")
        return next(one for one in whole.towers() if one.name.endswith(tower))
    if not name.strip():
        raise UsageError("the name of a model is empty")
    return _lookup(name, options, kind)


def _lookup(name: str, options: LoadOptions, kind: ModelKind) -> ResolvedModel:
    finders: Mapping[str, Callable[[str, LoadOptions], ResolvedModel | None]] = {
        "embedded": _in_zoo,
        "plugin": _in_plugins,
        "folder": _in_folder,
        "timm": _in_timm,
    }
    if kind == "huggingface":
        return _in_folder(name, options) or _on_hub(name, options, kind)
    if kind != "auto":
        found = finders[kind](name, options) or (_in_folder(name, options) if kind == "timm" else None)
        if found is None:
            raise UnknownNameError(f"{kind} model", name, _known_names(kind))
        return found
    if (found := _in_zoo(name, options)) is not None and not Path(name).is_dir():
        return found
    matches = {place: match for place, find in finders.items() if (match := find(name, options)) is not None}
    if len(matches) > 1:
        places = " and ".join(matches)
        raise UsageError(
            f"{name!r} is ambiguous: known as {places}", "say --kind embedded, plugin, timm or huggingface"
        )
    return next(iter(matches.values())) if matches else _on_hub(name, options, kind)


def _in_zoo(name: str, options: LoadOptions) -> ResolvedModel | None:
    if name not in zoo.names() and name not in zoo.names(untrained=True):
        return None
    modality = zoo.recipe(name).modality
    fields: dict[str, Any] = dataclasses.asdict(options) | {"name": str(zoo.folder(name)), "label": name}
    if modality == "vision":
        return ResolvedModel(name, "embedded", "vision", TimmModelConfig(**fields))
    chosen: Modality = "language" if modality == "language" else "two_tower"
    return ResolvedModel(name, "embedded", chosen, HuggingFaceModelConfig(**fields))


def _in_plugins(name: str, options: LoadOptions) -> ResolvedModel | None:
    if name in _LOADERS or name not in ModelConfig.get_known_choices():
        return None
    config_class: Any = ModelConfig.get_choice_class(name)
    known = {field.name for field in dataclasses.fields(config_class)}
    config = config_class(**{key: value for key, value in dataclasses.asdict(options).items() if key in known})
    modality = getattr(config_class, "modality", None) or config.build().info.modality
    return ResolvedModel(name, "plugin", modality, config)


def _in_folder(name: str, options: LoadOptions) -> ResolvedModel | None:
    path = Path(name).expanduser()
    if not path.is_dir():
        return None
    try:
        content = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError as err:
        raise UsageError(f"{name} has no config.json, so it is no model folder") from err
    except (ValueError, OSError, RecursionError) as err:
        raise UsageError(f"{path / 'config.json'} cannot be read: {err}") from err
    if not isinstance(content, dict):
        raise UsageError(f"{path / 'config.json'} holds a {type(content).__name__}", "it should hold an object")
    fields: dict[str, Any] = dataclasses.asdict(options) | {"name": str(path), "label": name}
    if "model_type" not in content and "architecture" in content:
        return ResolvedModel(name, "timm", "vision", TimmModelConfig(**fields))
    return _huggingface(name, HuggingFaceModelConfig(**fields))


def _in_timm(name: str, options: LoadOptions) -> ResolvedModel | None:
    base, _, tag = name.partition(".")
    if not base.isidentifier():  # timm names its models after Python functions; importing it takes seconds
        return None
    import timm

    if not timm.is_model(base):
        return None
    if tag and not timm.models.is_model_pretrained(name):
        known = [f"{base}.{other}" for other in _tags(base)]
        raise UnknownNameError("pretrained weights of timm", name, known)
    return ResolvedModel(name, "timm", "vision", TimmModelConfig(**dataclasses.asdict(options), name=name))


def _tags(base: str) -> list[str]:
    import timm

    return [full.partition(".")[2] for full in timm.list_pretrained(f"{base}.*")]


def _on_hub(name: str, options: LoadOptions, kind: ModelKind) -> ResolvedModel:
    if name.startswith(("./", "/", "~", "../")):
        raise UsageError(f"there is no folder {name!r}")
    plain = "/" not in name
    if plain and kind == "auto" and _looks_misspelt(name):
        raise UnknownNameError("model", name, _known_names("auto"))
    _require_hub_name(name)
    try:
        return _huggingface(name, HuggingFaceModelConfig(**dataclasses.asdict(options), name=name))
    except OfflineError as err:
        hint = f"known without a network: {', '.join(zoo.names())}" if plain else err.hint
        raise OfflineError(f"{name!r} is no model known here, and the hub cannot be asked", hint) from err


def _require_hub_name(name: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError as err:
        raise UsageError(f"{name!r} is no model known here, no folder, and no possible name on the hub") from err


def _looks_misspelt(name: str) -> bool:
    """Whether a name is so near a known one that it is a slip: a letter or two, not another model (gpt2-large, mvitv2_large)."""
    return bool(difflib.get_close_matches(name.lower(), [one.lower() for one in _known_names("auto")], 1, _SLIP))


def _huggingface(name: str, config: HuggingFaceModelConfig) -> ResolvedModel:
    from interp_plugins.models.fetching import clear_errors, require_hub_or_cache
    from interp_plugins.models.huggingface import modality_of, read_config

    if not Path(config.name).is_dir():
        require_hub_or_cache(config.name, config.revision)
    with clear_errors(config.name):
        hub = read_config(config.name, config.revision, trust_remote_code=config.trust_remote_code)
    return ResolvedModel(name, "huggingface", modality_of(hub), config)


def _known_names(kind: str) -> list[str]:
    names = zoo.names() + zoo.names(untrained=True) if kind in {"auto", "embedded"} else []
    if kind in {"auto", "plugin"}:
        names += [name for name in choice_names(ModelConfig) if name not in _LOADERS]
    if kind in {"auto", "timm"}:
        import timm

        names += timm.list_models() + timm.list_pretrained()
    return names


def _revision(model: ResolvedModel) -> str:
    config = model.config
    if isinstance(config, TimmModelConfig):
        from interp_plugins.models.timm import revision_of

        found = revision_of(config.name)
    elif isinstance(config, HuggingFaceModelConfig):
        from interp_plugins.models.huggingface import revision_of as hub_revision_of

        found = hub_revision_of(config.name, config.revision, trust_remote_code=config.trust_remote_code)
    else:
        return config.build().info.revision
    return f"{found}-untrained-{config.seed}" if config.untrained else found

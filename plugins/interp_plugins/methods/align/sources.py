"""From the words on a command line to models with features: files, stored keys, model sets, model names."""

import json
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from interp_plugins.methods.align.config import AlignConfig, SourceOptions
from interp_plugins.methods.align.reading import LoadedFeatures, load_features, means_file
from interp_registry.catalog import Catalog
from interp_registry.config_io import Override, resolve
from interp_registry.contracts.method import Failure, RunContext
from interp_registry.discovery import discover
from interp_registry.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from interp_registry.stores.features import FeatureEntry

__all__ = ["Source", "find_sources", "load_entry", "opened_words", "sides"]

_log = logging.getLogger(__name__)
_SECTION = "modelsets"
_KEY = re.compile(r"-[0-9a-f]{6,16}$")
_PUBLISHED = {"minhuh/prh": "prh"}
_FACTS = ("loss", "bpb", "n_params")


@dataclass
class Source:
    """One model and where its features come from.

    Attributes:
        name: What to call it.
        origin: The file or stored key, for messages and provenance.
        load: Reads the features.
        modality: language, vision, or empty when not known.
    """

    name: str
    origin: str
    load: Callable[[], LoadedFeatures] = field(repr=False)
    modality: str = ""


def sides(config: AlignConfig, catalog: Catalog) -> tuple[list[str], list[str]]:
    """The words of both sides, model sets opened; the second is empty when the first is compared with itself.

    Raises:
        UsageError: There is nothing to compare, or a set does not exist.
    """
    same = config.modelset_x is not None and config.modelset_x == config.modelset_y
    keep_x = "language" if same and config.modality_x == "all" else config.modality_x
    keep_y = "vision" if same and config.modality_y == "all" else config.modality_y
    x = _opened([*config.models, *_marked(config.modelset_x)], keep_x, catalog)
    y = _opened([*config.against, *_marked(config.modelset_y)], keep_y, catalog)
    if not x or (not y and len(x) < 2):
        raise UsageError(
            f"nothing to compare: {len(x)} model{'s' if len(x) != 1 else ''} on the first side, {len(y)} on the second",
            "name two models, e.g. `interp align A B`, or `interp align A --with B,C`",
        )
    return x, y


def find_sources(
    words: Sequence[str], options: SourceOptions, ctx: RunContext, pool: str | None
) -> tuple[list[Source], list[Failure]]:
    """Features for every word, extracted first where they are missing.

    A word is, in turn: a file, a stored key (or its unmistakable beginning), the name of a model. A model of two towers is two.

    Returns:
        The sources, and the models that could not be extracted while others could.

    Raises:
        UsageError: A file is missing, or features are and may not be extracted.
        InterpError: No model could be extracted.
    """
    found: dict[str, list[Source]] = {word: [_from_file(word)] for word in words if means_file(word)}
    wanted = [word for word in dict.fromkeys(words) if word not in found]
    stored = {word: entry for word in wanted if (entry := _stored(word, options, ctx, pool)) is not None}
    missing = [word for word in wanted if word not in stored]
    extracted, failures = _extracted(missing, options, ctx, pool) if missing else ({}, [])
    for word in wanted:
        entries = [stored[word]] if word in stored else extracted.get(word, [])
        found[word] = [_from_entry(entry, pool) for entry in entries]
    return [source for word in words for source in found[word]], failures


def load_entry(entry: "FeatureEntry", pool: str | None) -> LoadedFeatures:
    """All layers of a stored entry, memory-mapped where they lie in one shard."""
    totals = entry.totals or {}
    facts = {key: float(totals[key]) for key in _FACTS if isinstance(totals.get(key), int | float)}
    features = [entry.read(layer, pool).float() for layer in entry.layers]
    return LoadedFeatures(_model_of(entry), features, list(entry.layers), entry.ids, facts, addressed=True)


def opened_words(words: Sequence[str], catalog: Catalog) -> list[str]:
    """The words with each model set replaced by all of its models."""
    return _opened(words, "all", catalog)


def _marked(name: str | None) -> list[str]:
    return [] if name is None else [f"{_SECTION}/{name}"]


def _opened(words: Sequence[str], modality: str, catalog: Catalog) -> list[str]:
    """Replace each model set by its models; other words stay as they are."""
    opened: list[str] = []
    sets = catalog.names(_SECTION)
    for word in words:
        name = word.removeprefix(f"{_SECTION}/")
        if name != word or name in sets:
            opened += _members(catalog.modelset(name), modality, name)
        else:
            opened.append(word)
    return list(dict.fromkeys(opened))


def _members(content: dict[str, list[str]], modality: str, name: str) -> list[str]:
    chosen = [content.get(kind, []) for kind in ("language", "vision") if modality in ("all", kind)]
    members = [model for group in chosen for model in group]
    if not members:
        raise UsageError(f"model set {name!r} has no {modality} models", f"see `interp catalog show {_SECTION}/{name}`")
    return members


def _from_file(word: str) -> Source:
    features: list[LoadedFeatures] = []

    def load() -> LoadedFeatures:
        if not features:
            features.append(load_features(word))
        return features[0]

    load()  # a wrong file is found before the first score is computed
    return Source(Path(word).stem, word, load)


def _from_entry(entry: "FeatureEntry", pool: str | None) -> Source:
    request = entry.manifest["request"]
    modality = str(request.get("options", {}).get("modality", ""))
    return Source(_model_of(entry), entry.key, lambda: load_entry(entry, pool), modality)


def _model_of(entry: "FeatureEntry") -> str:
    return str(entry.manifest["request"]["model"])


def _stored(word: str, options: SourceOptions, ctx: RunContext, pool: str | None) -> "FeatureEntry | None":
    """The stored features that a word names: by key, or by model when that leaves no choice."""
    if word in ctx.features.keys() or _KEY.search(word):  # noqa: SIM118 - a method, not a mapping
        return ctx.features.get(word)
    matching = [entry for entry in ctx.features.entries() if _matches(entry, word, options, pool)]
    if len(matching) > 1 and not options.extract:
        keys = ", ".join(entry.key for entry in matching)
        raise UsageError(
            f"{word!r} has been extracted in several ways: {keys}", "name the key, or say --dataset and --pool-x"
        )
    return matching[0] if len(matching) == 1 and not options.extract else None


def _matches(entry: "FeatureEntry", model: str, options: SourceOptions, pool: str | None) -> bool:
    request = entry.manifest["request"]
    return (
        entry.complete
        and request["model"] == model
        and (not options.dataset or options.dataset in (request["dataset"], request["fingerprint"]))
        and (options.limit is None or entry.n_rows == options.limit)
        and (pool is None or pool in request["pools"])
    )


def _extracted(
    words: Sequence[str], options: SourceOptions, ctx: RunContext, pool: str | None
) -> "tuple[dict[str, list[FeatureEntry]], list[Failure]]":
    """Run `interp extract` on models (stored shards are not computed again) and open what it wrote."""
    if not options.extract:
        known = sorted({_model_of(entry) for entry in ctx.features.entries()})
        if not known:
            raise UsageError(
                f"there are no stored features of {words[0]!r}, nor of any model", "leave out --no-extract"
            )
        raise UnknownNameError("stored features", words[0], known, where="--no-extract")
    method = discover().methods.get("extract")
    stage = method.default_stage if method else None
    if stage is None:
        raise UsageError(
            f"{words[0]!r} would have to be extracted, and there is no extract command", "see `interp plugins list`"
        )
    run = ctx.run_stage("extract", resolve(stage.config_type, [], _settings(words, options, pool)).config)
    _log.info("extracted %d models in run %s", len(words), run.id)
    result = run.result or {}
    entries: dict[str, list[FeatureEntry]] = {word: [] for word in words}
    for item in result.get("features", []):
        name = str(item["model"])
        word = name if name in entries else name.rpartition(":")[0]
        entries.setdefault(word, []).append(ctx.features.get(str(item["key"])))
    return entries, [Failure(**failure) for failure in result.get("failures", [])]


def _settings(words: Sequence[str], options: SourceOptions, pool: str | None) -> list[Override]:
    """The extraction's options, written as on its command line."""
    dataset = _PUBLISHED.get(options.dataset, options.dataset)
    if options.subset is not None:
        name = dataset or "prh"
        dataset = f"{name}:{'revision' if name == 'prh' else 'subset'}={options.subset}"
    given = {"models": json.dumps(list(words)), "dataset": dataset, "pool": pool, "limit": options.limit}
    given |= {"caption": ",".join(map(str, options.caption)), "loss": "true" if options.loss else None}
    return [Override(key, str(value), f"--{key}") for key, value in given.items() if value not in (None, "")]

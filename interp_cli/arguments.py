"""The command line of a stage -> settings, directed by the schema of its configuration.

Everything that a configuration has is an option: ``--batch-size 8``, ``--model.dtype=bf16``, ``--metric cka``, ``--flag``,
``--no-flag``. What a stage cannot say is left to the typer application around it.
"""

import json
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from interp_cli.options import StageOptions
from interp_registry.config_io import FieldSchema, Override, choice_root, fields_of
from interp_registry.config_io.schema import element_choice_root, strip_optional
from interp_registry.contracts.method import Stage
from interp_registry.errors import ConfigError, UnknownNameError, UsageError

__all__ = ["Parsed", "annotations_at", "option_names", "parse"]


@dataclass
class Parsed:
    """What a command line said.

    Attributes:
        settings: Options of the stage's configuration, in order.
        common: Options that every stage has.
        positionals: Words without a dash.
        wants_help: Whether ``-h`` or ``--help`` was there.
        pending: The option at the end of the line that still lacks its value (used by completion).
    """

    settings: list[Override] = field(default_factory=list)
    common: list[Override] = field(default_factory=list)
    positionals: list[str] = field(default_factory=list)
    wants_help: bool = False
    pending: str | None = None


@dataclass(frozen=True)
class _Target:
    path: str
    owner: type
    common: bool
    negated: bool = False


_SET = _Target("set", StageOptions, common=True)


def parse(argv: Sequence[str], stage: Stage[Any]) -> Parsed:
    """Read a stage's command line.

    Raises:
        UsageError: An option is unknown, lacks its value, or there are too many words.
    """
    parsed = Parsed()
    words = list(argv)
    while words:
        word = words.pop(0)
        if word == "--":
            parsed.positionals += words
            break
        if word in {"-h", "--help"}:
            parsed.wants_help = True
        elif _is_option(word):
            _read_option(_modern(word, stage), words, stage, parsed)
        else:
            parsed.positionals.append(word)
    parsed.settings = _join_repeated(parsed.settings, stage.config_type)
    parsed.common = _join_repeated(parsed.common, StageOptions)
    return parsed


def _modern(word: str, stage: Stage[Any]) -> str:
    """An option in the spelling of an earlier tool -> ours; ours may bring its value along (``--cpu`` -> ``--device=cpu``).

    Raises:
        UsageError: A value is given to a spelling that brings its own.
    """
    name, equals, text = word.partition("=")
    modern = stage.legacy_flags.get(name, name)
    if equals and "=" in modern:
        raise UsageError(f"{name} takes no value", f"it means {modern}")
    return f"{modern}{equals}{text}"


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _read_option(word: str, rest: list[str], stage: Stage[Any], parsed: Parsed) -> None:
    name, equals, text = word.partition("=")
    target = _target(name, stage)
    value: str | None = text if equals else None
    if target.negated:
        if equals:
            raise UsageError(f"{name} takes no value")
        value = "false"
    elif not equals and not _is_flag(target):
        bare = _bare_value(target)
        if rest and not _is_option(rest[0]) and (bare is None or rest[0].endswith((".yaml", ".yml"))):
            value = rest.pop(0)
        else:
            value = bare
            parsed.pending = name
    if target == _SET and value is not None:
        rest.insert(0, _as_option(value))
        return
    (parsed.common if target.common else parsed.settings).append(Override(target.path, value, name))


def _as_option(pair: str) -> str:
    """``key=value`` of ``--set`` as the option that it stands for.

    Raises:
        ConfigError: It has no ``=``.
    """
    key, equals, _ = pair.partition("=")
    if not equals or not key:
        raise ConfigError(f"{pair!r} is no KEY=VALUE", "--set")
    return f"--{pair}"


def _is_option(word: str) -> bool:
    return word.startswith("-") and len(word) > 1 and not _is_number(word)


def _bare_value(target: _Target) -> str | None:
    schema = fields_of(target.owner).get(target.path)
    return schema.bare if schema else None


def _target(name: str, stage: Stage[Any]) -> _Target:
    """Which field an option sets: the stage's own first, then the common ones."""
    short = _short_flags(stage).get(name)
    if short is not None:
        return short
    bare = name.removeprefix("--")
    bare = stage.flags.get(bare, bare)
    head = bare.split(".")[0].replace("-", "_")
    for config, common in ((stage.config_type, False), (StageOptions, True)):
        if head in fields_of(config):
            return _Target(bare.replace("-", "_"), config, common)
        negated = head.removeprefix("no_")
        if head.startswith("no_") and negated in fields_of(config) and _flag_field(fields_of(config)[negated]):
            return _Target(negated, config, common, negated=True)
    raise UnknownNameError("option", name, option_names(stage))


def _short_flags(stage: Stage[Any]) -> dict[str, _Target]:
    return {
        flag: _Target(schema.name, config, common)
        for config, common in ((StageOptions, True), (stage.config_type, False))
        for schema in fields_of(config).values()
        for flag in schema.flags
    }


def option_names(stage: Stage[Any]) -> list[str]:
    """Every long option of a stage, the dotted ones left out."""
    own = [schema.option for schema in fields_of(stage.config_type).values() if not schema.positional]
    extra = [f"--{flag}" for flag in stage.flags]
    common = [schema.option for schema in fields_of(StageOptions).values() if not schema.hidden]
    return [*own, *extra, *(name for name in common if name not in own), "--help"]


def _flag_field(schema: FieldSchema) -> bool:
    return strip_optional(schema.annotation) is bool


def _is_flag(target: _Target) -> bool:
    annotations = annotations_at(target.owner, target.path.split("."))
    return bool(annotations) and all(strip_optional(a) is bool for a in annotations)


def annotations_at(config: type, segments: Sequence[str]) -> list[Any]:
    """Types that a dotted path can have; several when different choices have a field of that name."""
    schema = fields_of(config).get(segments[0].replace("-", "_"))
    if schema is None:
        return []
    rest = list(segments[1:])
    elements = element_choice_root(schema.annotation)
    if elements is not None and rest and rest[0].isdigit():
        rest = rest[1:]
    if not rest:
        return [schema.annotation]
    root = choice_root(schema.annotation) or elements
    nested = strip_optional(schema.annotation)
    if root is not None:
        if rest == ["type"]:
            return [root]
        owners: Iterable[type] = {root.get_choice_class(name) for name in root.get_known_choices()}
    elif isinstance(nested, type) and hasattr(nested, "__dataclass_fields__"):
        owners = [nested]
    else:
        return []
    return [annotation for owner in owners for annotation in annotations_at(owner, rest)]


def _join_repeated(overrides: list[Override], config: type) -> list[Override]:
    """A list option that is given several times is one list."""
    joined: dict[str, Override] = {}
    for override in overrides:
        before = joined.get(override.path)
        annotations = annotations_at(config, override.path.split("."))
        is_list = bool(annotations) and typing.get_origin(strip_optional(annotations[0])) is list
        if before and is_list and before.text and override.text:
            text = f"{before.text},{override.text}"
            joined[override.path] = Override(override.path, text, override.source)
        else:
            joined[override.path] = override
    return list(joined.values())


def positional_overrides(words: Sequence[str], config: type) -> list[Override]:
    """Give words without a dash to the positional fields; a list takes all that are left.

    Raises:
        UsageError: There are more words than fields.
    """
    left = list(words)
    overrides: list[Override] = []
    schemas = [schema for schema in fields_of(config).values() if schema.positional]
    for schema in schemas:
        if not left:
            break
        if typing.get_origin(strip_optional(schema.annotation)) is list:
            text, left = json.dumps(left), []
        else:
            text = left.pop(0)
        overrides.append(Override(schema.name, text, schema.name.upper()))
    if left:
        takes = " ".join(s.name.upper() for s in schemas) or "no arguments"
        raise UsageError(f"unexpected argument {left[0]!r}", f"this command takes {takes}; options begin with --")
    return overrides


def lookup(overrides: Iterable[Override]) -> Mapping[str, str | None]:
    """Dotted path -> text, for help and completion that depend on what is on the line already."""
    return {override.path: override.text for override in overrides}

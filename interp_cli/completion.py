"""Shell completion of a stage's options and values; protocol details of the shells are typer's."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from interp_cli import arguments
from interp_cli.name_completion import SOURCES, catalog_entries
from interp_cli.options import StageOptions
from interp_registry.choices import choice_names
from interp_registry.config_io import FieldSchema, choice_root, fields_of
from interp_registry.config_io.schema import element_choice_root, nested_class
from interp_registry.contracts.method import Stage
from interp_registry.discovery import discover
from interp_registry.errors import UsageError
from interp_registry.imports import load_attribute

__all__ = ["complete"]

Item = tuple[str, str]


def complete(stage: Stage[Any], words: Sequence[str], incomplete: str) -> list[Item]:
    """What the word under the cursor can become.

    Args:
        stage: The stage whose command line it is.
        words: The words before the cursor.
        incomplete: The word under the cursor, as the shell gives it; bash splits ``--a=b`` at ``=``.

    Returns:
        Pairs (word, help).
    """
    discover()
    words = list(words)
    if incomplete == "=" or (words and words[-1] == "="):
        words = [w for w in words if w != "="]
        incomplete = "" if incomplete == "=" else incomplete
    incomplete = incomplete.removeprefix("=") if not incomplete.startswith("--") else incomplete
    try:
        parsed = arguments.parse(words, stage)
    except UsageError:
        parsed = arguments.Parsed()
    if parsed.pending:
        return _values(stage, parsed.pending, incomplete, "")
    name, equals, text = incomplete.partition("=")
    if equals:
        return _values(stage, name, text, f"{name}=")
    if not incomplete.startswith("-"):
        return _positional_values(stage, len(parsed.positionals), incomplete)
    given = arguments.lookup(parsed.settings)
    return [item for item in _options(stage, given, incomplete) if item[0].startswith(incomplete)]


def _options(stage: Stage[Any], given: Any, incomplete: str) -> Iterator[Item]:
    for schema in fields_of(stage.config_type).values():
        if schema.positional or schema.hidden:
            continue
        yield schema.option, schema.help
        if incomplete.startswith(f"{schema.option}."):
            yield from _nested_options(schema, given)
    for flag, target in stage.flags.items():
        yield f"--{flag}", f"the same as --{target}"
    for schema in fields_of(StageOptions).values():
        if not schema.hidden and schema.name not in fields_of(stage.config_type):
            yield schema.option, schema.help
    yield "--help", "show the help page"


def _nested_options(schema: FieldSchema, given: Any) -> Iterator[Item]:
    root = choice_root(schema.annotation) or element_choice_root(schema.annotation)
    if root is None:
        nested = nested_class(schema.annotation)
        owners = [nested] if nested else []
    else:
        yield f"{schema.option}.type", "which one"
        chosen = given.get(schema.name) or given.get(f"{schema.name}.type")
        names = [chosen] if chosen in root.get_known_choices() else list(root.get_known_choices())
        owners = list({root.get_choice_class(name): None for name in names})
    for owner in owners:
        for inner in fields_of(owner).values():
            yield f"{schema.option}.{inner.name}", inner.help


def _values(stage: Stage[Any], option: str, begun: str, prefix: str) -> list[Item]:
    bare = option.removeprefix("--")
    path = stage.flags.get(bare, bare).replace("-", "_").split(".")
    named = fields_of(stage.config_type).get(path[0])
    if named is not None and named.complete and len(path) == 1:
        return _begun(_names(named.complete), begun, prefix)
    for owner in (stage.config_type, StageOptions):
        annotations = arguments.annotations_at(owner, path)
        if annotations:
            values = dict.fromkeys(v for a in annotations for v in FieldSchema("", a, None).values)
            return _begun(values, begun, prefix)
    return []


def _begun(values: Iterable[str], begun: str, prefix: str) -> list[Item]:
    """The values that go on from what was typed; in a comma-separated list, from its last item."""
    done, comma, last = begun.rpartition(",")
    return [(f"{prefix}{done}{comma}{value}", "") for value in values if value.startswith(last)]


def _names(complete: str) -> list[str]:
    """Names that a field says where to find, of all the sources that it says, separated by blanks."""
    return [name for source in complete.split() for name in _names_of(source)]


def _names_of(source: str) -> list[str]:
    """Names of one source: a function that lists them, a kind of choice, runs or launches, or a section of the catalog."""
    if ":" in source:
        return list(load_attribute(source)())
    if source in SOURCES:
        return SOURCES[source]()
    root = discover().registry.kinds().get(source)
    return catalog_entries(source) if root is None else choice_names(root)


def _positional_values(stage: Stage[Any], index: int, begun: str) -> list[Item]:
    schemas = [schema for schema in fields_of(stage.config_type).values() if schema.positional]
    if not schemas:
        return []
    schema = schemas[min(index, len(schemas) - 1)]
    if schema.complete:
        return _begun(_names(schema.complete), begun, "")
    return [(value, "") for value in schema.values if value.startswith(begun)]

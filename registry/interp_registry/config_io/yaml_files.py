"""Configuration files: YAML that cannot run code, with limits, line numbers in errors, and ``base:`` overlays."""

from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from interp_registry.errors import ConfigError, UsageError

__all__ = ["MAX_BYTES", "MAX_DEPTH", "dump_yaml", "merge", "parse_yaml", "read_layers", "read_yaml"]

MAX_BYTES = 1 << 20
"""Largest configuration file that is read: 1 MiB."""

MAX_DEPTH = 32
"""Deepest nesting of mappings and lists."""

_MAX_NODES = 100_000
_MAX_BASES = 16
_MAX_FILES = 256
_LONGEST_NUMBER = 400
"""Characters of the longest number (the largest double has 309 digits): one of a million characters takes minutes to read."""


_PLAIN = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map", "merge")
)


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses duplicate keys, aliases that multiply, and anything but JSON's data; a date is text."""

    yaml_constructors = {  # noqa: RUF012 - as the base declares it
        tag: constructor
        for tag, constructor in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag in _PLAIN
    }
    yaml_implicit_resolvers = {  # noqa: RUF012 - as the base declares it
        first: [(tag, pattern) for tag, pattern in resolvers if tag in _PLAIN]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(None, None, "a key must be plain text", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} occurs twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read one YAML mapping; an empty file is an empty mapping.

    Raises:
        UsageError: The file is missing, too large, no UTF-8, no YAML, no mapping, or nested too deeply.
    """
    data = parse_yaml(_read_text(path), str(path))
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise UsageError(f"{path} holds a {type(data).__name__}", "a configuration is a mapping `key: value`")
    return {str(key): value for key, value in data.items()}


def parse_yaml(text: str, source: str) -> Any:
    """Plain data from YAML text, with the limits of a file; None from an empty one.

    Raises:
        UsageError: It is no YAML, too large, or nested too deeply; the message names ``source``.
    """
    try:
        root = yaml.compose(text, Loader=_Loader)
        if root is None:
            return None
        _check_size(root, source)
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - _Loader is a SafeLoader
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, LookupError, AttributeError) as err:  # `!!int ""`
        raise UsageError(
            f"{source} is not valid YAML{_where(err)}", "check the indentation and the colons there"
        ) from err


def _read_text(path: Path) -> str:
    try:
        if path.is_fifo() and not str(path).startswith("/dev/"):  # what a shell writes into, as with <(...), is read
            raise UsageError(f"{path} is a pipe", "write the settings into a file, and name that")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)  # the size that a device or a pipe states says nothing
        if len(data) > MAX_BYTES:
            raise UsageError(f"{path} has more than {MAX_BYTES} bytes", "is it a configuration?")
        return data.decode("utf-8")
    except FileNotFoundError:
        raise UsageError(f"no file {path}", _near_file(path)) from None
    except (OSError, UnicodeDecodeError, ValueError) as err:
        raise UsageError(f"cannot read {path}: {err}") from err


def _near_file(path: Path) -> str | None:
    from interp_registry.errors import near_names

    folder = path.parent
    names = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    near = near_names(path.name, names)
    return f"did you mean {' or '.join(near)}?" if near else None


def _where(err: Exception) -> str:
    mark = getattr(err, "problem_mark", None)
    problem = getattr(err, "problem", None) or str(err).splitlines()[0]
    return f", line {mark.line + 1}: {problem}" if mark else f": {problem}"


def _check_size(root: yaml.Node, source: str) -> None:
    """Count nodes as they would be expanded, so that aliases cannot multiply without end."""
    nodes = 0
    stack: list[tuple[yaml.Node, int]] = [(root, 1)]
    while stack:
        node, depth = stack.pop()
        nodes += 1
        if depth > MAX_DEPTH or nodes > _MAX_NODES:
            what = f"nested more than {MAX_DEPTH} deep" if depth > MAX_DEPTH else f"more than {_MAX_NODES} values"
            raise UsageError(f"{source} is too large: {what}")
        if isinstance(node, yaml.ScalarNode) and _is_number(node) and len(node.value) > _LONGEST_NUMBER:
            raise UsageError(f"{source}{_where_of(node)} has a number of {len(node.value)} characters")
        if isinstance(node, yaml.MappingNode):
            stack.extend((child, depth + 1) for pair in node.value for child in pair)
        elif isinstance(node, yaml.SequenceNode):
            stack.extend((child, depth + 1) for child in node.value)


def _is_number(node: yaml.ScalarNode) -> bool:
    return node.tag.endswith((":int", ":float"))


def _where_of(node: yaml.Node) -> str:
    return f", line {node.start_mark.line + 1}," if node.start_mark else ""


def read_layers(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Read a configuration file and the files that its ``base:`` names, base first.

    ``base`` is a path, or a list of paths, relative to the file that names it; absolute ones are refused.

    Returns:
        Pairs (file name, mapping) in the order of precedence, lowest first.

    Raises:
        UsageError: A file cannot be read, or bases follow each other without end, or there are too many.
        ConfigError: A base is no relative path.
    """
    layers: list[tuple[str, dict[str, Any]]] = []
    for layer in _layers(path, 0):
        layers.append(layer)
        if len(layers) > _MAX_FILES:
            raise UsageError(f"{path} has more than {_MAX_FILES} bases", "name each base once")
    return layers


def _layers(path: Path, depth: int) -> Iterator[tuple[str, dict[str, Any]]]:
    if depth > _MAX_BASES:
        raise UsageError(f"{path}: more than {_MAX_BASES} bases in a row", "is there a circle?")
    data = read_yaml(path)
    bases = data.pop("base", [])
    for base in bases if isinstance(bases, list) else [bases]:
        if not isinstance(base, str) or Path(base).is_absolute():
            raise ConfigError(f"{base!r} is no path relative to {path.parent}", key="base")
        yield from _layers(path.parent / base, depth + 1)
    yield str(path), data


def merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two mappings; mappings in both are merged, anything else in ``high`` replaces."""
    merged = dict(low)
    for key, value in high.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def dump_yaml(data: Mapping[str, Any]) -> str:
    """YAML text in the order of the mapping, without aliases."""

    class _Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - signature of the base
            return True

    return yaml.dump(dict(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False)

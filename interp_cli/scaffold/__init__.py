"""Write a complete plugin package: pyproject, code, tests that run the contract checks, README."""

import re
from pathlib import Path
from string import Template

from interp_registry.errors import UnknownNameError, UsageError
from interp_registry.stores.artifact import make_folder, whole_folder

__all__ = ["KINDS", "write_plugin"]

KINDS = ("metric", "loss", "evaluator", "model", "dataset", "method", "tracker", "launcher")
"""Kinds of plugin that there is a template for."""

_TEMPLATES = Path(__file__).parent / "templates"
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def write_plugin(name: str, kind: str, folder: Path) -> list[Path]:
    """Write the package of a new plugin.

    Args:
        name: Name of the plugin: lower-case letters, digits and dashes.
        kind: One of :data:`KINDS`.
        folder: Where to make the package's folder ``interp-<name>``.

    Returns:
        The files written.

    Raises:
        UsageError: The name cannot be one, the kind does not exist, or the folder is there already.
        ResourceError: The folder cannot be written; nothing is left in it.
    """
    if kind not in KINDS:
        raise UnknownNameError("kind of plugin", kind, KINDS, "--kind")
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot name a plugin", "use lower-case letters, digits and dashes, e.g. my-metric")
    package = folder / f"interp-{name}"
    if package.exists():
        raise UsageError(f"{package} is there already", "choose another name or folder")
    module = f"interp_{name.replace('-', '_')}"
    words = {"name": name, "module": module, "choice": name.replace("-", "_"), "kind": kind, "Class": _class_name(name)}
    files = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        f"src/{module}/__init__.py": f"{kind}_plugin.py",
        f"src/{module}/implementation.py": f"{kind}_implementation.py",
        "tests/test_contract.py": f"{kind}_test.py",
    }
    make_folder(folder)
    with whole_folder(package) as fresh:
        for target, template in files.items():
            path = fresh / target
            path.parent.mkdir(parents=True, exist_ok=True)
            text = (_TEMPLATES / f"{template}.txt").read_text(encoding="utf-8")
            path.write_text(Template(text).substitute(words), encoding="utf-8")
    return [package / target for target in files]


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("-"))

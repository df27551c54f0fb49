"""The stages ``lens import`` and ``lens export``: each format is a plugin that does its own work."""

from interp_plugins.methods.lens.config import ExportConfig, ImportConfig
from interp_registry.contracts.method import Result, RunContext
from interp_registry.errors import UsageError

__all__ = ["run_export", "run_import"]


def run_import(config: ImportConfig, ctx: RunContext) -> Result:
    """Bring in a lens or activations of another tool.

    Raises:
        UsageError: There is nothing at the path.
        DataError: What is there is not of this format.
    """
    if not config.path.exists():
        raise UsageError(f"there is no file or folder {str(config.path)!r}")
    return config.format.build(config, ctx)


def run_export(config: ExportConfig, ctx: RunContext) -> Result:
    """Write a lens for another tool.

    Raises:
        UsageError: There is no such lens, or the format has no place for it.
    """
    return config.format.build(config, ctx)

"""``interp config``: the user's settings."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from interp_cli import console
from interp_registry.config_io import dump_yaml, encode, read_yaml, resolve
from interp_registry.config_io.resolve import Override
from interp_registry.stores.artifact import make_folder, replace_text
from interp_registry.user_config import UserConfig, user_config, user_config_path

__all__ = ["app", "update_user_config"]

app = typer.Typer(help="The user's settings.", no_args_is_help=True)


@app.command("show")
def show(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show the settings in force, the file they come from, and the environment variables that change them."""
    from interp_cli.paths import configs_dir
    from interp_registry.stores.home import home

    settings = encode(user_config())
    path = user_config_path()
    variables = ("INTERP_HOME", "INTERP_CONFIG", "INTERP_PLUGINS", "INTERP_BLOCK_PLUGINS", "HF_HOME", "HF_HUB_OFFLINE")
    facts = {
        "file": f"{path}{'' if path.is_file() else ' (not there yet)'}",
        "home in force": str(home()),
        "shipped configurations": str(configs_dir()),
        **{name: os.environ[name] for name in variables if name in os.environ},
    }
    if json:
        console.print_json({"settings": settings, **facts})
        return
    console.print_table(("setting", "value"), settings.items())
    console.out().print()
    console.print_table(("where", ""), facts.items())


@app.command("set")
def set_value(
    name: Annotated[str, typer.Argument(help="Name of the setting.")],
    value: Annotated[str, typer.Argument(help="Its value; lists are comma-separated.")],
) -> None:
    """Change one setting in the user's file."""
    resolved = resolve(UserConfig, [], [Override(name, value, name)])
    path = update_user_config({name: encode(resolved.config)[name.replace("-", "_")]})
    console.print_paths([path])


@app.command("path")
def show_path() -> None:
    """Print where the user's file is."""
    console.out().print(str(user_config_path()), markup=False)


def update_user_config(changes: Mapping[str, Any]) -> Path:
    """Write changed settings into the user's file, atomically.

    Args:
        changes: Setting -> plain value.

    Returns:
        The file.
    """
    path = user_config_path()
    current = read_yaml(path) if path.is_file() else {}
    make_folder(path.parent)
    replace_text(path, dump_yaml({**current, **changes}))
    return path

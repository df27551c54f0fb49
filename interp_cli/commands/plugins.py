"""``interp plugins``: what is installed, what failed to load and why, and blocking."""

from pathlib import Path
from typing import Annotated

import typer

from interp_cli import console
from interp_cli.app import command_problems
from interp_cli.name_completion import plugin_names
from interp_registry.discovery import PluginInfo, Plugins, discover
from interp_registry.errors import UnknownNameError

__all__ = ["app"]

app = typer.Typer(help="What is installed, and what failed to load.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PluginName = Annotated[str, typer.Argument(help="Name of the plugin.", autocompletion=plugin_names)]


@app.command("list")
def list_plugins(json: Json = False) -> int:
    """List plugins with what they add; exit code 1 when one failed to load."""
    plugins = discover()
    problems = command_problems(plugins)
    rows = [_row(info, plugins, problems) for info in plugins.infos]
    collisions = plugins.registry.collisions
    if json:
        shadowed = [dict(zip(("kind", "name", "owner", "loser"), row, strict=True)) for row in collisions]
        console.print_json({"plugins": rows, "collisions": shadowed})
    else:
        columns = ("name", "distribution", "status", "adds", "ms", "problem")
        console.print_table(columns, ([row[c] for c in columns] for row in rows))
        for kind, name, owner, loser in collisions:
            console.out().print(f"{kind} {name!r}: {owner} has it; write {loser}/{name} for the one of {loser}")
    return 1 if plugins.failed or problems else 0


def _row(info: PluginInfo, plugins: Plugins, problems: dict[str, str]) -> dict[str, str]:
    adds = [f"{kind} {name}" for kind, name, plugin, _ in plugins.registry.entries() if plugin == info.name]
    adds = [f"method {name}" for name in info.methods] + adds
    problem = info.error or problems.get(info.name, "")
    return {
        "name": info.name,
        "distribution": info.distribution,
        "status": "failed" if info.name in problems else info.status,
        "adds": ", ".join(adds[:6]) + (f", ... ({len(adds)})" if len(adds) > 6 else ""),
        "ms": f"{info.milliseconds:.0f}",
        "problem": problem,
    }


@app.command("show")
def show_plugin(name: PluginName, json: Json = False) -> int:
    """Show everything a plugin adds, or the traceback of why it failed."""
    plugins = discover()
    info = next((info for info in plugins.infos if info.name == name), None)
    if info is None:
        raise UnknownNameError("plugin", name, [info.name for info in plugins.infos])
    adds = [(k, n, f"{c.__module__}:{c.__qualname__}") for k, n, p, c in plugins.registry.entries() if p == name]
    adds = [("method", method, plugins.methods[method].help) for method in info.methods] + adds
    if json:
        facts = {"name": name, "status": info.status, "module": info.module, "error": info.error, "trace": info.trace}
        console.print_json({**facts, "adds": [{"kind": k, "name": n, "where": w} for k, n, w in adds]})
        return 0
    console.out().print(f"{name}: {info.status}, {info.module} of {info.distribution}")
    if info.trace:
        console.out().print(info.trace, markup=False)
    if adds:
        console.print_table(("kind", "name", "what"), adds)
    return 1 if info.status == "failed" else 0


@app.command("block")
def block_plugin(name: PluginName) -> None:
    """Do not load a plugin any more (kept in the user's configuration)."""
    _set_blocked(name, blocked=True)


@app.command("unblock")
def unblock_plugin(name: PluginName) -> None:
    """Load a plugin again that was blocked."""
    _set_blocked(name, blocked=False)


@app.command("new")
def new_plugin(
    name: Annotated[str, typer.Argument(help="Name of the plugin, e.g. my-metric.")],
    kind: Annotated[
        str, typer.Option("--kind", help="metric, loss, evaluator, model, dataset, method, tracker, launcher.")
    ],
    folder: Annotated[Path, typer.Option("--in", help="Folder to make the package in.")] = Path(),
) -> None:
    """Write a complete plugin package: pyproject, code, tests that run the contract checks, README."""
    from interp_cli.scaffold import write_plugin

    written = write_plugin(name, kind, folder)
    console.print_paths(written)
    console.out().print(f"next: pip install -e {written[0].parent} && pytest {written[0].parent}", markup=False)


def _set_blocked(name: str, *, blocked: bool) -> None:
    from interp_cli.commands.config import update_user_config
    from interp_registry.user_config import user_config

    known = [info.name for info in discover().infos]
    if name not in known:
        raise UnknownNameError("plugin", name, known)
    others = [other for other in user_config().blocked_plugins if other != name]
    path = update_user_config({"blocked_plugins": [*others, name] if blocked else others})
    console.out().print(f"{name} is {'blocked' if blocked else 'loaded again'} ({path})")

"""``interp catalog``: model sets, data sets and experiments that have a name."""

from dataclasses import asdict
from typing import Annotated

import typer

from interp_cli import console
from interp_cli.paths import catalog as open_catalog
from interp_registry.choices import choice_names, load_attribute
from interp_registry.config_io import dump_yaml
from interp_registry.discovery import discover
from interp_registry.errors import UnknownNameError

__all__ = ["app"]

app = typer.Typer(help="Model sets, data sets, experiments and choices that have a name.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_entries(
    section: Annotated[str | None, typer.Argument(help="modelsets, experiments, metric, dataset, ...")] = None,
    json: Json = False,
) -> None:
    """List the named entries: those of the catalog's files, and the choices that plugins registered."""
    plugins = discover()
    catalog = open_catalog(plugins)
    entries = {name: catalog.names(name) for name in catalog.sections()}
    entries |= {kind: choice_names(root) for kind, root in plugins.registry.kinds().items()}
    if section is not None:
        if section not in entries:
            raise UnknownNameError("section", section, entries)
        entries = {section: entries[section]}
    if json:
        console.print_json(entries)
    else:
        console.print_table(
            ("section", "names"), ((name, ", ".join(names)) for name, names in entries.items() if names)
        )


@app.command("show")
def show_entry(
    section: Annotated[str, typer.Argument(help="Section, e.g. modelsets.")],
    name: Annotated[str, typer.Argument(help="Entry, e.g. val.")],
    json: Json = False,
) -> None:
    """Show one entry of the catalog with its base files merged in."""
    catalog = open_catalog(discover())
    if section not in catalog.sections():
        raise UnknownNameError("section", section, catalog.sections())
    entry = catalog.get(section, name)
    if json:
        console.print_json(entry)
    else:
        console.out().print(dump_yaml(entry), markup=False, end="")


@app.command("check")
def check_set(
    name: Annotated[str, typer.Argument(help="A model set, e.g. val, or the name of one model.")],
    json: Json = False,
) -> None:
    """Say of each model of a set whether it exists, how large it is, and whether it fits this machine; nothing is fetched."""
    plugins = discover()
    catalog = open_catalog(plugins)
    known = catalog.modelset(name) if name in catalog.names("modelsets") else {"model": [name]}
    check_models = load_attribute(plugins.methods["extract"].api["check_models"])
    checks = check_models([model for names in known.values() for model in names])
    if json:
        console.print_json([asdict(check) for check in checks])
        return
    words = {True: "yes", False: "no", None: "?"}
    rows = (
        (check.name, words[check.exists], _billions(check.n_params), words[check.fits], words[check.local], check.note)
        for check in checks
    )
    console.print_table(("model", "exists", "parameters", "fits", "here", "note"), rows)


def _billions(n_params: int | None) -> str:
    return "?" if n_params is None else f"{n_params / 1e9:.3g} B" if n_params >= 1e9 else f"{n_params / 1e6:.3g} M"

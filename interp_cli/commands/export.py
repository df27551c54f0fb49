"""``interp export``: write stored features for other tools."""

from pathlib import Path
from typing import Annotated

import typer

from interp_cli import console
from interp_registry.stores.home import layout

__all__ = ["app"]

app = typer.Typer()


@app.command("export")
def export(
    keys: Annotated[
        list[str], typer.Argument(help="Keys of stored features (see `interp store ls`); a beginning is enough.")
    ],
    format: Annotated[str, typer.Option("--format", "-f", help="platonic-pt, npy, npz, parquet or zarr.")] = "npz",  # noqa: A002
    to: Annotated[Path, typer.Option("--to", help="Folder to write into.")] = Path(),
    pool: Annotated[str | None, typer.Option("--pool", help="Pooling, where there are several.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Home folder instead of INTERP_HOME.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write stored features for other tools."""
    from interp_registry.stores.exchange import export_entry
    from interp_registry.stores.features import FeatureStore

    store = FeatureStore(layout(out).store)
    written = [path for key in keys for path in export_entry(store.get(key), format, to, pool)]
    if json:
        console.print_json({"written": [str(path) for path in written]})
    else:
        console.print_paths(written)

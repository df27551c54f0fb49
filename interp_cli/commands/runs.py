"""``interp runs``: what was run, how it went, and going on with it."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from interp_cli import console
from interp_cli.name_completion import run_names
from interp_cli.report.visible import shorten
from interp_registry.errors import UsageError
from interp_registry.stores.home import layout
from interp_registry.stores.records import require_fields
from interp_registry.stores.run import Run, RunState, RunStore

__all__ = ["app"]

app = typer.Typer(help="List, show, resume, repeat and remove runs.", no_args_is_help=True)

_SHOWN_LINE = 160
_SAID = {"argv": "command line", "parent": "part of"}

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Out = Annotated[Path | None, typer.Option("--out", help="Home folder instead of INTERP_HOME.")]
Device = Annotated[
    str | None, typer.Option("--device", help="Compute here instead of where the run did: cpu, cuda, cuda:1, mps.")
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust-remote-code",
        help="Run code that a model's repository brings, where the stored configuration asks for it.",
    ),
]
RunName = Annotated[
    str, typer.Argument(help="Id, its beginning or ending, 'last', or a folder.", autocompletion=run_names)
]


@app.command("list")
def list_runs(
    command: Annotated[str | None, typer.Option("--command", help="Only runs of this command.")] = None,
    state: Annotated[RunState | None, typer.Option("--state", help="Only runs in this state.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="How many of the latest.", min=1)] = 50,
    json: Json = False,
    out: Out = None,
) -> None:
    """List runs, the latest last."""
    chosen = [run for run in RunStore(layout(out).runs).runs() if command in (None, run.command)]
    rows = [row for row in map(_row, chosen) if state in (None, row["state"])][-limit:]
    if json:
        console.print_json({"runs": rows})
        return
    console.print_table(("run", "state", "what"), ((row["run"], row["state"], _what(row)) for row in rows))


def _what(row: Mapping[str, Any]) -> str:
    """The command line, or the command alone where another run started it; below it why a run failed."""
    line = shlex.join(row["argv"][1:]) or f"{row['command']} (part of {row['parent'] or 'a Python session'})"
    return "\n".join(filter(None, (shorten(line, _SHOWN_LINE), shorten(row["detail"], _SHOWN_LINE))))


def _row(run: Run) -> dict[str, Any]:
    status = run.status
    return {
        "run": run.id,
        "command": run.command,
        "state": run.state,
        "created": run.record["created"],
        "argv": run.record["argv"],
        "parent": run.record["details"].get("parent"),
        "detail": status["detail"].splitlines()[0] if status["detail"] else "",
        "folder": str(run.path),
    }


@app.command("show")
def show_run(run: RunName = "last", json: Json = False, out: Out = None) -> None:
    """Show what a run was asked, how it went and what it made."""
    found = RunStore(layout(out).runs).get(run)
    result = found.result
    if json:
        facts = {**_row(found), "config": found.config, "result": result}
        console.print_json({**facts, "details": found.record["details"], "files": _files(found)})
        return
    row = _row(found)
    facts = {**row, "argv": shlex.join(row["argv"]), "created": row["created"][:19].replace("T", " ") + " UTC"}
    console.print_table(("", ""), ((_SAID.get(name, name), value) for name, value in facts.items() if value))
    _print_settings(found)
    if result is not None and result.get("scalars"):
        console.print_table(("result", "value"), result["scalars"].items())
    for failure in (result or {}).get("failures", []):
        console.out().print(f"failed: {failure['item']}: {failure['message']}", markup=False)
    console.print_table(("file", "size"), ((name, console.size(size)) for name, size in _files(found).items()))


def _print_settings(run: Run) -> None:
    from interp_registry.config_io import dump_yaml

    origins = {name: source for name, source in run.record["origins"].items() if source != "default"}
    console.out().print()
    console.out().print(dump_yaml(run.config), markup=False, end="")
    if origins:
        console.print_table(("set", "by"), origins.items())


def _files(run: Run) -> dict[str, int]:
    files = sorted(path for path in run.path.rglob("*") if path.is_file())
    return {path.relative_to(run.path).as_posix(): path.stat().st_size for path in files}


@app.command("rm")
def remove_runs(
    runs: Annotated[list[str], typer.Argument(help="Ids, beginnings, endings, or 'last'.", autocompletion=run_names)],
    force: Annotated[bool, typer.Option("--force", help="Also runs that are running.")] = False,
    out: Out = None,
) -> None:
    """Delete runs with everything in their folders; stored features stay."""
    store = RunStore(layout(out).runs)
    for run in {run.id: run for run in map(store.get, runs)}.values():
        store.remove(run, force)
        console.out().print(f"deleted {run.path}", markup=False)


@app.command("resume")
def resume_run(
    run: RunName = "last", device: Device = None, trust: Trust = False, json: Json = False, out: Out = None
) -> int:
    """Go on with a run that was interrupted or failed, in its own folder, on any machine that has that folder."""
    found = RunStore(layout(out).runs).get(run)
    if found.state in (RunState.RUNNING, RunState.CREATED):
        raise UsageError(f"run {found.id} is running (process {found.status['pid']} on {found.status['host']})")
    if found.state is RunState.DONE:
        raise UsageError(f"run {found.id} is done", f"to do it again: interp runs rerun {found.id}")
    from interp_cli import execution

    return execution.resume(found, _options(found, device, json, out), trust).exit_code


@app.command("rerun")
def rerun(
    run: RunName = "last",
    seed: Annotated[int | None, typer.Option("--seed", help="Another seed.")] = None,
    device: Device = None,
    trust: Trust = False,
    json: Json = False,
    out: Out = None,
) -> int:
    """Run the configuration of a run again, as a new run."""
    from interp_cli import execution

    found = RunStore(layout(out).runs).get(run)
    method, stage = execution.find_stage(found.command)
    resolved = execution.stored_configuration(found, stage, trust)
    options = _options(found, device, json, out)
    options.seed = options.seed if seed is None else seed
    words = found.record["argv"][1 + len(found.command.split()) :]
    return execution.execute(method, stage, resolved, options, words).exit_code


def _options(run: Run, device: str | None, json: bool, out: Path | None) -> Any:
    """The shell's options that the run had; output and home are those of this command, and the device if it names one.

    What the run says of its home is not taken: it may have come from another machine, or from somebody else.
    """
    from interp_cli.options import StageOptions
    from interp_registry.config_io import resolve

    stored = require_fields(run.path / "record.json", {"options": {}, **run.record["details"]}, {"options": dict})[
        "options"
    ]
    options = resolve(StageOptions, [(str(run.path / "record.json"), stored)]).config
    options.json, options.resume, options.dry_run, options.explain_config = json, None, False, False
    options.out = out if out is not None else _home_of(run)
    options.device = device if device is not None else options.device
    return options


def _home_of(run: Run) -> Path | None:
    """The home folder that a run lies in; None for the usual one, and for a run that lies in none."""
    folder = run.path.absolute().parent
    return folder.parent if folder.name == "runs" and folder != layout().runs else None

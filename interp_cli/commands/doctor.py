"""``interp doctor``: what is wrong with this installation, and what to do about it."""

from typing import Annotated

import typer

from interp_cli import console
from interp_cli.diagnosis import Finding, examine

__all__ = ["app"]

app = typer.Typer()

_MARKS = {"ok": "[green]ok[/]", "note": "[cyan]note[/]", "warning": "[yellow]warning[/]", "error": "[bold red]error[/]"}


@app.command("doctor")
def doctor(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> int:
    """Look at Python, torch and its driver, packages, folders, disk, hub, SLURM and plugins; exit code 1 on an error."""
    findings = examine()
    if json:
        console.print_json({"findings": [vars(finding) for finding in findings]})
    else:
        for finding in findings:
            _show(finding)
    return 1 if any(finding.level == "error" for finding in findings) else 0


def _show(finding: Finding) -> None:
    out = console.out()
    out.print(f"{_MARKS[finding.level]:<7} {finding.topic}: {console.plain(finding.text)}")
    if finding.advice:
        out.print(f"        [dim]{console.plain(finding.advice)}[/]")

"""The table of decompositions: paper, reference implementation and ours side by side; rows not run say what they would cost.

python benchmarks/spd_table.py                              print the table from benchmarks/results/spd.json
python benchmarks/spd_table.py --run tms_5-2:0 tms_5-2:1    run these (experiment:seed) from nothing first, and keep what they found
python benchmarks/spd_table.py --take FOLDER ...            keep what these run folders found
python benchmarks/spd_table.py --write                      put the table into docs/spd.md
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KEPT, PAGE = ROOT / "benchmarks" / "results" / "spd.json", ROOT / "docs" / "spd.md"
BEGIN, END = "<!-- table: python benchmarks/spd_table.py --write -->", "<!-- end of table -->"
PAPER = {
    "tms_5-2": "1.000 ± 0.000 / 0.993 ± 0.002", "tms_5-2-id": "1.000 ± 0.000 / 0.992 ± 0.010",
    "tms_40-10": "1.000 ± 0.000 / 1.010 ± 0.007", "tms_40-10-id": "1.000 ± 0.000 / 1.031 ± 0.001",
    "resid_mlp1": "figures only", "resid_mlp2": "figures only", "resid_mlp3": "figures only", "ss_emb": "-",
}  # fmt: skip
REFERENCE = {"tms_5-2": "1.000 / 1.007 (seed 0)"}


def kept() -> list[dict]:
    """What was measured so far, one record per run."""
    return json.loads(KEPT.read_text()) if KEPT.exists() else []


def keep(folder: Path, cpu_seconds: float | None = None) -> None:
    """Add what a finished run found, in place of an earlier one that is the same."""
    result, record = (json.loads((folder / f"{name}.json").read_text()) for name in ("result", "record"))
    options = record["details"]["options"]
    new = {
        "experiment": result["experiment"], "seed": options["seed"], "steps": result["steps"],
        "starts": result.get("starts"), "metrics": result["metrics"],
        "cpu_seconds": cpu_seconds if cpu_seconds is not None else result.get("cpu_seconds"),
    }  # fmt: skip
    same = ("experiment", "seed", "steps", "starts")
    rest = [old for old in kept() if any(old[key] != new[key] for key in same)]
    KEPT.parent.mkdir(exist_ok=True)
    ordered = sorted(
        [*rest, new], key=lambda r: (list(PAPER).index(r["experiment"]), r["seed"], r["steps"], str(r["starts"]))
    )
    KEPT.write_text(json.dumps(ordered, indent=1, sort_keys=True) + "\n")


def run(name: str, seed: str) -> None:
    """Run one decomposition in a folder of its own, target included, on one thread."""
    with tempfile.TemporaryDirectory() as home:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "interp_cli", "spd", "run", name, "--seed", seed, "--out", home, "--offline",
                   "--device", "cpu", "--json", "--no-report"]  # fmt: skip
        done = subprocess.run(  # noqa: S603 - the interpreter that runs this
            command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        keep(Path(json.loads(done.stdout.splitlines()[-1])["folder"]), round(after.ru_utime - before.ru_utime, 1))


def cost(name: str) -> str:
    """What a run would cost, in words."""
    from interp_plugins.methods.spd.experiments import load_experiment
    from interp_plugins.methods.spd.run import step_milliseconds, steps_in_all
    from interp_registry.catalog import Catalog

    each = step_milliseconds(name)
    if each is None:
        return "not run; needs the network and a GPU"
    seconds = each / 1000 * steps_in_all(load_experiment(name, Catalog((ROOT / "configs",))))
    hours = seconds / 3600
    return (
        f"not run; about {hours:.0f} hours on one thread" if hours > 2 else f"not run; about {seconds / 60:.0f} minutes"
    )


def row(found: dict) -> str:
    """One run in the words of the table."""
    m = found["metrics"]
    parts: list[str] = []
    if "mmcs_mean" in m:
        parts.append(f"{m['mmcs_mean']:.3f} / {m['ml2r_mean']:.3f}")
    if "identity_ci_error" in m:
        parts.append(f"errors {m['identity_ci_error']:.0f}")
    contributions = [value for name, value in m.items() if name.startswith("neuron_contribution_correlation/")]
    if contributions:
        parts.append("neuron contributions r " + ", ".join(f"{value:.4f}" for value in contributions))
    live = {name.partition("/")[2]: count for name, count in m.items() if name.startswith("live_components/")}
    parts.append("live " + ", ".join(f"{name} {count:.0f}" for name, count in live.items()))
    parts.append(f"loss {m['loss']:.2e}")
    return "; ".join(parts)


def table() -> str:
    """The table in Markdown."""
    from interp_registry.discovery import discover

    discover()
    lines = [
        "| experiment | paper MMCS / ML2R | reference | ours: MMCS / ML2R | CPU of ours |",
        "|---|---|---|---|---|",
    ]
    records = kept()
    for name, paper in PAPER.items():
        mine = [r for r in records if r["experiment"] == name]
        for found in mine:
            seconds = found["cpu_seconds"]
            spent = "-" if seconds is None else f"{seconds:.0f} s"
            starts = (
                ", single start" if found["starts"] is None else f", best of {len(found['starts']['losses'])} starts"
            )
            lines.append(
                f"| {name}, seed {found['seed']}{starts}, {found['steps']} steps | {paper} | {REFERENCE.get(name, 'not run')} "
                f"| {row(found)} | {spent} |"
            )
        if not mine:
            lines.append(f"| {name} | {paper} | {REFERENCE.get(name, 'not run')} | {cost(name)} | - |")
    return "\n".join(lines)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", nargs="*", default=[], metavar="EXPERIMENT:SEED")
    parser.add_argument("--take", nargs="*", default=[], type=Path, metavar="FOLDER")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    for item in options.run:
        run(*item.rsplit(":", 1))
    for folder in options.take:
        keep(folder)
    made = table()
    print(made)
    if options.write:
        page = PAGE.read_text()
        head, rest = page.split(BEGIN, 1)
        PAGE.write_text(f"{head}{BEGIN}\n\n{made}\n\n{END}{rest.split(END, 1)[1]}")


if __name__ == "__main__":
    main()

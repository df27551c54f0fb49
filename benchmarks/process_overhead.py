"""What a command costs besides its own work: the processor time of a short one, started and ended by Python's habits and by ours.

::

    python benchmarks/process_overhead.py [--repeats 5]

Python's habits are to look for garbage while modules are imported, and to take every module down object by object in the end.
The floor is a process that imports the libraries which the command needs, looks for no garbage, and ends without a word.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile

COMMANDS = {
    "extract vit-d32 --dataset shapes --limit 64": "import torch, timm",
    "align lm-d32 vit-d32 --limit 64": "import torch, timm, transformers",
    "lens show logit --model lm-d32": "import torch, transformers",
}
HABITS = "import interp_cli.__main__ as cli; cli.start_quickly = lambda: None; cli.main()"
OURS = "import interp_cli.__main__ as cli; cli.main()"


def cpu_seconds(program: str, *words: str) -> float:
    """User plus system time of a process with a home of its own."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "INTERP_HOME": home, "HF_HUB_OFFLINE": "1"}
        line = [sys.executable, "-c", program, *words]
        subprocess.run(  # noqa: S603 - the interpreter that runs this
            line, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    print(f"{'CPU seconds, medians':46} {'floor':>7} {'habits':>7} {'ours':>7} {'habits/ours':>12} {'ours/floor':>11}")
    for line, imports in COMMANDS.items():
        programs = {"floor": f"import gc; gc.disable(); {imports}, os; os._exit(0)", "habits": HABITS, "ours": OURS}
        words = {"floor": (), "habits": (*line.split(), "--quiet", "--no-report")}
        rows = [
            {k: cpu_seconds(p, *words.get(k, words["habits"])) for k, p in programs.items()} for _ in range(1 + repeats)
        ]
        measured = rows[1:]  # the first fills caches
        floor, habits, ours = (statistics.median(row[k] for row in measured) for k in programs)
        print(f"{line:46} {floor:7.2f} {habits:7.2f} {ours:7.2f} {habits / ours:12.2f} {ours / floor:11.2f}")


if __name__ == "__main__":
    main()

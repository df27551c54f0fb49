"""The front between faithful and readable: recipes of the text bottleneck with one budget, and GRPO beside them.

    OMP_NUM_THREADS=1 python benchmarks/lens_front.py [--steps 160] [--batch 96] [--tokens 12] [--out FOLDER]

Every recipe is trained by `interp lens train` for as many steps on the same activations of the embedded lm-d128; one `interp lens eval`
judges all of them on the same held-out rows. Prints the table of docs/lens.md and writes its figure: share of the variance explained
against what the explanations cost the base model above its own texts of as many tokens.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

DATA = (
    "--dataset=shapes:split=train,captions_per_item=2", "--positions=random:2,min:8", "--layers=2", "--no-report", "--device=cpu",
)  # fmt: skip
STRAIGHT = {"through_words": None, "learning_rate": "0.001"}
"""The gradient runs through the words, which wants a smaller rate."""
NO_LABELS = STRAIGHT | {"writing.start": "0"}
RECIPES = {
    "labels (default)": {},
    "labels, 6 tokens": {"tokens": "6"},
    "straight-through, no warm start": NO_LABELS | {"warm_start.steps": "0"},
    "straight-through": NO_LABELS,
    "straight-through and labels": STRAIGHT,
    "straight-through, control.excess=1": NO_LABELS | {"control.excess": "1", "control.integral": "0.02"},
    "straight-through, reference=0.3": NO_LABELS | {"reference.start": "0.3"},
    "straight-through, late fluency": NO_LABELS
    | {"fluency.shape": "linear", "fluency.start": "0", "fluency.end": "0.2", "fluency.hold": "50%"},
}
"""Settings of `--method.`, beside the default ones."""
GRPO = "GRPO (nla)"


def interp(*words, out):
    """What a command's ``--json`` ends with."""
    command = [sys.executable, "-m", "interp_cli", "lens", *words, "--out", str(out), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own interpreter
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def commands(steps, batch, tokens):
    """The training of every recipe."""
    for name, settings in RECIPES.items():
        chosen = {"batch_size": str(batch), "tokens": str(tokens), "kl.start": "0.05"} | settings
        flags = [f"--method.{key}" if value is None else f"--method.{key}={value}" for key, value in chosen.items()]
        yield name, ["train", "consistency", "lm-d128", "--method.layer", "2", *flags, "--steps", str(steps), *DATA]
    sft = f"--method.sft_steps={steps // 2}"
    flags = [
        "--method.layer",
        "2",
        sft,
        f"--method.batch_size={batch}",
        f"--method.max_tokens={tokens}",
        "--steps",
        str(steps),
    ]
    yield GRPO, ["train", "nla", "lm-d128", *flags, *DATA]


def row_of(name, swaps, text):
    """The numbers of one recipe."""
    own, facts = swaps["reconstruction"], text["facts"]
    return {
        "recipe": name,
        "FVE": own["fve"][0],
        "KL / KL(mean)": own["kl_over_mean"][0],
        "another's": swaps["another explanation"]["kl_over_mean"][0],
        "nats per token": text["explanation_nll"][0],
        "above own": text["explanation_nll"][0] - text["base_nll"],
        "facts": facts["recall"][0],
        "by chance": facts["other_recall"][0],
        "probe": facts["probe_recall"][0],
    }


def measure(steps, batch, tokens, rows, out):
    """Train all recipes, evaluate them together."""
    folders = {}
    for name, words in commands(steps, batch, tokens):
        folders[name] = interp(*words, out=out)["folder"]
        print(f"trained: {name}", file=sys.stderr, flush=True)
    judged = interp("eval", *folders.values(), "--suite", "swap,text", "--rows", str(rows), *DATA, out=out)
    (at,) = judged["layers"]
    found = []
    for name, folder in folders.items():
        method = "nla" if name == GRPO else "consistency"
        label = f"{method} ({Path(folder).name})"
        label = label if label in at["texts"] else method
        found.append(row_of(name, at["swaps"][label], at["texts"][label]))
    return found


def show(found):
    """The table in Markdown."""
    print("| " + " | ".join(found[0]) + " |\n|" + "---|" * len(found[0]))
    for row in found:
        cells = (f"{value:.2f}" if isinstance(value, float) else str(value) for value in row.values())
        print("| " + " | ".join(cells) + " |")


def draw(found, stem):
    """FVE against the cost in fluency; the box is the aim."""
    mpl.rcParams["svg.hashsalt"] = "interp"
    figure, axes = plt.subplots(figsize=(6.4, 4.0))
    for row, marker in zip(found, "os^vDPX<>p*h", strict=False):
        axes.scatter(row["above own"], row["FVE"], marker=marker, label=row["recipe"])
    left = min(0.0, *(row["above own"] for row in found)) - 0.2
    axes.fill_between([left, 1.0], 0.8, 1.0, color="0.9", zorder=0)
    axes.set(xlim=(left, None), ylim=(min(0.0, *(row["FVE"] for row in found)) - 0.05, 1.0))
    axes.set(xlabel="nats per token above the base model's own texts", ylabel="variance explained")
    axes.legend(fontsize=7)
    figure.tight_layout()
    stem.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None})


def main():
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=160)
    parser.add_argument("--tokens", type=int, default=12)
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--figure", type=Path, default=Path("docs/images/lens-front"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(given.steps, given.batch, given.tokens, given.rows, given.out or Path(folder))
    show(found)
    draw(found, given.figure)


if __name__ == "__main__":
    main()

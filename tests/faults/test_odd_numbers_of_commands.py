"""What commands make of odd numbers: the last table of docs/odd_numbers.md, every row of it run."""

import csv
import json
import math
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from broken_models import Weights, changed_copy
from markdown_tables import tables
from PIL import Image
from safetensors.torch import load_file, save_file

from interp_cli.__main__ import run as interp
from interp_registry.stores.checkpoint import CheckpointStore

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "odd_numbers.md"
TARGET = Path(__file__).parents[1] / "golden" / "spd" / "target_tms_5-2"
ROWS = tables(PAGE)[2]
QUIET = ("--device", "cpu", "--no-report", "--progress", "none")
COLOURS = ("red", "blue", "green", "yellow")
DUMP = "--dataset {captions} --layers 1 --positions random:2,min:2"
SPD = "--steps 12 --batch_size 64 --eval_batch_size 64 --n_eval_batches 1 --starts.n 1 --checkpoint_every 5"
CLIP = (
    "--dataset {many} --test {two} --n_validation 4 --batch_size 4 --training.steps 3 --training.evaluate_every 3 "
    "--training.checkpoint_every 1"
)

COMMANDS = {
    ("extract", "NaN in the embedding of one token"): "extract {nan_token} --limit 8",
    ("extract --pool none", "NaN in the embedding of one token"): "extract {nan_token} --limit 8 --pool none",
    ("extract --loss", "NaN in the output head"): "extract {nan_head} --limit 8 --loss",
    ("extract --store-dtype float16", "activations over 65504"): "extract {big} --limit 8 --store-dtype float16",
    ("extract --pool none", "activations over 65504, as float16"): (
        "extract {big} --limit 8 --pool none --store-dtype float16"
    ),
    ("extract --pool avg+last+none --loss", "texts of no, one and five words"): (
        "extract lm-d32 --dataset {texts} --pool avg+last+none --loss"
    ),
    ("align", "a NaN in a file"): "align {nan.npy} {y.npy}",
    ("align", "one sample"): "align {one.npy} {one_y.npy}",
    ("align --topk 40", "40 samples"): "align {x.npy} {y.npy} --topk 40",
    ("align", "one layer, every row twice"): "align {twice.npy} {y.npy}",
    ("align --ci", "4 samples and 3 neighbours"): "align {four.npy} {four_y.npy} --topk 3 --ci",
    ("lens dump", "NaN in the embedding of one token"): "lens dump {nan_token} --dataset {captions}",
    ("lens train", "one text"): "lens train linear lm-d32 --dataset {text} --layers 1",
    ("lens train tuned", "the same activation everywhere"): (
        f"lens train tuned {{same}} {DUMP} --steps 2 --method.batch_size 4"
    ),
    ("lens train consistency", "the same activation everywhere"): (
        f"lens train consistency {{same}} {DUMP} --steps 2 --method.batch_size 4"
    ),
    ("lens train nla", "the same activation everywhere"): (
        f"lens train nla {{same}} {DUMP} --steps 2 --method.batch_size 4"
    ),
    ("lens train tuned", "a learning rate of 1e30"): (
        f"lens train tuned lm-d32 {DUMP} --steps 12 --method.batch_size 4 --method.lr_scale 1e33 "
        "--training.checkpoint_every 1"
    ),
    ("lens eval", "NaN in the output head"): f"lens eval logit --model {{nan_head}} {DUMP} --samples 1",
    ("lens eval", "the same activation everywhere"): f"lens eval logit mean --model {{same}} {DUMP} --samples 1",
    ("lens show", "NaN in the output head"): "lens show logit --model {nan_head}",
    ("spd run", "a learning rate of 1e30"): f"spd run tms_5-2 --target.path {TARGET} {SPD} --learning_rate 1e30",
    ("spd run", "one component, one row a step"): (
        f"spd run tms_5-2 --target.path {TARGET} {SPD} --components.linear1 1 --components.linear2 1 --batch_size 1"
    ),
    ("spd run", "target weights of zero"): f"spd run tms_5-2 --target.path {{zero_target}} {SPD}",
    ("spd run", "a target with NaN"): f"spd run tms_5-2 --target.path {{nan_target}} {SPD}",
    ("clip train", "NaN in the model"): f"clip train {{nan_clip}} {CLIP}",
    ("clip train", "a learning rate of 1e30"): f"clip train {CLIP} --lr 1e30",
    ("clip train", "batches of one pair"): f"clip train {CLIP} --batch_size 1",
    ("clip train", "pictures that are all the same"): f"clip train {CLIP} --dataset {{blank}}",
    ("clip train", "one test pair"): f"clip train {CLIP} --test {{one}}",
    ("bench", "one picture"): "bench clip-bow --datasets {one}",
    ("bench", "pictures that are all the same"): "bench clip-bow --datasets {blank}",
    ("bench", "empty captions"): "bench clip-bow --datasets {unsaid}",
    ("bench", "NaN in the model"): "bench {nan_clip} --datasets {many}",
    ("cuts", "one picture"): "cuts clip-bow --dataset {one}",
    ("cuts", "pictures that are all the same"): "cuts clip-bow --dataset {blank}",
    ("cuts", "NaN in the model"): "cuts {nan_clip} --dataset {many}",
    ("cuts --n-clusters 1000", "one picture"): "cuts clip-bow --dataset {one} --n-clusters 1000",
}
"""Command and condition, as the page has them -> words; names in braces are those of the fixture ``things``."""


def with_nan(name: str, row: int | slice = slice(None)):
    def change(weights: Weights) -> None:
        weights[name][row] = math.nan

    return change


def blow_up(weights: Weights) -> None:
    weights["model.embed_tokens.weight"] *= 1e6


def say_one_thing(weights: Weights) -> None:
    table = weights["model.embed_tokens.weight"]
    table.copy_(table[5].expand_as(table))


def captioned(folder: Path, n: int, caption: str, blank: bool = False) -> str:
    """A data set of small pictures with captions."""
    folder.mkdir()
    draws = np.random.default_rng(0)
    with (folder / "pairs.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "caption"])
        for index in range(n):
            pixels = np.zeros((32, 32, 3)) if blank else draws.integers(0, 256, (32, 32, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index}.png")
            rows.writerow([f"{index}.png", caption.format(COLOURS[index % 4])])
    return f"captioned_files:file={folder / 'pairs.csv'}"


def texts(path: Path, *lines: str) -> Path:
    path.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    return path


def target(folder: Path, factor: float) -> Path:
    """A toy's weights times a number."""
    folder.mkdir()
    for path in TARGET.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    weights = {name: value * factor for name, value in load_file(TARGET / "tms.safetensors").items()}
    save_file(weights, folder / "tms.safetensors")
    return folder


def features(folder: Path) -> dict[str, Path]:
    """Files of features by name."""
    draws = np.random.default_rng(0)
    arrays = {name: draws.standard_normal((40, 8)) for name in ("x", "y", "nan")}
    arrays["nan"][3, 2] = math.nan
    arrays["twice"] = draws.standard_normal((20, 1, 8)).repeat(2, axis=0)
    arrays |= {name: draws.standard_normal((1, 8)) for name in ("one", "one_y")}
    arrays |= {name: draws.standard_normal((4, 8)) for name in ("four", "four_y")}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array.astype(np.float32))
    return {f"{name}.npy": folder / f"{name}.npy" for name in arrays}


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Everything that the commands are given, by name."""
    folder = tmp_path_factory.mktemp("odd")
    end = 2
    return features(folder) | {
        "nan_token": changed_copy(folder / "nan-token", "lm-d32", with_nan("model.embed_tokens.weight", end)),
        "nan_head": changed_copy(folder / "nan-head", "lm-d32", with_nan("lm_head.weight", end)),
        "big": changed_copy(folder / "big", "lm-d32", blow_up),
        "same": changed_copy(folder / "same", "lm-d32", say_one_thing),
        "nan_clip": changed_copy(folder / "nan-clip", "clip-bow", with_nan("visual_projection.weight", 0)),
        "zero_target": target(folder / "zero", 0.0),
        "nan_target": target(folder / "nan", math.nan),
        "text": texts(folder / "text.jsonl", "a small red circle"),
        "captions": texts(
            folder / "captions.jsonl", *(f"a {a} circle is above a {b} square ." for a in COLOURS for b in COLOURS * 2)
        ),
        "texts": texts(folder / "texts.jsonl", "", "red", "a small red circle ."),
        "many": captioned(folder / "many", 40, "a {} circle"),
        "two": captioned(folder / "two", 2, "a {} circle"),
        "one": captioned(folder / "one", 1, "a {} circle"),
        "blank": captioned(folder / "blank", 40, "a {} circle", blank=True),
        "unsaid": captioned(folder / "unsaid", 3, ""),
    }


def words(pattern: str, things: dict[str, object]) -> list[str]:
    return shlex.split(re.sub(r"{([\w.]+)}", lambda found: str(things[found[1]]), pattern))


def test_the_page_has_these_commands_and_no_others():
    assert [(row["command"].strip("`"), row["with"]) for row in ROWS] == list(COMMANDS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['command']} {row['with']}".replace("`", ""))
def test_a_command_does_with_odd_numbers_what_the_page_says(
    row: dict[str, str], things: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    pattern = COMMANDS[row["command"].strip("`"), row["with"]]
    code = interp([*words(pattern, things), *QUIET, "--out", str(tmp_path)])
    said = capsys.readouterr().err
    outcome = re.fullmatch("(?:result|exit code (?P<code>[0-9]+): “(?P<message>.*)”)", row["outcome"])
    assert outcome
    assert code == int(outcome["code"] or 0), said
    assert (outcome["message"] or "") in " ".join(said.split())
    assert "Traceback" not in said
    assert len(list(tmp_path.rglob("result.json"))) == (code == 0)
    for path in tmp_path.rglob("result.json"):
        assert not re.search("NaN|Infinity", path.read_text())
    for path in tmp_path.glob("runs/*/checkpoints"):
        store = CheckpointStore(path)
        latest = store.latest()
        assert latest is None or all(torch.isfinite(value).all() for value in latest.weights().values())

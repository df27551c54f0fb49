"""Plugins that break their contract are named in one line, and nothing that they gave is stored as if it were right."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

METADATA = {
    "METADATA": "Metadata-Version: 2.1\nName: interp-liar\nVersion: 1.0\n",
    "entry_points.txt": "[interp]\nliar = liar\n",
    "RECORD": "",
}
MODULE = """\
from dataclasses import dataclass
from interp_registry import DatasetConfig, MetricConfig, ModelConfig, hookimpl

LIES = {
    "model": (ModelConfig, "liar_parts:Model", ("", "width", "nan", "preprocess", "rows", "raises")),
    "dataset": (DatasetConfig, "liar_parts:Data", ("", "short", "negative", "empty", "kind", "raises", "changing")),
    "metric": (MetricConfig, "liar_parts:Metric", ("", "shape", "nan", "raises")),
}

@hookimpl
def register(registry):
    for kind, (root, impl, lies) in LIES.items():
        for lie in lies:
            made = dataclass(type(f"{kind}{lie}", (root,), {"__doc__": "Lies.", "__module__": __name__, "impl": impl, "lie": lie}))
            globals()[made.__name__] = made
            registry.add(kind, f"liar-{kind}-{lie}" if lie else f"liar-{kind}", made)
"""
PARTS = """\
import random
import torch
from torch import nn
from interp_registry.contracts.data import Dataset, TextSample
from interp_registry.contracts.model import Batch, Encoded, ModelInfo, Output
from interp_registry.tensors.capture import Site
from interp_registry.tensors.hooked import HookedModel
from interp_registry.tensors.layers import Layer

class Model(HookedModel):
    def __init__(self, config, **_):
        torch.manual_seed(0)
        self.lie = config.lie
        network = nn.Sequential(nn.Embedding(256, 8), nn.Linear(8, 8)).eval()
        if self.lie == "nan":
            network[1].weight.data[0, 0] = float("nan")
        layers = (Layer(0), Layer(1))
        info = ModelInfo("liar-model-" + self.lie, "language", "1", 10, layers, dict.fromkeys(layers, 9 if self.lie == "width" else 8),
                         layers, "float32")
        super().__init__(network, info, {layer: Site(network[layer.index]) for layer in layers})

    def preprocess(self, samples):
        encoded = [Encoded({"input_ids": list(text.encode())}, length=len(text)) for text in samples]
        return encoded[:-1] if self.lie == "preprocess" else encoded

    def collate(self, encoded):
        longest = max(item.length for item in encoded)
        ids = torch.zeros(len(encoded), longest, dtype=torch.long)
        for row, item in enumerate(encoded):
            ids[row, : item.length] = torch.tensor(item.inputs["input_ids"])
        mask = torch.arange(longest) < torch.tensor([[item.length] for item in encoded])
        if self.lie == "rows":
            ids, mask = ids[:-1], mask[:-1]
        return Batch({"input": ids}, mask)

    def run(self, batch, *, logits):
        if self.lie == "raises":
            raise ZeroDivisionError("a division in the model")
        return Output(self.module(batch.inputs["input"]))

class Data(Dataset):
    name = "liar-dataset"
    modalities = frozenset({"language"})

    def __init__(self, config):
        self.lie, self.name = config.lie, f"liar-dataset-{config.lie}"

    def __len__(self):
        return -3 if self.lie == "negative" else 0 if self.lie == "empty" else 12

    def __getitem__(self, index):
        if self.lie == "short" and index >= 7:
            raise IndexError(index)
        if self.lie == "raises":
            raise KeyError("a column")
        if self.lie == "kind":
            return 17
        text = f"sentence {random.random() if self.lie == 'changing' else index}"
        return TextSample("same" if self.lie == "keys" else str(index), text)

class Metric:
    def __init__(self, config):
        self.lie = config.lie

    def prepare(self, layers):
        return {"x": torch.stack([layer.double() @ layer.double().T for layer in layers])}

    def score_pairs(self, x, y):
        if self.lie == "raises":
            raise ZeroDivisionError("a division in the metric")
        scores = torch.einsum("inm,jnm->ij", x["x"], y["x"])
        return {"shape": scores.T[:, :1], "nan": scores * float("nan"), "list": scores.tolist()}.get(self.lie, scores)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder on the path with the plugin as pip would have installed it."""
    folder = tmp_path_factory.mktemp("liar")
    (folder / "liar.py").write_text(MODULE)
    (folder / "liar_parts.py").write_text(PARTS)
    (folder / "interp_liar-1.0.dist-info").mkdir()
    for name, text in METADATA.items():
        (folder / "interp_liar-1.0.dist-info" / name).write_text(text)
    return folder


def interp(site: Path, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [
        sys.executable,
        "-m",
        "interp_cli",
        *words,
        "--out",
        str(home),
        "--no-report",
        "--device",
        "cpu",
        "--json",
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=120)


LIES = {
    "the model's widths": ("liar-model-width", "liar-dataset", "liar-model-width"),
    "the model's weights": ("liar-model-nan", "liar-dataset", "liar-model-nan"),
    "the number of encoded samples": ("liar-model-preprocess", "liar-dataset", "liar-model-preprocess"),
    "the rows of a batch": ("liar-model-rows", "liar-dataset", "liar-model-rows"),
    "an error in the model": ("liar-model-raises", "liar-dataset", "a division in the model"),
    "the length of the data": ("liar-model", "liar-dataset-short", "liar-dataset-short"),
    "a negative length": ("liar-model", "liar-dataset-negative", "liar-dataset-negative"),
    "no sample": ("liar-model", "liar-dataset-empty", "liar-dataset-empty"),
    "the kind of samples": ("liar-model", "liar-dataset-kind", "liar-dataset-kind"),
    "an error in the data": ("liar-model", "liar-dataset-raises", "a column"),
}


@pytest.mark.slow
@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_named_in_one_line_and_nothing_is_stored_as_done(site: Path, tmp_path: Path, lie: str):
    model, data, named = LIES[lie]
    done = interp(site, tmp_path, "extract", model, "--dataset", data)
    assert done.returncode in (1, 2, 3), done.stdout
    assert "Traceback" not in done.stderr
    assert named in done.stderr
    assert not list((tmp_path / "store").rglob("DONE.json"))
    assert not list((tmp_path / "store").rglob("*.safetensors"))


@pytest.mark.slow
def test_the_honest_plugin_works_and_data_that_change_get_another_key(site: Path, tmp_path: Path):
    honest = interp(site, tmp_path, "extract", "liar-model", "--dataset", "liar-dataset")
    assert honest.returncode == 0, honest.stderr
    assert len(list((tmp_path / "store" / "features").iterdir())) == 1
    for count in (2, 3):
        done = interp(site, tmp_path, "extract", "liar-model", "--dataset", "liar-dataset-changing")
        assert done.returncode == 0, done.stderr
        assert len(list((tmp_path / "store" / "features").iterdir())) == count


@pytest.mark.slow
@pytest.mark.parametrize("lie", ["shape", "nan", "raises"])
def test_a_lying_metric_is_named_and_gives_no_score(site: Path, tmp_path: Path, lie: str):
    done = interp(
        site,
        tmp_path,
        "align",
        "lm-d32",
        "lm-d64",
        "--limit",
        "32",
        "--metric",
        f"liar-metric-{lie}",
        "--permutations",
        "5",
    )
    assert done.returncode in (1, 2, 3), done.stdout
    assert "Traceback" not in done.stderr
    assert ("a division in the metric" if lie == "raises" else f"liar-metric-{lie}") in done.stderr
    assert not done.stdout

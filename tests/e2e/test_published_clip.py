"""The published numbers of ViT-B/32, on each data set whose files are here together with the weights; the others are skipped.

Flickr30k, Winoground and ImageNet come from the hub's cache. COCO and Flickr8k need a folder of files, named by ``INTERP_PUBLISHED_DATA``:
``dataset_coco.json`` with ``coco/``, ``dataset_flickr8k.json`` with ``flickr8k/``; and ImageNet's ``imagenet_classnames.txt`` and
``imagenet_templates.txt``, a line each.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from interp_plugins.datasets.image_text.config import Coco, Flickr30k, ImageNet, Winoground

MODEL = "openai/clip-vit-base-patch32"
PUBLISHED = json.loads((Path(__file__).parents[2] / "benchmarks" / "published_vit_b_32.json").read_text())
"""CLIP_benchmark's values for OpenAI's weights; Winoground as measured on the same weights by an earlier study."""
FILES = Path(os.environ.get("INTERP_PUBLISHED_DATA", "published-data"))
DATASETS = {
    "imagenet": ImageNet(),
    "flickr30k": Flickr30k(),
    "winoground": Winoground(),
    "coco": Coco(annotations=FILES / "dataset_coco.json", images=FILES / "coco"),
    "flickr8k": Coco(annotations=FILES / "dataset_flickr8k.json", images=FILES / "flickr8k"),
}


def lines(name: str) -> tuple[str, ...]:
    path = FILES / name
    if not path.is_file():
        pytest.skip(f"ImageNet needs {path} (set INTERP_PUBLISHED_DATA)")
    return tuple(line for line in path.read_text(encoding="utf-8").splitlines() if line)


def test_every_published_value_has_a_data_set():
    assert set(DATASETS) == set(PUBLISHED)


@pytest.mark.nightly
@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_vit_b_32_has_its_published_numbers(name, tmp_path):
    from interp_plugins.methods.bench.embeddings import CachedEmbedder
    from interp_plugins.methods.bench.tasks import Prompts, evaluate
    from interp_plugins.models.image_text.loading import load_image_text
    from interp_registry.errors import MissingDependencyError, OfflineError, UsageError
    from interp_registry.events import NullSink

    try:
        model, dataset = load_image_text(MODEL), DATASETS[name].build()
    except (OfflineError, MissingDependencyError) as err:
        pytest.skip(str(err))
    except UsageError as err:
        pytest.skip(f"{err} (INTERP_PUBLISHED_DATA names the folder)")
    prompts = Prompts()
    if name == "imagenet":
        prompts = Prompts(lines("imagenet_classnames.txt"), lines("imagenet_templates.txt"))
    scores = evaluate(CachedEmbedder(model, tmp_path, NullSink()), dataset, prompts).scores
    found = {metric: scores[metric].value for metric in PUBLISHED[name]}
    assert found == pytest.approx(PUBLISHED[name], abs=0.003)


def fabricated_hub(folder: Path, weights: str) -> Path:
    """A hub cache that holds a small CLIP under the published name, with the files and the old settings of the published one."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    commit = "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268"
    repository = folder / "hub" / f"models--{MODEL.replace('/', '--')}"
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    characters = [chr(code) for code in range(33, 127)]
    vocabulary = [*characters, *(f"{one}</w>" for one in characters), "<|startoftext|>", "<|endoftext|>"]
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
    config = CLIPConfig(
        text_config={**size, **ids, "vocab_size": len(vocabulary)},
        vision_config={**size, "image_size": 224, "patch_size": 32},
        projection_dim=16,
    )
    torch.manual_seed(0)
    module = CLIPModel(config)
    module.save_pretrained(snapshot)
    if weights == "pytorch_model.bin":
        (snapshot / "model.safetensors").unlink()
        positions = {
            "text_model.embeddings.position_ids": torch.arange(77)[None],
            "vision_model.embeddings.position_ids": torch.arange(50)[None],
        }
        torch.save({**module.state_dict(), **positions}, snapshot / weights)
    (snapshot / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(vocabulary)}))
    (snapshot / "merges.txt").write_text("#version: 0.2\n")
    ends = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>"}
    tokens = {**ends, "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    tokenizer = {**tokens, "do_lower_case": True, "model_max_length": 77, "tokenizer_class": "CLIPTokenizer"}
    (snapshot / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    (snapshot / "special_tokens_map.json").write_text(json.dumps(tokens))
    pictures = {
        "crop_size": 224, "do_center_crop": True, "do_normalize": True, "do_resize": True, "resample": 3, "size": 224,
        "feature_extractor_type": "CLIPFeatureExtractor",
        "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
    }  # fmt: skip
    (snapshot / "preprocessor_config.json").write_text(json.dumps(pictures))
    return folder


def karpathy_files(folder: Path) -> None:
    """Both Karpathy splits with twelve pictures of the embedded world under the names that the documentation gives."""
    from interp_plugins.datasets.image_text.config import WorldPairs

    pairs = WorldPairs(n=12, n_captions=5).build()
    for name in ("coco", "flickr8k"):
        (folder / name).mkdir(parents=True)
        images = []
        for row in range(len(pairs)):
            pairs.image(row).resize((96, 72)).save(folder / name / f"{row}.jpg")
            sentences = [{"raw": caption} for caption in pairs.captions_of(row)]
            images.append({"filename": f"{row}.jpg", "split": "test" if row else "train", "sentences": sentences})
        (folder / f"dataset_{name}.json").write_text(json.dumps({"dataset": name, "images": images}))


def run(words: list[str], folder: Path, home: Path) -> "subprocess.CompletedProcess[str]":
    settings = {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "INTERP_HOME": str(folder / "home")}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")} | settings
    return subprocess.run([sys.executable, "-m", *words], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["pytorch_model.bin", pytest.param("model.safetensors", marks=pytest.mark.nightly)])
def test_the_documented_command_scores_a_cached_checkpoint_beside_the_published_values(tmp_path, weights):
    karpathy_files(tmp_path)
    home = fabricated_hub(tmp_path / "hf", weights)
    choices = [{"type": "coco", "annotations": f"dataset_{name}.json", "images": name} for name in ("coco", "flickr8k")]
    published = str(Path(__file__).parents[2] / "benchmarks" / "published_vit_b_32.json")
    words = ["interp_cli", "bench", MODEL, "--compare", published, "--datasets", json.dumps(choices), "--json"]
    done = run([*words, "--offline"], tmp_path, home)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    (table,) = [one for one in answer["tables"] if "published" in one["columns"]]
    compared = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
    for name in ("coco", "flickr8k"):
        values = {row["metric"]: row["published"] for row in compared if row["dataset"] == name}
        assert {metric: values[metric] for metric in PUBLISHED[name]} == PUBLISHED[name]
    assert all(0 <= row["score"] <= 1 for row in compared if "recall@" in row["metric"])


@pytest.mark.slow
def test_what_is_missing_for_the_published_numbers_is_said(tmp_path):
    words = ["pytest", __file__, "-m", "nightly", "-k", "test_vit_b_32_has", "-rs", "-q", "-p", "no:cacheprovider"]
    told = run(words, tmp_path, fabricated_hub(tmp_path / "hf", "model.safetensors")).stdout
    assert f"{len(PUBLISHED)} skipped" in told
    for reason in ("nlphuji/flickr30k", "facebook/winoground", "ILSVRC/imagenet-1k", "dataset_coco.json"):
        assert reason in told
    assert "INTERP_PUBLISHED_DATA" in told

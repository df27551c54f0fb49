"""The published numbers of ViT-B/32, on each data set whose files are here together with the weights; the others are skipped.

Flickr30k, Winoground and ImageNet come from the hub's cache. COCO and Flickr8k need a folder of files, named by ``INTERP_PUBLISHED_DATA``:
``dataset_coco.json`` with ``coco/``, ``dataset_flickr8k.json`` with ``flickr8k/``; and ImageNet's ``imagenet_classnames.txt`` and
``imagenet_templates.txt``, a line each.
"""

import json
import os
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

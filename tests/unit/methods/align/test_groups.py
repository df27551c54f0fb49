"""Several rows per sample: many captions of one image."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from interp_plugins.methods.align.api import align
from interp_plugins.methods.align.config import AlignConfig
from interp_plugins.methods.align.run import align as run_align
from interp_plugins.metrics import neighbours
from interp_plugins.metrics.layer_bank import LayerBank
from interp_plugins.metrics.neighbours import grouped_neighbour_table
from interp_registry.errors import DataError

NAMES = [f"img{i // 3}" for i in range(90)]


@pytest.fixture
def captioned():
    """30 images and 3 captions of each."""
    generator = torch.Generator().manual_seed(0)
    latent = torch.randn(30, 4, generator=generator)
    images = latent @ torch.randn(4, 10, generator=generator) + 0.2 * torch.randn(30, 10, generator=generator)
    texts = latent.repeat_interleave(3, 0) @ torch.randn(4, 8, generator=generator)
    return images.double(), (texts + 0.5 * torch.randn(90, 8, generator=generator)).double()


def slow_lists(x, group, k):
    n = max(group) + 1
    best = np.full((n, n), -np.inf)
    for a, i in enumerate(group):
        for b, j in enumerate(group):
            if i != j:
                best[i, j] = max(best[i, j], float(x[a] @ x[b]))
    return np.argsort(-best, axis=1, kind="stable")[:, :k]


def test_neighbours_of_samples_are_those_of_their_most_similar_rows(captioned, monkeypatch):
    _, texts = captioned
    group = torch.randperm(90, generator=torch.Generator().manual_seed(1)) % 30
    expected = slow_lists(texts.numpy(), group.tolist(), 5)
    assert (grouped_neighbour_table(texts, group, 5)[0].numpy() == expected).all()
    monkeypatch.setattr(neighbours, "_BLOCK_ENTRIES", 90 * 11)
    assert (grouped_neighbour_table(texts, group, 5)[0].numpy() == expected).all()


def test_rows_of_one_sample_each_are_ordinary_samples(captioned):
    images, _ = captioned
    order = torch.randperm(30, generator=torch.Generator().manual_seed(2))
    plain = align(images, images.flip(1), topk=5)
    named = align(images, images.flip(1)[order], topk=5, ids_x=range(30), ids_y=order.tolist())
    assert named.scores[0, 0] == plain.scores[0, 0]


@pytest.mark.parametrize("metric", ["mutual_knn", "cycle_knn", "cka", "svcca", "cknna", "rsa", "jaccard_knn"])
def test_captions_are_matched_with_their_image_and_calibrated_over_images(captioned, metric):
    images, texts = captioned
    from interp_plugins.methods.align.metric_choice import metric as make

    chosen = make(metric, **({"dim": 3} if metric == "svcca" else {"topk": 4} if "kn" in metric else {}))
    found = align(images, texts, metric=chosen, ids_y=NAMES, null=40)
    assert found.n == 30
    assert found.p_value < 0.06
    shuffled = align(images, texts, metric=chosen, ids_x=NAMES[::3][::-1], ids_y=NAMES)
    assert shuffled.best.score < found.best.score


def test_subsets_of_samples_keep_all_of_their_rows(captioned):
    _, texts = captioned
    group = torch.arange(90) // 3
    rows = torch.tensor([20, 3, 7, 11, 28])
    part = LayerBank([texts], group=group).rows(rows)
    assert part.n == 5
    kept = torch.cat([texts[3 * r : 3 * r + 3] for r in rows.tolist()])
    expected = LayerBank([kept], group=torch.arange(15) // 3)
    assert torch.equal(part.neighbours(2)[0], expected.neighbours(2)[0])
    torch.testing.assert_close(part[0], expected[0])


def test_sides_with_different_samples_are_refused(captioned):
    images, texts = captioned
    with pytest.raises(DataError, match="'img29' is in y only"):
        align(images[:29], texts, ids_x=[f"img{i}" for i in range(29)], ids_y=NAMES)
    with pytest.raises(DataError, match="90 rows and 5 names"):
        align(images, texts, ids_y=NAMES[:5])


def test_the_command_matches_files_whose_rows_repeat_names(captioned, tmp_path, ctx):
    images, texts = captioned
    image_ids = [f"img{i}" for i in range(30)]
    for name, rows, ids in (("images", images, image_ids), ("texts", texts, NAMES)):
        parquet.write_table(pa.table({"id": ids, "emb": list(rows.float().numpy())}), tmp_path / f"{name}.parquet")
    paths = [str(tmp_path / f"{name}.parquet") for name in ("images", "texts")]
    config = AlignConfig(models=paths, topk=4, permutations="20", ci="auto", n_grid="20,30")
    (pair,) = run_align(config, ctx).data["pairs"]
    expected = align(images.float(), texts.float(), topk=4, ids_y=NAMES)
    assert pair["n"] == 30
    assert pair["score"] == pytest.approx(expected.best.score)
    assert pair["low"] < pair["score"] < pair["high"]

"""`interp cuts`: nodes, graphs, agreement, words, pictures, files."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import adjusted_rand_score

from interp_plugins.datasets.image_text.config import WorldClasses, WorldPairs, WorldTwins
from interp_plugins.methods.cuts.agreement import spearman, top_overlap, word_agreement, word_similarity
from interp_plugins.methods.cuts.config import CutsConfig
from interp_plugins.methods.cuts.cut import cut_nodes
from interp_plugins.methods.cuts.nodes import CorpusNodes, collect_nodes
from interp_plugins.methods.cuts.pictures import eigenvector_colours, overlay
from interp_plugins.methods.cuts.run import cuts
from interp_plugins.methods.cuts.words import cluster_words
from interp_registry.errors import ConfigError, OfflineError, ResourceError, UsageError
from interp_registry.stores.artifact import replace_text
from interp_registry.stores.shards import open_shard


def planted_nodes(
    seed: int = 0, n_samples: int = 6, h: int = 9, w: int = 5, k: int = 3
) -> tuple[CorpusNodes, torch.Tensor]:
    """Patches and words around k common directions."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.nn.functional.normalize(torch.randn(k, 16, generator=generator), dim=1)
    labels = torch.randint(k, (n_samples * (h + w),), generator=generator)
    rows = centres[labels] + 0.06 * torch.randn(len(labels), 16, generator=generator)
    rows = torch.nn.functional.normalize(rows, dim=1)
    cut = n_samples * h
    nodes = CorpusNodes(
        patches=rows[:cut],
        patch_owner=torch.arange(n_samples).repeat_interleave(h),
        words=rows[cut:],
        word_owner=torch.arange(n_samples).repeat_interleave(w),
        names=tuple(f"w{label}" for label in labels[cut:].tolist()),
        grid=(3, 3),
        images=tuple(Image.new("RGB", (9, 9)) for _ in range(n_samples)),
        captions=tuple("a planted caption" for _ in range(n_samples)),
    )
    return nodes, labels


@pytest.mark.parametrize("graph", ["bipartite", "features"])
@pytest.mark.parametrize("seed", range(3))
def test_planted_clusters_of_patches_and_words_are_found_with_the_right_number(graph, seed):
    nodes, labels = planted_nodes(seed)
    cut = cut_nodes(nodes, CutsConfig(graph=graph, temperature=0.3))
    assert cut.n_clusters == 3
    assert adjusted_rand_score(labels, torch.cat([cut.patch_labels, cut.word_labels])) >= 0.99
    assert cut.eigengap > 0.1


def test_the_graph_of_scores_only_sorts_the_similarities():
    nodes, labels = planted_nodes(1)
    cut = cut_nodes(nodes, CutsConfig(graph="scores", affinity="rbf", n_clusters=3, center=False))
    bipartite = cut_nodes(nodes, CutsConfig(n_clusters=3, temperature=0.3))
    found = torch.cat([cut.patch_labels, cut.word_labels])
    assert adjusted_rand_score(labels, found) < 0.6
    assert cut.cut_value > bipartite.cut_value


@pytest.mark.parametrize("graph", ["bipartite", "features"])
def test_permuting_words_and_patches_changes_nothing_but_the_order(graph):
    nodes, _ = planted_nodes(2)
    generator = torch.Generator().manual_seed(5)
    patches, words = (torch.randperm(len(x), generator=generator) for x in (nodes.patches, nodes.words))
    moved = dataclasses.replace(
        nodes,
        patches=nodes.patches[patches],
        patch_owner=nodes.patch_owner[patches],
        words=nodes.words[words],
        word_owner=nodes.word_owner[words],
        names=tuple(nodes.names[i] for i in words.tolist()),
    )
    config = CutsConfig(graph=graph, temperature=0.3)
    cut, other = cut_nodes(nodes, config), cut_nodes(moved, config)
    assert torch.equal(other.patch_labels, cut.patch_labels[patches])
    assert torch.equal(other.word_labels, cut.word_labels[words])
    torch.testing.assert_close(other.word_vectors[:, :2], cut.word_vectors[words][:, :2], atol=1e-6, rtol=0)


def test_padding_of_a_batch_never_becomes_a_node(untrained):
    pairs = WorldPairs(n=6).build()
    texts = [pairs.text(i) for i in range(6)]
    nodes = collect_nodes(untrained, pairs)
    alone = torch.cat([untrained.embed_words([text]).embeddings[0] for text in texts])
    assert nodes.words.shape == alone.shape
    torch.testing.assert_close(nodes.words, alone, atol=1e-5, rtol=0)
    first = cut_nodes(nodes, CutsConfig(n_clusters=3))
    second = cut_nodes(dataclasses.replace(nodes, words=alone), CutsConfig(n_clusters=3))
    torch.testing.assert_close(first.eigenvalues, second.eigenvalues, atol=1e-5, rtol=0)


def test_quads_give_both_images_with_their_captions(untrained):
    nodes = collect_nodes(untrained, WorldTwins(n=2).build())
    assert len(nodes.images) == len(nodes.captions) == 4
    assert nodes.patches.shape[0] == 4 * 64
    assert int(nodes.word_owner.max()) == 3
    with pytest.raises(UsageError, match="LabelledSample"):
        collect_nodes(untrained, WorldClasses(n=40).build())


def test_similarity_of_a_word_is_its_mean_over_the_patches_of_its_own_image():
    nodes, _ = planted_nodes(0, n_samples=2)
    by_hand = [
        (nodes.patches[nodes.patch_owner == owner] @ word).mean()
        for word, owner in zip(nodes.words, nodes.word_owner, strict=True)
    ]
    torch.testing.assert_close(word_similarity(nodes), torch.stack(by_hand))


def test_rank_correlation_and_overlap_have_their_defined_values():
    x = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert spearman(x, x**3) == pytest.approx(1)
    assert spearman(x, -x) == pytest.approx(-1)
    assert spearman(x, torch.tensor([1.0, 1.0, 2.0, 2.0])) == pytest.approx(0.8944, abs=1e-4)
    assert np.isnan(spearman(x, torch.ones(4)))
    assert top_overlap(x, torch.tensor([9.0, 0.0, 8.0, 1.0]), 2) == 0.5
    rows = word_agreement(x, torch.stack([x, -x], dim=1), torch.tensor([0, 0, 0, 1]))
    assert rows[1]["spearman"] == pytest.approx(-1)
    assert rows[0]["spearman_within_captions"] == pytest.approx(1)


def test_the_most_distinctive_words_come_first():
    names = ["red"] * 4 + ["a"] * 4 + ["blue"] * 4
    labels = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
    words = cluster_words(names, labels, torch.arange(12).float(), torch.zeros(12, 2))
    assert [(word.cluster, word.word) for word in words] == [(0, "red"), (0, "a"), (1, "blue"), (1, "a")]
    assert (words[0].share, words[1].share, words[0].similarity) == (1.0, 0.5, 1.5)
    assert words[1].distinctiveness == pytest.approx(0)


def test_colours_share_one_scale_and_an_overlay_tints_each_patch():
    vectors = torch.linspace(-1, 1, 101)[:, None].repeat(1, 2)
    colours = eigenvector_colours(vectors)
    assert colours.shape == (101, 3)
    assert colours[:, 0].min() == 0
    assert colours[:, 0].max() == 1
    assert (colours[:, 2] == 0).all()
    picture = overlay(Image.new("RGB", (8, 8)), torch.tensor([0, 1, 1, 0]), (2, 2))
    assert (picture[:4, :4] == picture[4:, 4:]).all()
    assert (picture[:4, 4:] != picture[:4, :4]).any()


def test_a_run_stores_vectors_labels_words_and_pictures_twice_the_same(untrained_context):
    config = CutsConfig(models=["clip-bow-init"], dataset=WorldTwins(n=3), n_clusters=3, n_pictures=2)
    first = cuts(config, untrained_context)
    content = [path.read_bytes() for path in first.artifacts]
    assert [path.read_bytes() for path in cuts(config, untrained_context).artifacts] == content
    shard = open_shard(first.artifacts[0])
    assert shard.tensor("patch_labels").shape == (6 * 64,)
    assert shard.info["grid"] == [8, 8]
    assert json.loads(first.artifacts[2].read_text())["n_clusters"] == 3
    kinds = [figure.kind for figure in first.figures]
    assert kinds[:2] == ["lines", "images"]
    assert kinds.count("marked_text") >= 2
    assert len(list((untrained_context.run.path / "000-clip-bow-init" / "pictures").glob("*.png"))) == 6
    assert json.dumps(first.to_json())


def test_a_model_that_fails_is_recorded_and_alone_ends_the_run(untrained_context):
    config = CutsConfig(models=["nobody/nothing", "clip-bow-init"], dataset=WorldTwins(n=2), n_clusters=2)
    assert [failure.item for failure in cuts(config, untrained_context).failures] == ["nobody/nothing"]
    with pytest.raises(OfflineError):
        cuts(CutsConfig(models=["nobody/nothing"], dataset=WorldTwins(n=2)), untrained_context)


def test_nothing_is_told_of_a_model_whose_cut_cannot_be_stored(untrained_context, monkeypatch):
    def full(path, text):
        if "000-" in str(path):
            raise ResourceError(f"cannot write {path}")
        replace_text(path, text)

    monkeypatch.setattr("interp_plugins.methods.cuts.run.replace_text", full)
    config = CutsConfig(models=["clip-bow-init", "clip-bow"], dataset=WorldTwins(n=2), n_clusters=2)
    result = cuts(config, untrained_context)
    assert [failure.item for failure in result.failures] == ["clip-bow-init"]
    assert {name.partition("/")[0] for name in result.scalars} == {"clip-bow"}


def test_settings_that_do_not_go_together_are_refused(monkeypatch):
    with pytest.raises(ConfigError, match="rbf"):
        CutsConfig(affinity="rbf")
    with pytest.raises(ConfigError, match="1 clusters"):
        CutsConfig(n_clusters=1)
    with pytest.raises(ConfigError, match="ncut-pytorch"):
        CutsConfig(solver="ncut")
    monkeypatch.setattr("interp_plugins.methods.cuts.cut.MAX_CELLS", 10)
    with pytest.raises(ResourceError, match="--limit"):
        cut_nodes(planted_nodes()[0], CutsConfig())

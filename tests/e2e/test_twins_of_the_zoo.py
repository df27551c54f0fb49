"""What the two embedded CLIPs make of twins: a bag of words, and one that was trained on such pairs."""

import pytest

from interp_plugins.datasets.image_text.config import WorldTwins
from interp_plugins.methods.bench.embeddings import CachedEmbedder
from interp_plugins.methods.bench.tasks import evaluate
from interp_plugins.models.image_text.loading import load_image_text
from interp_registry.events import NullSink


def scores_of(name):
    found = evaluate(CachedEmbedder(load_image_text(name), None, NullSink()), WorldTwins().build())
    kinds = {row[0]: dict(zip(found.tables[0].columns, row, strict=True)) for row in found.tables[0].rows}
    return {key: score.value for key, score in found.scores.items()}, kinds


@pytest.mark.slow
def test_the_plain_clip_is_below_chance_on_twins():
    scores, _ = scores_of("clip-bow")
    assert scores["acc"] < 1 / 6
    assert scores["image_acc"] < 0.25


@pytest.mark.slow
def test_the_clip_trained_on_pairs_tells_twins_apart_but_for_relations():
    scores, kinds = scores_of("clip-comp")
    assert scores["acc"] >= 0.30
    assert kinds["size"]["group_score"] >= 0.75
    assert kinds["relation"]["group_score_high"] < 1 / 6

"""The published retrieval of ViT-B/32, where its weights and Flickr30k are in the hub's cache."""

import pytest

PUBLISHED = {"image_retrieval_recall@5": 0.8338, "text_retrieval_recall@5": 0.9490}
"""CLIP_benchmark, ViT-B/32 of OpenAI on the Karpathy test split."""


@pytest.mark.nightly
def test_vit_b_32_has_its_published_retrieval_on_flickr30k(tmp_path):
    from interp_plugins.datasets.image_text.config import Flickr30k
    from interp_plugins.methods.bench.embeddings import CachedEmbedder
    from interp_plugins.methods.bench.tasks import evaluate
    from interp_plugins.models.image_text.loading import load_image_text
    from interp_registry.errors import OfflineError
    from interp_registry.events import NullSink

    try:
        model, dataset = load_image_text("openai/clip-vit-base-patch32"), Flickr30k().build()
    except OfflineError as err:
        pytest.skip(str(err))
    scores = evaluate(CachedEmbedder(model, tmp_path, NullSink()), dataset).scores
    for name, value in PUBLISHED.items():
        assert scores[name].value == pytest.approx(value, abs=0.003), name

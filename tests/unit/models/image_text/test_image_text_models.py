"""CLIP and SigLIP: joint embeddings, patches, words."""

import pytest
import torch
from transformers import SiglipConfig, SiglipModel

from interp_plugins.datasets.image_text.config import WorldPairs
from interp_plugins.models.image_text.config import ImageTextOptions
from interp_plugins.models.image_text.loading import load_image_text, weights_digest
from interp_plugins.models.image_text.nodes import EmbedsNodes
from interp_plugins.models.image_text.two_towers import ImageTextModel
from interp_plugins.models.image_text.words import group_tokens
from interp_registry.errors import DataError, OfflineError, UnknownNameError, UsageError


@pytest.fixture(scope="module")
def pairs():
    return WorldPairs(n=5).build()


@pytest.fixture(scope="module")
def siglip(untrained):
    torch.manual_seed(0)
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**tower, "vocab_size": 512, "max_position_embeddings": 24, "pad_token_id": 0}
    config = SiglipConfig(text_config=text, vision_config={**tower, "image_size": 64, "patch_size": 16})
    module = SiglipModel(config).eval()
    return ImageTextModel(module, untrained.tokenizer, untrained.image_processor, name="tiny", revision="0")


def test_embeddings_are_those_of_the_network_itself_and_of_unit_length(untrained, pairs):
    texts, images = [pairs.text(i) for i in range(5)], [pairs.image(i) for i in range(5)]
    output = untrained.module(**untrained.text_inputs(texts), **untrained.image_inputs(images))
    torch.testing.assert_close(untrained.embed_texts(texts), output.text_embeds.detach(), atol=1e-6, rtol=0)
    torch.testing.assert_close(untrained.embed_images(images), output.image_embeds.detach(), atol=1e-6, rtol=0)
    assert isinstance(untrained, EmbedsNodes)


def test_patches_go_through_the_norm_and_projection_that_the_class_token_goes_through(untrained, pairs):
    images = [pairs.image(i) for i in range(3)]
    nodes = untrained.embed_patches(images)
    assert nodes.grid == (8, 8)
    vision, clip = untrained.module.vision_model, untrained.module
    with torch.no_grad():
        hidden = vision(**untrained.image_inputs(images)).last_hidden_state
        by_hand = clip.visual_projection(vision.post_layernorm(hidden))
    by_hand = by_hand / by_hand.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(nodes.embeddings, by_hand[:, 1:], atol=1e-6, rtol=0)
    torch.testing.assert_close(by_hand[:, 0], untrained.embed_images(images), atol=1e-6, rtol=0)


def test_the_last_word_position_of_clip_is_consistent_with_its_pooled_text(untrained):
    inputs = untrained.text_inputs(["a red square"])
    with torch.no_grad():
        hidden = untrained.module.text_model(**inputs).last_hidden_state[0, -1]
        projected = untrained.module.text_projection(hidden)
    torch.testing.assert_close(
        projected / projected.norm(), untrained.embed_texts(["a red square"])[0], atol=1e-6, rtol=0
    )


def test_words_leave_out_special_tokens_padding_and_punctuation_and_do_not_depend_on_the_batch(untrained):
    alone = untrained.embed_words(["a red square , left of it ."])
    assert alone.words == (("a", "red", "square", "left", "of", "it"),)
    together = untrained.embed_words(["a red square , left of it .", "there is a " + "red " * 20 + "large ring"])
    assert together.mask.sum(dim=1).tolist() == [6, 25]
    assert (together.embeddings[0, 6:] == 0).all()
    torch.testing.assert_close(together.embeddings[0, :6], alone.embeddings[0], atol=1e-5, rtol=0)


def test_a_word_of_several_tokens_is_their_unit_mean(untrained):
    text = "extraordinarily red"
    ids = untrained.text_inputs([text])["input_ids"]
    (first, positions), (second, last) = group_tokens(untrained.tokenizer, [text], ids)[0]
    assert (first, second) == ("extraordinarily", "red")
    assert len(positions) > 1
    assert sorted(positions + last) == list(range(1, ids.shape[1] - 1))


def test_texts_longer_than_the_context_are_cut(untrained):
    inputs = untrained.text_inputs(["red square " * 200])
    assert inputs["input_ids"].shape == (1, untrained.context_length)
    assert untrained.embed_texts(["red square " * 200]).isfinite().all()
    assert untrained.embed_words(["red square " * 200]).mask.sum() <= untrained.context_length


def test_siglip_pads_to_its_full_length_and_projects_each_patch_through_its_head(siglip, pairs):
    assert siglip.text_inputs(["a red square"])["input_ids"].shape == (1, 24)
    images = [pairs.image(i) for i in range(2)]
    nodes = siglip.embed_patches(images)
    assert nodes.embeddings.shape == (2, 16, 32)
    torch.testing.assert_close(nodes.embeddings.norm(dim=-1), torch.ones(2, 16))
    with torch.no_grad():
        hidden = siglip.module.vision_model(**siglip.image_inputs(images)).last_hidden_state
        one = siglip.module.vision_model.head(hidden[:, 3:4])
    torch.testing.assert_close(nodes.embeddings[:, 3], one / one.norm(dim=-1, keepdim=True), atol=1e-6, rtol=0)
    assert siglip.embed_words(["a red square"]).words == (("a", "red", "square"),)
    output = siglip.module(**siglip.text_inputs(["a red square"]), **siglip.image_inputs(images))
    torch.testing.assert_close(siglip.embed_images(images), output.image_embeds.detach(), atol=1e-6, rtol=0)


def test_batches_do_not_change_the_embeddings(untrained, pairs):
    images = [pairs.image(i) for i in range(5)]
    small = ImageTextModel(
        untrained.module, untrained.tokenizer, untrained.image_processor, name="x", revision="0", batch_size=2
    )
    torch.testing.assert_close(small.embed_images(images), untrained.embed_images(images), atol=1e-5, rtol=0)


def test_the_digest_changes_with_any_weight():
    module = torch.nn.Linear(3, 2)
    before = weights_digest(module)
    assert before == weights_digest(module)
    with torch.no_grad():
        module.bias[1] += 1e-3
    assert weights_digest(module) != before


def test_models_that_are_not_here_or_of_another_kind_are_refused(tmp_path):
    with pytest.raises(OfflineError, match="nobody/no-such-clip"):
        load_image_text("nobody/no-such-clip")
    with pytest.raises(UnknownNameError, match="clip-bow"):
        load_image_text("clip-bwo")
    with pytest.raises(UsageError, match="vision model"):
        load_image_text("vit-d32")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UsageError, match="'bert'"):
        load_image_text(str(tmp_path), ImageTextOptions())


def test_empty_texts_are_refused(untrained):
    with pytest.raises(DataError, match="empty"):
        untrained.embed_texts(["a dog", " "])
    with pytest.raises(DataError, match="nothing to embed"):
        untrained.embed_images([])
    with pytest.raises(DataError, match="has no word"):
        untrained.embed_words([". ,"])

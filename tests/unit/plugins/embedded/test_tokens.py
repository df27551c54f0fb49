"""The shipped tokenizer knows every word of the world."""

import json

import pytest

from interp_plugins.embedded.world import captions, documents, twins
from interp_plugins.embedded.zoo import tokens


@pytest.fixture(scope="module")
def texts() -> list[str]:
    items = twins("evaluation")
    plain = [text for split in ("evaluation", "train") for of_item in captions(split, 0, 1_024) for text in of_item]
    return plain + items.captions_a + items.captions_b


def test_no_caption_or_twin_holds_an_unknown_token(texts):
    assert not any(tokens.UNK in ids for ids in tokens.language_tokenizer()(texts)["input_ids"])


def test_text_outside_the_world_holds_unknown_tokens():
    assert tokens.UNK in tokens.language_tokenizer()("Quantum 7")["input_ids"]


def test_decoding_gives_the_caption_back(texts):
    tokenizer = tokens.language_tokenizer()
    for text in texts[:200]:
        assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True).strip() == text


def test_language_texts_end_in_eos_and_clip_texts_in_their_own_token():
    language, clip = (
        tokens.language_tokenizer()("a red box")["input_ids"],
        tokens.clip_tokenizer()("a red box")["input_ids"],
    )
    assert (language[0], language[-1]) == (tokens.BOS, tokens.EOS)
    assert (clip[0], clip[-1]) == (tokens.BOS, tokens.END_OF_TEXT)
    assert language[1:-1] == clip[1:-1]


def test_the_vocabulary_is_512_tokens_and_begins_with_the_special_ones():
    vocabulary = json.loads(tokens.TOKENIZER_FILE.read_text())["model"]["vocab"]
    assert len(vocabulary) == 512
    assert [vocabulary[name] for name in tokens.SPECIAL_TOKENS] == [0, 1, 2, 3, 4]


def test_five_joined_captions_fit_into_the_positions_of_the_language_models():
    from interp_plugins.embedded.world import join

    joined = [join(of_item) for of_item in captions("evaluation")]
    assert max(len(ids) for ids in tokens.language_tokenizer()(joined)["input_ids"]) <= 160


def test_a_caption_fits_into_the_positions_of_the_clips(texts):
    assert max(len(ids) for ids in tokens.clip_tokenizer()(texts)["input_ids"]) <= 64


@pytest.mark.slow
def test_training_the_tokenizer_again_gives_the_shipped_file():
    assert json.loads(tokens.train_tokenizer().to_str()) == json.loads(tokens.TOKENIZER_FILE.read_text())


def test_documents_of_two_captions_are_not_cut():
    lengths = [len(ids) for ids in tokens.language_tokenizer()(documents(captions("train", 0, 1_000)))["input_ids"]]
    assert max(lengths) < 120

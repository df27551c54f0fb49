"""The loss of texts after BOS, and the base model's own texts."""

import pytest
import torch

from interp_plugins.methods.lens.evaluation.fluency import own_texts, text_loss


def test_the_loss_of_a_text_counts_every_token_after_bos(llama):
    """One by one and without padding; the decoder's distribution at t predicts token t, not its neighbour."""
    texts = [[5, 9, 7], [11], [8, 8, 8, 4, 20], []]
    found = text_loss(llama, texts)
    assert found.n_tokens.tolist() == [3, 1, 5, 0]
    assert found.nats[3] == 0
    for row, text in enumerate(texts[:3]):
        with torch.no_grad():
            logp = llama.module(input_ids=torch.tensor([[2, *text]])).logits[0].log_softmax(-1)
        expected = -sum(float(logp[place, token]) for place, token in enumerate(text))
        assert float(found.nats[row]) == pytest.approx(expected, rel=1e-5)


def test_own_texts_have_the_entropy_of_the_model(llama):
    """The mean loss of samples estimates the entropy of what they were drawn from: here that of the first token."""
    texts = own_texts(llama, 2000, 1, seed=0)
    with torch.no_grad():
        logp = llama.module(input_ids=torch.tensor([[2]])).logits[0, 0].log_softmax(-1)
    entropy = -float((logp.exp() * logp).sum())
    assert text_loss(llama, texts).per_token == pytest.approx(entropy, abs=0.1)


def test_own_texts_are_reproducible_and_end_with_their_first_end_token(llama):
    texts = own_texts(llama, 200, 6, seed=1)
    assert texts == own_texts(llama, 200, 6, seed=1)
    assert texts != own_texts(llama, 200, 6, seed=2)
    assert any(2 in text for text in texts)
    assert all(len(text) == 6 or text[-1] == 2 for text in texts)
    assert all(2 not in text[:-1] for text in texts)

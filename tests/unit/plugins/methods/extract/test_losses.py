"""Loss and bits per byte against their definitions (default tier)."""

import math

import pytest
import tiny_models
import torch
from transformers import AutoModelForCausalLM

from interp_plugins.methods.extract import losses
from interp_plugins.methods.extract.losses import loss_totals, text_nats
from interp_plugins.models.wrapping import wrap_module
from interp_registry.contracts.model import Batch


def test_a_uniform_model_has_log_of_the_vocabulary_per_token() -> None:
    ids = torch.randint(0, 32, (3, 6), generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[True] * 6, [True] * 4 + [False] * 2, [True] + [False] * 5])
    nats, n_scored = text_nats(torch.randn(3, 6, 4), Batch({"input_ids": ids}, mask), lambda h: torch.zeros(len(h), 32))
    assert n_scored.tolist() == [5, 3, 0]
    torch.testing.assert_close(nats, n_scored.double() * math.log(32))


@pytest.mark.parametrize("padding", ["right", "left"])
@pytest.mark.parametrize("at_once", [1, 300, 1 << 23])
def test_nats_are_those_of_each_text_alone_whatever_the_padding_and_the_chunks(monkeypatch, padding, at_once) -> None:
    monkeypatch.setattr(losses, "_LOGITS_AT_ONCE", at_once)
    network = tiny_models.build(AutoModelForCausalLM, tiny_models.language_config("llama"))
    model = wrap_module(network, tiny_models.tokenizer())
    texts = tiny_models.texts()
    with torch.inference_mode():
        batch = model.collate(model.preprocess(texts), padding)
        nats, n_scored = text_nats(model.forward(batch).last_hidden, batch, model.unembed)
        for row, text in enumerate(texts):
            ids = torch.tensor([model.preprocess([text])[0].inputs["input_ids"]])
            log_probs = network(input_ids=ids).logits.double().log_softmax(-1)[0, :-1]
            expected = -log_probs.gather(1, ids[0, 1:, None]).sum()
            assert float(nats[row]) == pytest.approx(float(expected), rel=1e-5, abs=1e-6)
            assert int(n_scored[row]) == ids.shape[1] - 1


def test_totals_follow_their_formulas() -> None:
    found = loss_totals([10.0, 2.0, 0.0], [5, 4, 0], [20, 10, 3])
    assert found.loss == pytest.approx((10 / 5 + 2 / 4) / 2)
    assert found.loss_micro == pytest.approx(12 / 9)
    assert found.bpb == pytest.approx((10 / 20 + 2 / 10) / 2 / math.log(2))
    assert found.bpb_micro == pytest.approx(12 / 30 / math.log(2))
    assert (found.n_scored, found.n_unscored_texts) == (9, 1)


def test_texts_of_one_token_alone_have_no_loss() -> None:
    assert math.isnan(loss_totals([0.0], [0], [4]).loss)

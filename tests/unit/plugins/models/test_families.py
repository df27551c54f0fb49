"""Every family of language models: hooks see the hidden states, and padding changes nothing (default tier)."""

import pytest
import tiny_models as families
import torch
from transformers import AutoModel, AutoModelForCausalLM

from interp_plugins.models.wrapping import wrap_module
from interp_registry.contracts.model import Unembeds
from interp_registry.errors import UsageError
from interp_registry.tensors.layers import Layer

ALL = [*families.CAUSAL, *families.ENCODERS]


@pytest.fixture(scope="module", params=ALL)
def model(request):
    auto = AutoModelForCausalLM if request.param in families.CAUSAL else AutoModel
    return wrap_module(families.build(auto, families.language_config(request.param)), families.tokenizer())


def captured(model, texts, layers, padding="right"):
    batch = model.collate(model.preprocess(texts), padding)
    with torch.inference_mode(), model.capture(layers) as capture:
        output = model.forward(batch, logits=model.info.causal)
    return batch, capture.take(), output


def test_hooks_see_exactly_the_hidden_states_of_the_same_batch(model) -> None:
    batch, values, _ = captured(model, families.texts(), model.info.default_layers)
    inputs = {**batch.inputs, "output_hidden_states": True}
    with torch.inference_mode():
        states = model._base(**inputs).hidden_states
    assert len(states) == len(model.info.default_layers) == 3
    for layer, state in zip(model.info.default_layers, states, strict=True):
        assert torch.equal(values[layer], state)


def test_a_text_in_a_padded_batch_has_the_activations_it_has_alone(model) -> None:
    texts = families.texts()
    batch, values, _ = captured(model, texts, model.info.layers)
    for row, text in enumerate(texts):
        _, alone, _ = captured(model, [text], model.info.layers)
        for layer in model.info.layers:
            together = values[layer][row][batch.mask[row]]
            error = (together - alone[layer][0]).norm() / alone[layer][0].norm()
            assert error < 5e-6, (str(layer), row)


def test_the_final_norm_leads_from_the_last_block_to_the_last_layer(model) -> None:
    last = model.info.layers[-1]
    _, values, _ = captured(model, families.texts(), [Layer(last.index, pre_norm=True), last])
    with torch.inference_mode():
        assert torch.equal(model.final_norm(values[Layer(last.index, pre_norm=True)]), values[last])


def test_logits_are_those_of_the_whole_model_or_refused(model) -> None:
    assert isinstance(model, Unembeds) is model.info.causal
    if not model.info.causal:
        with pytest.raises(UsageError, match="no language-modelling head"):
            model.forward(model.collate(model.preprocess(["w1"])), logits=True)
        return
    batch, _, output = captured(model, families.texts(), model.info.default_layers)
    with torch.inference_mode():
        assert torch.equal(output.logits, model.module(**batch.inputs).logits)


def test_swapping_a_layer_by_itself_changes_nothing_and_by_another_vector_only_what_follows(model) -> None:
    text = families.texts(3)[0] + " w1 w2 w3"
    layer = model.info.layers[1]
    batch, values, before = captured(model, [text], model.info.layers)
    place = torch.tensor([2])
    own = values[layer][:, 2]
    with torch.inference_mode(), model.swap(layer, place, own):
        same = model.forward(batch).last_hidden
    with torch.inference_mode(), model.swap(layer, place, own + 1):
        other = model.forward(batch).last_hidden
    assert torch.equal(same, before.last_hidden)
    assert not torch.equal(other[:, 2], before.last_hidden[:, 2])
    if model.info.causal:
        assert torch.equal(other[:, :2], before.last_hidden[:, :2])


def test_hooks_are_gone_after_an_exception(model) -> None:
    def n_hooks():
        return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.module.modules())

    before = n_hooks()
    batch = model.collate(model.preprocess(["w1 w2"]))

    def fail(_layer, _hidden):
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"), model.capture(model.info.layers, fail):
        model.forward(batch)
    assert n_hooks() == before
    with model.capture(model.info.layers):
        assert n_hooks() > before
    assert n_hooks() == before


def test_an_early_exit_runs_no_later_block(model) -> None:
    seen: list[int] = []
    last_block = model.sites[Layer(model.info.layers[-1].index, pre_norm=True)].module
    handle = last_block.register_forward_hook(lambda *_: seen.append(1))
    batch = model.collate(model.preprocess(["w1 w2 w3"]))
    with torch.inference_mode(), model.capture([Layer(1)], early_exit=True) as capture:
        output = model.forward(batch)
    handle.remove()
    assert output.last_hidden is None
    assert seen == []
    assert capture[Layer(1)].shape == (1, 3, model.info.widths[Layer(1)])

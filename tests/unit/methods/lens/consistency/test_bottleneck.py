"""The two halves: what is trained, what is shared, where each starts from."""

import copy

import pytest
import torch
from torch.testing import assert_close

from interp_plugins.methods.lens.consistency.config import ConsistencyConfig, ControlConfig, WarmStartConfig
from interp_plugins.methods.lens.consistency.generation import Sampling
from interp_plugins.methods.lens.consistency.lens import ConsistencyLens
from interp_plugins.methods.lens.consistency.training import labels_of
from interp_plugins.methods.lens.contract import Explains, Explanation, Lens, ReadsText, Reconstructs, Trains
from interp_plugins.methods.lens.dumped import DumpOutline, Rows, Statistics
from interp_plugins.methods.lens.parts import Parts, mask_of
from interp_registry.errors import ConfigError, DataError, UsageError
from interp_registry.training.schedules import ScheduleConfig

LAYER = 2
PROMPTS = {"decoder_prompt": "<activation> w5 w6", "encoder_prompt": "w1 <text> w7", "tokens": 6, "learning_rate": 1e-3}
STRAIGHT = {
    "through_words": True,
    "warm_start": WarmStartConfig(steps="0"),
    "writing": ScheduleConfig(start=0.0),
    "kl": ScheduleConfig(start=0.0),
}
"""The gradient of the errors runs through the words, and nothing else teaches the decoder."""


@pytest.fixture(scope="module")
def model(causal):
    return copy.deepcopy(causal)


@pytest.fixture(scope="module")
def rows(model):
    """Sixteen activations of tiny texts, as a dump gives them."""
    parts = Parts(model)
    lengths = torch.randint(9, 13, (16,), generator=torch.Generator().manual_seed(0))
    ids = torch.randint(3, 60, (16, 12), generator=torch.Generator().manual_seed(1)) * mask_of(lengths, 12)
    positions = lengths - 2
    with torch.no_grad():
        hidden = parts.activations(ids, mask_of(lengths, 12), LAYER)
    return Rows(hidden[torch.arange(16), positions], ids, lengths, positions, torch.arange(16))


@pytest.fixture(scope="module")
def source(rows):
    """What is known of them."""
    a = rows.activations
    moments = Statistics(
        a.mean(0), a.std(0), float(a.norm(dim=1).mean()), float(a.abs().max()), float(a.var(0).sum()), 1.0
    )
    return DumpOutline((LAYER,), a.shape[1], {LAYER: moments})


class OneBatch(DumpOutline):
    """A source whose every batch is the same."""

    def batch(self, step, size, seed):
        return torch.arange(size)

    def rows(self, indices, layer):
        return self.given

    @classmethod
    def of(cls, source, rows):
        made = cls(source.layers, source.width, source.moments)
        object.__setattr__(made, "given", rows)
        return made


def build(model, source, **settings):
    return ConsistencyLens(ConsistencyConfig(**(PROMPTS | settings)), model, source)


def trainable(lens, source, rows, steps=4):
    from interp_registry.training.config import TrainingConfig

    return lens.trainable(OneBatch.of(source, rows), TrainingConfig(steps=steps), 0)


@pytest.mark.parametrize(
    ("settings", "clones"),
    [
        ({}, True),
        ({"trainable": "projections", "adapter_learning_rate": 3e-3}, False),
        ({"adapter_learning_rate": 5e-4, "encoder_blocks": 3, "checkpointing": True}, True),
    ],
    ids=["all", "projections", "own rate"],
)
def test_what_is_trained_has_a_gradient_at_once_and_one_rate_and_what_is_frozen_has_none(
    model, source, rows, settings, clones
):
    lens = build(model, source, batch_size=16, **(STRAIGHT | settings))
    training = trainable(lens, source, rows)
    training.step(0)["loss"].backward()
    named = dict(lens.bottleneck.named_parameters())
    trained = {name for name, value in named.items() if value.requires_grad}
    assert {name for name in trained if ".network." not in name} == {
        f"{half}.{part}"
        for half, part in (
            ("decoder", "left"), ("decoder", "right"), ("decoder", "adapter.weight"), ("encoder", "left"),
            ("encoder", "right"), ("encoder", "adapter.weight"), ("encoder", "adapter.bias"),
        )
    }  # fmt: skip
    assert any(".network." in name for name in trained) == clones
    for name in trained:
        assert named[name].grad is not None, name
        assert named[name].grad.abs().sum() > 0, name
    for name in named.keys() - trained:
        assert named[name].grad is None, name
    assert all(value.grad is None for value in model.module.parameters())
    groups = training.optimisers()["bottleneck"].param_groups
    rates = {id(value): group["lr"] for group in groups for value in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(rates) == len(trained)
    adapters = settings.get("adapter_learning_rate", 1e-3)
    for name in trained:
        assert rates[id(named[name])] == (1e-3 if ".network." in name else adapters), name


def test_clones_are_separate_from_the_frozen_model_but_share_its_embeddings(model, source):
    lens = build(model, source)
    frozen = {id(value) for value in model.module.parameters()}
    trained = [value for value in lens.bottleneck.parameters() if value.requires_grad]
    assert not frozen & {id(value) for value in trained}
    ends = {id(model.module.get_input_embeddings().weight), id(model.module.get_output_embeddings().weight)}
    clone = lens.bottleneck.decoder.network
    assert {id(clone.get_input_embeddings().weight), id(clone.get_output_embeddings().weight)} == ends
    kept = {name for name, _ in lens.bottleneck.encoder.network.named_parameters()}
    assert any(".0." in name for name in kept)
    assert not any(f".{LAYER}." in name for name in kept)


def test_the_encoder_starts_as_the_frozen_model_without_final_norm(model, source, rows):
    lens = build(model, source, encoder_prompt="<text>")
    tokens = rows.token_ids[:, :5]
    parts = Parts(model)
    start = torch.full((16, 1), lens.bottleneck.vocabulary.start)
    with torch.no_grad():
        expected = parts.activations(torch.cat([start, tokens], 1), torch.ones(16, 6, dtype=torch.bool), LAYER)
    assert_close(lens.read_tokens(tokens, LAYER), expected[:, -1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("order", ["backward", "forward"])
def test_tokens_that_are_read_and_tokens_that_are_scored_agree_with_what_was_written(model, source, rows, order):
    lens = build(model, source, order=order)
    with torch.no_grad():
        how = Sampling(6, generator=torch.Generator().manual_seed(0), forbidden=lens.bottleneck.vocabulary.forbidden)
        written = lens.bottleneck.decoder.write(rows.activations, how)
        assert_close(
            lens.bottleneck.decoder.logits(rows.activations, written.token_ids), written.logits, atol=2e-5, rtol=0
        )
        read = lens.bottleneck.encoder.read(written.embeddings)
    assert_close(lens.read_tokens(written.token_ids, LAYER), read, atol=1e-5, rtol=1e-5)


def test_written_backward_the_last_word_that_is_read_is_the_first_that_is_chosen(model, source, rows):
    lens, forward = build(model, source), build(model, source, order="forward")
    how = Sampling(6, temperature=0.0, forbidden=lens.bottleneck.vocabulary.forbidden)
    written, same = (one.bottleneck.decoder.write(rows.activations, how) for one in (lens, forward))
    assert torch.equal(written.token_ids, same.token_ids.flip(1))
    assert torch.equal(written.embeddings, lens.bottleneck.vocabulary.table[written.token_ids])
    assert_close(written.logprobs, same.logprobs.flip(1))


def test_labels_are_the_tokens_up_to_the_activation_as_far_as_the_text_has_any(rows):
    special = torch.zeros(64, dtype=torch.bool)
    special[int(rows.token_ids[0, 0])] = True
    labels = labels_of(rows, 9, special, from_start=False)
    here, ids = int(rows.positions[0]), rows.token_ids[0].tolist()
    n_given = int(labels.given[0].sum())
    assert n_given == min(9, here)  # all but the special token that the text begins with
    assert labels.token_ids[0, 9 - n_given :].tolist() == ids[here - n_given + 1 : here + 1]
    assert not labels.token_ids[0, : 9 - n_given].any()
    captions = labels_of(rows, 3, special, from_start=True)
    assert captions.token_ids[0].tolist() == ids[1:4]
    assert captions.real.all()


def test_by_default_the_decoder_learns_from_labels_alone_and_the_encoder_from_what_it_writes(model, source, rows):
    lens = build(model, source, batch_size=16, warm_start=WarmStartConfig(steps="0"))
    training = trainable(lens, source, rows)
    losses = training.step(0)
    losses["mse"].backward(retain_graph=True)
    grads = {name: value.grad for name, value in lens.bottleneck.named_parameters() if value.requires_grad}
    assert all(grad is None for name, grad in grads.items() if name.startswith("decoder"))
    assert grads["encoder.adapter.weight"].abs().sum() > 0
    losses["writing"].backward()
    assert lens.bottleneck.decoder.adapter.weight.grad.abs().sum() > 0
    whole = losses["mse"] + lens.config.kl.start * losses["kl"] + losses["writing"]
    assert_close(losses["loss"], whole)


def test_the_steps_of_the_default_training_lower_both_losses(model, source, rows):
    lens = build(model, source, batch_size=16, rate=ScheduleConfig())
    training = trainable(lens, source, rows, steps=30)
    optimiser = training.optimisers()["bottleneck"]
    losses = []
    for number in range(30):
        found = training.step(number)
        optimiser.zero_grad()
        found["loss"].backward()
        optimiser.step()
        losses.append({name: float(found[name].detach()) for name in ("writing", "mse") if name in found})
    assert losses[-1]["writing"] < 0.8 * losses[0]["writing"]
    assert losses[-1]["mse"] < 0.8 * losses[9]["mse"]  # 9: the first after the warm start


def test_it_has_the_abilities_of_a_text_bottleneck(model, source):
    lens = build(model, source)
    for ability in (Lens, Explains, ReadsText, Reconstructs, Trains):
        assert isinstance(lens, ability)
    assert lens.layers == (LAYER,)
    assert lens.describe()["n_parameters"] == sum(value.numel() for value in lens.weights().values())


def test_a_reconstruction_is_what_the_greedy_explanation_reads_as(model, source, rows):
    lens = build(model, source)
    said = lens.explain(rows.activations, LAYER)
    assert all(len(one) == 1 and len(one[0].token_ids) == len(one[0].logprobs) == 6 for one in said)
    first = [one[0] for one in said]
    made = lens.reconstruct(rows.activations, LAYER)
    assert_close(lens.read_text(first, LAYER), made, atol=1e-5, rtol=1e-5)
    by_words = [Explanation(one.text, ()) for one in first]
    assert_close(lens.read_text(by_words, LAYER), made, atol=1e-5, rtol=1e-5)
    assert torch.equal(made, lens.reconstruct(rows.activations, LAYER))


def test_samples_are_a_function_of_the_seed_and_read_text_takes_any_length(model, source, rows):
    lens = build(model, source)
    said, again, other = (
        lens.explain(rows.activations[:3], LAYER, samples=4, temperature=1.0, seed=seed) for seed in (1, 1, 2)
    )
    assert [len(one) for one in said] == [4, 4, 4]
    assert said == again
    assert said != other
    assert len({one.token_ids for one in said[0]}) > 1
    mixed = [Explanation("w3 w4", ()), Explanation("w3 w4 w9", ()), Explanation("w9", ())]
    made = lens.read_text(mixed, LAYER)
    assert_close(made[1:2], lens.read_text(mixed[1:2], LAYER), atol=1e-5, rtol=1e-5)
    with pytest.raises(DataError, match="explanation 1 is empty"):
        lens.read_text([mixed[0], Explanation(" ", ())], LAYER)


def test_weights_go_back_and_others_are_refused(model, source, rows):
    lens, other = build(model, source), build(model, source)
    with torch.no_grad():
        for value in lens.weights().values():
            value.add_(0.05 * torch.randn(value.shape, generator=torch.Generator().manual_seed(0)))
    other.load_weights(lens.weights())
    assert torch.equal(other.reconstruct(rows.activations, LAYER), lens.reconstruct(rows.activations, LAYER))
    with pytest.raises(DataError, match="names differ"):
        build(model, source, trainable="projections").load_weights(lens.weights())
    with pytest.raises(DataError, match="has shape"):
        build(model, source, decoder_prompt="<activation> w5").load_weights(lens.weights())


def test_layers_that_were_not_dumped_are_refused(model, source, rows):
    with pytest.raises(UsageError, match="layer 1 was not dumped"):
        build(model, source, layer=1)
    with pytest.raises(UsageError, match="layers 1, 2 were dumped"):
        build(model, DumpOutline((1, 2), source.width, source.moments))
    with pytest.raises(UsageError, match="reads layer 2, not 3"):
        build(model, source).reconstruct(rows.activations, 3)
    with pytest.raises(ConfigError, match="encoder_blocks"):
        build(model, source, encoder_blocks=9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"decoder_prompt": "w1"}, "has not exactly one <activation>"),
        ({"encoder_prompt": "<text> <text>"}, "has not exactly one <text>"),
        ({"tokens": 0}, "too few"),
        ({"resample_ablation": True}, "no other row"),
        ({"fluency": ScheduleConfig(start=0.1)}, "does not reach the decoder"),
        ({"control": ControlConfig(excess=1.0)}, "does not reach the decoder"),
        ({"through_words": True, "fluency_form": "kl"}, "writes backward"),
        (STRAIGHT | {"reference": ScheduleConfig(start=0.1)}, "no warm start"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        ConsistencyConfig(**settings)

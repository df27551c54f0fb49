"""Lenses that read out: exact at the last layer, the logit lens before training, better than it after."""

import hashlib
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from emulated_mps import emulated_mps
from tiny_models import build, language_config
from tiny_models import tokenizer as word_tokenizer
from transformers import AutoModelForCausalLM

from interp_plugins.methods.lens.config import ExportConfig, ImportConfig, LensTrainConfig
from interp_plugins.methods.lens.contract import Lens, ReadsOut, Trains
from interp_plugins.methods.lens.dump import open_dump
from interp_plugins.methods.lens.dumped import DumpOutline, Rows
from interp_plugins.methods.lens.exchange import run_export, run_import
from interp_plugins.methods.lens.parts import Parts, mask_of
from interp_plugins.methods.lens.readout.config import (
    LogitLensConfig,
    TunedExportConfig,
    TunedImportConfig,
    TunedLensConfig,
)
from interp_plugins.methods.lens.readout.logit import LogitLens
from interp_plugins.methods.lens.readout.measures import (
    bits_per_byte,
    divergence,
    entropy,
    rank_of,
    tokens_and_bytes,
)
from interp_plugins.methods.lens.readout.tuned import TunedLens
from interp_plugins.methods.lens.stored import load_lens
from interp_plugins.methods.lens.train import run
from interp_plugins.models.resolve import load_model
from interp_plugins.models.wrapping import wrap_module
from interp_registry.errors import ConfigError, DataError, UsageError
from interp_registry.stores.pt_files import read_pt
from interp_registry.testing import FakeContext
from interp_registry.training.config import TrainingConfig
from interp_registry.training.schedules import ScheduleConfig

OUTLINE = DumpOutline((0, 1, 2, 3, 4), 32)


def config_of(method, model_folder, corpus, **training):
    return LensTrainConfig(
        method=method,
        model=str(model_folder),
        dataset=str(corpus),
        dtype="fp32",
        training=TrainingConfig(**{"steps": 40, "log_every": 1, "clip_norm": 1.0, **training}),
    )


@torch.no_grad()
def test_activations_from_the_cpu_are_read_where_the_model_is():
    x = torch.randn(6, 32, generator=torch.Generator().manual_seed(0))
    network = build(AutoModelForCausalLM, language_config("llama"))
    here = LogitLens(LogitLensConfig(), wrap_module(network, word_tokenizer()), OUTLINE).readout(x, 1)
    with emulated_mps():
        there = LogitLens(LogitLensConfig(), wrap_module(network.to("mps"), word_tokenizer()), OUTLINE).readout(x, 1)
        assert there.device.type == "mps"
        assert torch.equal(there.cpu(), here)


@torch.no_grad()
def test_at_the_last_layer_a_lens_gives_the_models_own_logits(causal, texts):
    parts, (ids, mask) = Parts(causal), texts
    batch, places = parts.batch(ids, mask), torch.arange(12).expand(5, -1)
    model_logits = parts.logits(batch, places)
    for lens in (LogitLens(LogitLensConfig(), causal, OUTLINE), TunedLens(TunedLensConfig(), causal, OUTLINE)):
        assert isinstance(lens, Lens)
        assert isinstance(lens, ReadsOut)
        assert torch.equal(lens.readout(parts.activations(ids, mask, 4), 4), model_logits)


@torch.no_grad()
def test_an_untrained_tuned_lens_is_the_logit_lens(causal, texts):
    parts, (ids, mask) = Parts(causal), texts
    tuned, logit = TunedLens(TunedLensConfig(), causal, OUTLINE), LogitLens(LogitLensConfig(), causal, OUTLINE)
    for layer in range(4):
        hidden = parts.activations(ids, mask, layer)[mask]
        plain = logit.readout(hidden, layer)
        assert torch.equal(tuned.readout(hidden, layer), plain)
        assert torch.equal(plain, causal.unembed(causal.final_norm(hidden)))


def test_training_brings_every_layer_nearer_to_the_last(model_folder, corpus, tmp_path):
    method = TunedLensConfig(batch_size=64, optimiser="adam", lr_scale=10.0)
    ctx = FakeContext(tmp_path)
    result = run(config_of(method, model_folder, corpus, steps=40), ctx)
    values = {row[0]: dict(zip(result.tables[0].columns, row, strict=True)) for row in result.tables[0].rows}
    first = {
        e.name: e.value for e in ctx.events.events if getattr(e, "step", None) == 1 and "kl/" in getattr(e, "name", "")
    }
    assert set(values) == {0, 1, 2, 3}
    for layer in values:
        assert values[layer]["kl"] < 0.8 * first[f"train/kl/{layer}"]
    stored = load_lens(ctx.run.path, load_model(str(model_folder)))
    assert isinstance(stored.lens, Trains)
    assert stored.lens.describe()["n_parameters"] == 4 * (32 * 32 + 32)
    assert float(stored.lens.translators["2"].weight.detach().abs().max()) > 0


def trainable(method, model_folder, corpus, folder, **training):
    config = config_of(method, model_folder, corpus, **training)
    model = load_model(config.model)
    model.module.requires_grad_(requires_grad=False)
    dump, _ = open_dump(config, config.model, FakeContext(folder))
    lens = TunedLens(method, model, dump)
    return lens, dump, lens.trainable(dump, config.training, 0)


def test_the_gradient_is_that_of_the_sum_over_layers(model_folder, corpus, tmp_path):
    lens, dump, training = trainable(TunedLensConfig(batch_size=32), model_folder, corpus, tmp_path, accumulate=2)
    losses = training.step(0)
    indices = dump.batch(0, 32, 0)
    final = lens.parts.readout(dump.activations(indices, 4))
    whole = sum(
        torch.nn.functional.kl_div(
            lens.readout(dump.activations(indices, layer), layer).log_softmax(-1),
            final.log_softmax(-1),
            log_target=True,
            reduction="batchmean",
        )
        for layer in range(4)
    )
    parameters = list(lens.translators.parameters())
    expected = torch.autograd.grad(whole / 2, parameters)
    assert float(losses["loss"]) == pytest.approx(float(whole.detach()), rel=1e-5)
    for parameter, gradient in zip(parameters, expected, strict=True):
        assert torch.allclose(parameter.grad, gradient, atol=1e-6)
    assert all(parameter.grad is None for parameter in lens.parts.model.module.parameters())


def test_the_next_token_is_the_target_of_the_cross_entropy(model_folder, corpus, tmp_path):
    lens, dump, training = trainable(TunedLensConfig(batch_size=32, loss="ce"), model_folder, corpus, tmp_path)
    rows = dump.rows(dump.batch(0, 32, 0), 2)
    kept = rows.positions + 1 < rows.lengths
    assert 0 < int(kept.sum()) < 32
    logits = lens.readout(rows.activations[kept], 2).detach()
    wanted = torch.stack(
        [row[place + 1] for row, place in zip(rows.token_ids[kept], rows.positions[kept], strict=True)]
    )
    assert float(training.step(0)["ce/2"]) == pytest.approx(float(torch.nn.functional.cross_entropy(logits, wanted)))


def test_a_shifted_or_undumped_final_distribution_is_computed_from_the_text(model_folder, corpus, tmp_path):
    _, dump, stored = trainable(TunedLensConfig(batch_size=32), model_folder, corpus, tmp_path)
    indices = dump.batch(0, 32, 0)
    rows = dump.rows(indices, 0)
    kept, target = stored._target(indices, rows)
    stored.lens.parts.n_layers += 1  # as if the last layer were not among those that were dumped
    _, computed = stored._target(indices, rows)
    stored.lens.parts.n_layers -= 1
    assert bool(kept.all())
    assert torch.allclose(computed, target, atol=1e-4)
    _, _, shifted = trainable(TunedLensConfig(batch_size=32, token_shift=2), model_folder, corpus, tmp_path)
    kept, target = shifted._target(indices, rows)
    parts = shifted.lens.parts
    for row in range(3):
        at = int(kept.nonzero()[row])
        batch = parts.batch(rows.token_ids[at : at + 1], mask_of(rows.lengths[at : at + 1], rows.token_ids.shape[1]))
        there = rows.positions[at : at + 1, None] + 2
        assert torch.allclose(target[row], parts.logits(batch, there)[0, 0], atol=1e-4)


def test_only_offsets_are_trained_when_asked_and_recipes_set_the_schedule(model_folder, corpus, tmp_path):
    lens, _, training = trainable(TunedLensConfig(batch_size=32, bias_only=True), model_folder, corpus, tmp_path)
    training.step(0)
    assert {name for name, p in lens.translators.named_parameters() if p.grad is not None} == {
        f"{i}.bias" for i in range(4)
    }
    (group,) = training.optimisers()["tuned"].param_groups
    assert (group["lr"], group["momentum"], group["nesterov"]) == (pytest.approx(0.1), 0.9, True)
    adam = TunedLensConfig(optimiser="adam")
    schedule = adam.recipe(TrainingConfig(steps=100)).schedule.build(100)
    assert [schedule(0), schedule(9), schedule(19)] == pytest.approx([1 / 20, 0.5, 1.0])
    assert schedule(99) < 0.02
    sgd = TunedLensConfig().recipe(TrainingConfig(steps=100)).schedule.build(100)
    assert sgd(0) == 1.0
    chosen = TrainingConfig(schedule=ScheduleConfig(shape="cosine"))
    assert adam.recipe(chosen) is chosen


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"momentum": 1.0}, "momentum"),
        ({"batch_size": 0}, "batch_size"),
        ({"loss": "ce", "token_shift": 0}, "token_shift"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, key):
    with pytest.raises(ConfigError) as caught:
        TunedLensConfig(**settings)
    assert caught.value.key == key


def test_training_resumes_to_the_same_losses_to_the_last_bit(model_folder, corpus, tmp_path):
    method = TunedLensConfig(batch_size=16)

    def trace(ctx):
        return {(e.step, e.name): e.value for e in ctx.events.events if getattr(e, "name", "").startswith("train/")}

    whole, stopped = FakeContext(tmp_path / "a"), FakeContext(tmp_path / "b")
    schedule = ScheduleConfig(shape="linear", length="40")
    run(config_of(method, model_folder, corpus, checkpoint_every=7, schedule=schedule), whole)
    run(config_of(method, model_folder, corpus, checkpoint_every=7, schedule=schedule, steps=23), stopped)
    run(config_of(method, model_folder, corpus, checkpoint_every=7, schedule=schedule), stopped)
    assert len({step for step, _ in trace(whole)}) == 40
    assert trace(stopped) == trace(whole)


def test_measures_are_those_of_the_definitions():
    target, logits = torch.randn(6, 9, dtype=torch.float64), torch.randn(6, 9, dtype=torch.float64)
    p, q = torch.distributions.Categorical(logits=target), torch.distributions.Categorical(logits=logits)
    assert torch.allclose(divergence(target, logits), torch.distributions.kl_divergence(p, q))
    assert float(divergence(target, target).abs().max()) < 1e-12
    assert torch.allclose(entropy(logits), q.entropy())
    order = logits.argsort(-1, descending=True)
    assert torch.equal(rank_of(logits, order[:, 4]), torch.full((6,), 4))
    assert bits_per_byte(math.log(2), 3, 12) == pytest.approx(0.25)
    with pytest.raises(DataError):
        bits_per_byte(1.0, 0, 0)


@pytest.mark.parametrize("start", [True, False], ids=["with BOS", "without"])
def test_every_token_but_the_first_of_a_text_counts_and_every_text_once(start):
    tokenizer = word_tokenizer(add_bos=start)
    texts = ["w1 w2 w3", "w4 w5 w6 w7 w1 w2 w30"]
    ids = [tokenizer(text)["input_ids"] for text in texts]
    assert [len(row) for row in ids] == ([4, 8] if start else [3, 7])
    longest = max(map(len, ids))
    padded = torch.tensor([row + [0] * (longest - len(row)) for row in ids])[[0, 1, 1]]
    lengths = torch.tensor([len(row) for row in ids])[[0, 1, 1]]
    rows = Rows(torch.zeros(3, 4), padded, lengths, torch.tensor([2, 1, 2]), torch.tensor([5, 9, 9]))
    n_tokens = 3 + 7 if start else 2 + 6  # what is predicted: with BOS, all of the text
    assert tokens_and_bytes(rows, tokenizer) == (n_tokens, sum(len(text.encode()) for text in texts))


def fixture_in_the_published_layout(folder, model, **changes):
    """What the tuned-lens package writes, made by hand."""
    folder.mkdir()
    source = torch.Generator().manual_seed(5)
    weights = {f"{i}.weight": 0.1 * torch.randn(32, 32, generator=source) for i in range(4)}
    weights |= {f"{i}.bias": 0.1 * torch.randn(32, generator=source) for i in range(4)}
    head = model.unembedding.detach().float().numpy()
    facts = {
        "base_model_name_or_path": "",
        "d_model": 32,
        "num_hidden_layers": 4,
        "bias": True,
        "base_model_revision": None,
        "unembed_hash": hashlib.sha256(np.array_str(head, precision=1).encode()).hexdigest(),
        "lens_type": "linear_tuned_lens",
    } | changes
    (folder / "config.json").write_text(json.dumps(facts))
    torch.save(weights, folder / "params.pt")
    return weights


def warnings_of(ctx):
    return [event.text for event in ctx.events.events if getattr(event, "level", "") == "warning"]


def test_a_published_tuned_lens_is_read_and_written_back(model_folder, tmp_path):
    model = load_model(str(model_folder))
    weights = fixture_in_the_published_layout(tmp_path / "theirs", model)
    ctx = FakeContext(tmp_path)
    run_import(ImportConfig(format=TunedImportConfig(), path=tmp_path / "theirs", model=str(model_folder)), ctx)
    assert warnings_of(ctx) == []
    lens = load_lens(ctx.run.path, model).lens
    hidden = torch.randn(7, 32)
    for layer in range(4):
        transformed = hidden + hidden @ weights[f"{layer}.weight"].T + weights[f"{layer}.bias"]
        assert torch.allclose(lens.translate(hidden, layer), transformed, atol=1e-6)
    run_export(ExportConfig(format=TunedExportConfig(), lens=str(ctx.run.path), to=tmp_path / "ours"), ctx)
    written = read_pt(tmp_path / "ours" / "params.pt")
    assert set(written) == set(weights)
    assert all(torch.equal(written[name], weights[name]) for name in weights)
    ours, theirs = (json.loads((tmp_path / one / "config.json").read_text()) for one in ("ours", "theirs"))
    assert {**ours, "base_model_name_or_path": ""} == theirs


def test_another_unembedding_is_a_warning_and_other_misfits_are_errors(model_folder, tmp_path):
    model = load_model(str(model_folder))
    fixture_in_the_published_layout(tmp_path / "other", model, unembed_hash="0" * 64)
    ctx = FakeContext(tmp_path)
    config = ImportConfig(format=TunedImportConfig(), path=tmp_path / "other", model=str(model_folder))
    run_import(config, ctx)
    assert len(warnings_of(ctx)) == 1
    assert "unembedding" in warnings_of(ctx)[0]
    for place, (changes, words) in enumerate(
        (
            ({"d_model": 64}, "d_model"),
            ({"lens_type": "mlp"}, "lens_type"),
            ({"num_hidden_layers": 5}, "num_hidden_layers"),
        )
    ):
        fixture_in_the_published_layout(tmp_path / str(place), model, **changes)
        config.path = tmp_path / str(place)
        with pytest.raises(DataError, match=words):
            run_import(config, ctx)
    (tmp_path / "other" / "params.pt").write_bytes(b"")
    config.path = tmp_path / "other"
    with pytest.raises(DataError, match="without executing"):
        run_import(config, ctx)
    with pytest.raises(UsageError, match="no file or folder"):
        run_import(ImportConfig(format=TunedImportConfig(), path=tmp_path / "nowhere"), ctx)


def test_a_lens_without_a_map_for_every_block_is_not_exported(model_folder, corpus, tmp_path):
    ctx = FakeContext(tmp_path)
    config = config_of(TunedLensConfig(batch_size=16), model_folder, corpus, steps=1)
    config.layers = "1-2,4"
    run(config, ctx)
    with pytest.raises(UsageError, match="layers 1, 2"):
        run_export(ExportConfig(format=TunedExportConfig(), lens=str(ctx.run.path)), ctx)
    logit = FakeContext(tmp_path / "logit")
    run(config_of(LogitLensConfig(), model_folder, corpus), logit)
    with pytest.raises(UsageError, match="is a logit lens"):
        run_export(ExportConfig(format=TunedExportConfig(), lens=str(logit.run.path)), logit)


def test_weights_of_another_lens_are_refused(llama):
    tuned = TunedLens(TunedLensConfig(), llama, OUTLINE)
    with pytest.raises(DataError, match="do not fit"):
        tuned.load_weights({"0.weight": torch.zeros(32, 32)})
    with pytest.raises(DataError, match="no weights"):
        LogitLens(LogitLensConfig(), llama, OUTLINE).load_weights({"a": torch.zeros(1)})
    with pytest.raises(UsageError, match="before the last"):
        TunedLens(TunedLensConfig(), llama, DumpOutline((4,), 32))
    assert SimpleNamespace(**tuned.describe()).layers == [0, 1, 2, 3, 4]

"""Lenses of models in 8 and 4 bits, with compiled blocks, and with activations computed again: they train, or say why not."""

import copy

import pytest
import tiny_models
import torch

from interp_plugins.methods.lens.config import LensTrainConfig
from interp_plugins.methods.lens.consistency.config import ConsistencyConfig
from interp_plugins.methods.lens.nla.config import NlaConfig
from interp_plugins.methods.lens.nla.injection import recomputing
from interp_plugins.methods.lens.readout.config import TunedLensConfig
from interp_plugins.methods.lens.stored import load_lens
from interp_plugins.methods.lens.train import run
from interp_plugins.models.config import LoadOptions
from interp_plugins.models.resolve import load_model
from interp_registry.errors import UsageError
from interp_registry.testing import FakeContext
from interp_registry.training.config import TrainingConfig


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_models.wide_llama(tmp_path_factory.mktemp("models") / "llama")


def bottleneck(**settings):
    return ConsistencyConfig(
        layer=1, tokens=2, batch_size=8, decoder_prompt="w1 <activation>", encoder_prompt="<text> w2", **settings
    )


def autoencoder(**settings):
    return NlaConfig(
        layer=1, sft_steps=2, batch_size=4, prompts=2, group=2, max_tokens=4, label_tokens=2, eval_rows=4, marker="w50",
        prompt="w1 w2 {injection_char} w3", reading="w1 {explanation} w2 w3", **settings,
    )  # fmt: skip


def trained(method, folder, corpus, home, **loading):
    """Losses by step, and the context."""
    config = LensTrainConfig(
        method=method,
        model=folder,
        dataset=str(corpus),
        layers="1,2",
        positions="min:2",
        dtype="fp32",
        loading=LoadOptions(device="cpu", **loading),
        training=TrainingConfig(steps=4, log_every=1),
    )
    ctx = FakeContext(home)
    run(config, ctx)
    events = [event for event in ctx.events.events if getattr(event, "name", "") == "train/loss"]
    return [event.value for event in events], ctx


@tiny_models.needs_bitsandbytes
@pytest.mark.parametrize(
    ("method", "quantize"),
    [
        (TunedLensConfig(batch_size=16), "8bit"),
        (TunedLensConfig(batch_size=16), "4bit"),
        (bottleneck(trainable="projections"), "8bit"),
    ],
    ids=["tuned-8bit", "tuned-4bit", "projections-8bit"],
)
def test_what_trains_no_copy_of_the_weights_trains_on_a_quantised_model(method, quantize, folder, corpus, tmp_path):
    losses, ctx = trained(method, folder, corpus, tmp_path, quantize=quantize)
    assert len(set(losses)) == 4
    assert torch.tensor(losses).isfinite().all()
    lens = load_lens(ctx.run.path, load_model(folder, LoadOptions(device="cpu", quantize=quantize))).lens
    outline = load_lens(ctx.run.path, lens.parts.model).outline
    fresh = type(lens)(lens.config, lens.parts.model, outline).weights()
    same = {name for name, weight in lens.weights().items() if torch.equal(weight, fresh[name])}
    assert {name for name in same if fresh[name].numel()} == set()


@tiny_models.needs_bitsandbytes
def test_a_bottleneck_in_four_bits_on_a_cpu_is_refused_because_it_would_get_no_gradients(folder, corpus, tmp_path):
    with pytest.raises(UsageError, match="no gradients through 4-bit weights on a CPU"):
        trained(bottleneck(trainable="projections"), folder, corpus, tmp_path, quantize="4bit")


@tiny_models.needs_bitsandbytes
@pytest.mark.parametrize("quantize", ["8bit", "4bit"])
@pytest.mark.parametrize("method", [bottleneck(), autoencoder()], ids=["consistency", "nla"])
def test_a_quantised_copy_cannot_be_trained_and_is_refused(method, quantize, folder, corpus, tmp_path):
    with pytest.raises(UsageError, match="a quantised model cannot be copied to be trained"):
        trained(method, folder, corpus, tmp_path, quantize=quantize)


@pytest.mark.parametrize(
    "method", [TunedLensConfig(batch_size=16), bottleneck(), autoencoder()], ids=["tuned", "consistency", "nla"]
)
def test_compiled_blocks_change_nothing(method, folder, corpus, tmp_path, monkeypatch):
    """The copies that are trained run their own blocks, and those are compiled too."""
    compiled = []

    def note(function, dynamic):
        assert dynamic
        compiled.append(function)

        def run(*arguments, **options):
            return function(*arguments, **options)

        return run

    plain, _ = trained(method, folder, corpus, tmp_path / "plain")
    monkeypatch.setattr(torch, "compile", note)
    found, _ = trained(method, folder, corpus, tmp_path / "compiled", compile=True)
    assert found == plain
    assert len(compiled) >= 2
    assert len(set(found)) == 4


@pytest.mark.parametrize(
    ("plain", "again"),
    [(bottleneck(), bottleneck(checkpointing=True)), (autoencoder(), autoencoder(gradient_checkpointing=True))],
    ids=["consistency", "nla"],
)
def test_computing_activations_again_changes_nothing(plain, again, folder, corpus, tmp_path):
    expected, _ = trained(plain, folder, corpus, tmp_path / "plain")
    found, _ = trained(again, folder, corpus, tmp_path / "again")
    assert found == pytest.approx(expected, rel=1e-5)


def test_blocks_that_compute_again_keep_less_and_only_in_passes_without_a_cache(llama):
    network = copy.deepcopy(llama.module)
    ids = torch.randint(3, 60, (2, 20), generator=torch.Generator().manual_seed(0))

    def kept():
        sizes = {}
        pack = lambda tensor: sizes.update({tensor.data_ptr(): tensor.nbytes}) or tensor  # noqa: E731
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), recomputing(network):
            logits = network(input_ids=ids, use_cache=False).logits
        return logits, sum(sizes.values())

    logits, before = kept()
    getattr(network, "activation_checkpointing_enable", network.gradient_checkpointing_enable)()  # its name until 5.6
    again, after = kept()
    assert torch.equal(again, logits)
    assert after < 0.5 * before
    assert not any(block.training for block in network.modules())

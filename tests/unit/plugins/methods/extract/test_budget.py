"""The batch size that is found by itself, on a simulated device of limited memory (default tier)."""

import pytest
import tiny_models
import torch
from transformers import AutoModelForCausalLM

from interp_plugins.methods.extract import budget
from interp_plugins.methods.extract.budget import choose_batch_plan
from interp_plugins.methods.extract.config import ExtractConfig
from interp_plugins.methods.extract.passes import PassPlan
from interp_plugins.methods.extract.sources import EncodedSource
from interp_plugins.models.wrapping import wrap_module

LENGTH = 10


class SmallDevice:
    """A model on a device that has room for so many tokens, and tells how many it held at most."""

    def __init__(self, model, room):
        self.model, self.room, self.most = model, room, 0

    def __getattr__(self, name):
        return getattr(self.model, name)

    def forward(self, batch, *, logits=False):
        tokens = batch.mask.numel()
        if tokens > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.most = max(self.most, tokens)
        return self.model.forward(batch, logits=logits)

    def meter(self, _device):
        return budget._Meter(lambda: setattr(self, "most", 0), lambda: self.most / self.room)


@pytest.fixture(scope="module")
def model():
    network = tiny_models.build(AutoModelForCausalLM, tiny_models.language_config("gpt2"))
    return wrap_module(network, tiny_models.tokenizer())


def chosen(model, room, monkeypatch, n_texts=400, shard_rows=400, **options) -> int:
    monkeypatch.setattr(budget, "_CPU_TOKENS", 4 * LENGTH)
    device = SmallDevice(model, room)
    monkeypatch.setattr(budget, "_meter", device.meter)
    source = EncodedSource(model.preprocess(["w1 " * LENGTH] * n_texts), [""] * n_texts)
    plan = PassPlan(model.info.default_layers, ("avg",))
    return choose_batch_plan(ExtractConfig(shard_rows=shard_rows, **options), device, source, plan).max_tokens


@pytest.mark.parametrize(("room", "expected"), [(1000, 640), (330, 320), (300, 160), (50, 40), (30, 40)])
def test_the_budget_doubles_until_memory_is_used_well_and_stays_where_it_fits(
    model, monkeypatch, room, expected
) -> None:
    assert chosen(model, room, monkeypatch) == expected


def test_a_shard_keeps_at_least_four_batches(model, monkeypatch) -> None:
    assert chosen(model, 1 << 20, monkeypatch, shard_rows=100) == 160
    assert chosen(model, 1 << 20, monkeypatch, shard_rows=400) == 640


def test_what_was_asked_for_is_not_tried(model, monkeypatch) -> None:
    assert chosen(model, 0, monkeypatch, max_tokens=77) == 77


def test_a_cpu_has_a_constant_budget(model) -> None:
    source = EncodedSource(model.preprocess(["w1"] * 9), [""] * 9)
    plan = choose_batch_plan(ExtractConfig(), model, source, PassPlan(model.info.default_layers, ("avg",)))
    assert plan.max_tokens == 2048

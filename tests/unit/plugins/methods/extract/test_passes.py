"""Passes over a shard: nothing is lost or shifted, whatever happens to a batch (default tier)."""

import pytest
import tiny_models
import torch
from transformers import AutoModel, AutoModelForCausalLM

from interp_plugins.methods.extract.passes import Listeners, PassPlan, check_pass_plan, run_shard
from interp_plugins.methods.extract.planning import BatchPlan, batches_of
from interp_plugins.methods.extract.sources import EncodedSource
from interp_plugins.models.timm import wrap_timm_model
from interp_plugins.models.wrapping import wrap_module
from interp_registry.contracts.model import Encoded
from interp_registry.errors import ResourceError, UsageError
from interp_registry.tensors.layers import Layer

TEXTS = tiny_models.texts(24)


@pytest.fixture(scope="module")
def model():
    network = tiny_models.build(AutoModelForCausalLM, tiny_models.language_config("gpt2"))
    return wrap_module(network, tiny_models.tokenizer())


@pytest.fixture
def source(model):
    return EncodedSource(model.preprocess(TEXTS), [str(row) for row in range(len(TEXTS))])


def plan(model, *poolings, **fields):
    return PassPlan(model.info.default_layers, poolings or ("avg",), **fields)


def run(model, source, pass_plan, rows=None, limits=None, listeners=None):
    rows = rows or range(len(source))
    batches = batches_of(source.lengths(rows), limits or BatchPlan(40))
    return run_shard(model, source, rows, batches, pass_plan, listeners)


def one_by_one(model, source, pass_plan):
    values = [run(model, source, pass_plan, rows=range(row, row + 1)) for row in range(len(source))]
    return {name: torch.cat([value.tensors[name] for value in values]) for name in values[0].tensors}


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=5e-6, atol=2e-6)


@pytest.mark.parametrize("limits", [BatchPlan(1), BatchPlan(40), BatchPlan(10_000), BatchPlan(40, 3, bucket=False)])
def test_each_row_has_the_values_it_has_alone(model, source, limits) -> None:
    pass_plan = plan(model, "avg", "last", "max", loss=True)
    assert_close(run(model, source, pass_plan, limits=limits).tensors, one_by_one(model, source, pass_plan))


def test_several_poolings_take_one_pass(model, source) -> None:
    passes: list[int] = []
    handle = model.module.base_model.register_forward_hook(lambda *_: passes.append(1))
    together = run(model, source, plan(model, "avg", "first", "last")).tensors
    handle.remove()
    assert len(passes) == len(batches_of(source.lengths(range(len(source))), BatchPlan(40)))
    for pooling in ("avg", "first", "last"):
        alone = run(model, source, plan(model, pooling)).tensors
        assert all(torch.equal(together[name], alone[name]) for name in alone)


class OutOfMemory:
    """Raises like a GPU whenever a batch has more samples than fit."""

    def __init__(self, model, limit, error):
        self.model, self.limit, self.error = model, limit, error

    def __getattr__(self, name):
        return getattr(self.model, name)

    def forward(self, batch, *, logits=False):
        output = self.model.forward(batch, logits=logits)
        if len(batch) > self.limit:
            raise self.error
        return output


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
@pytest.mark.parametrize("limit", [1, 3])
def test_a_batch_that_does_not_fit_is_halved_and_no_row_is_lost_or_shifted(model, source, error, limit) -> None:
    pass_plan = plan(model, loss=True)
    small = OutOfMemory(model, limit, error)
    found = run(small, source, pass_plan, limits=BatchPlan(200))
    assert_close(found.tensors, one_by_one(model, source, pass_plan))
    assert found.splits
    assert all(split["rows"] > limit for split in found.splits)
    assert not run(model, source, pass_plan, limits=BatchPlan(200)).splits


def test_a_sample_that_does_not_fit_alone_is_named(model, source) -> None:
    with pytest.raises(ResourceError, match="alone does not fit"):
        run(OutOfMemory(model, 0, torch.OutOfMemoryError()), source, plan(model))


def test_any_other_error_of_a_batch_is_not_swallowed(model, source) -> None:
    with pytest.raises(RuntimeError, match="a real defect"):
        run(OutOfMemory(model, 0, RuntimeError("a real defect")), source, plan(model))


def test_an_error_while_reading_a_sample_is_not_swallowed(model, source, monkeypatch) -> None:
    def broken(rows):
        raise OSError("unreadable")

    monkeypatch.setattr(source, "load", broken)
    with pytest.raises(OSError, match="unreadable"):
        run(model, source, plan(model))


def test_rows_are_reported_as_they_are_done(model, source) -> None:
    counts: list[int] = []
    run(model, source, plan(model), listeners=Listeners(rows=counts.append))
    assert sum(counts) == len(source)


def test_values_are_kept_in_the_type_that_was_asked_for(model, source) -> None:
    tensors = run(model, source, plan(model, dtype=torch.bfloat16)).tensors
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}


def test_early_layers_alone_do_not_run_the_later_blocks(model, source) -> None:
    seen: list[int] = []
    handle = model.sites[Layer(2, pre_norm=True)].module.register_forward_hook(lambda *_: seen.append(1))
    run(model, source, PassPlan((Layer(0), Layer(1)), ("avg",)))
    handle.remove()
    assert seen == []


def test_poolings_and_losses_that_a_model_cannot_give_are_refused(model) -> None:
    encoder = wrap_module(tiny_models.build(AutoModel, tiny_models.language_config("bert")), tiny_models.tokenizer())
    with pytest.raises(UsageError, match="no patches"):
        check_pass_plan(model, plan(model, "patch-avg"))
    with pytest.raises(UsageError, match="predicts no next token"):
        check_pass_plan(encoder, plan(encoder, loss=True))


def test_a_vision_model_without_a_class_token_has_no_cls() -> None:
    import timm

    network = timm.create_model("convnext_atto", dims=(8, 16, 24, 32), depths=(1, 1, 1, 1)).eval()
    model = wrap_timm_model(network, {"name": "convnext", "revision": "0"})
    with pytest.raises(UsageError, match="no class token"):
        check_pass_plan(model, plan(model, "cls"))
    items = [Encoded({"pixel_values": torch.rand(3, 224, 224)}) for _ in range(3)]
    tensors = run(model, EncodedSource(items, list("abc")), plan(model, "avg")).tensors
    assert [tensor.shape[1] for tensor in tensors.values()] == [8, 16, 24, 32]
    assert not any(tensor.isnan().any() for tensor in tensors.values())

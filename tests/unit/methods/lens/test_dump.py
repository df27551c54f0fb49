"""Dumps: the activations that the model has, the same bytes whatever happens on the way, and what lenses read of them."""

import pytest
import tiny_models
import torch

from interp_plugins.methods.lens import dumped as dumped_rows
from interp_plugins.methods.lens.config import DumpConfig
from interp_plugins.methods.lens.dump import open_dump, run
from interp_plugins.methods.lens.dumped import Dump, Statistics
from interp_plugins.methods.lens.positions import Positions
from interp_plugins.models.resolve import load_model
from interp_registry.errors import ConfigError, DataError, UsageError
from interp_registry.stores.activations import ActivationEntry
from interp_registry.testing import FakeContext


@pytest.fixture
def config(model_folder, corpus):
    return DumpConfig(model=str(model_folder), dataset=str(corpus), layers="all", dtype="fp32", batch_tokens=48)


def dumped(config, folder, seed=0):
    dump, state = open_dump(config, config.model, FakeContext(folder, seed))
    return dump, state


def every_row(dump):
    return torch.arange(dump.n_rows)


@torch.no_grad()
def reference(model, ids, layer):
    """The hidden state of one unpadded text; the last one before the norm."""
    batch = model.collate([model.preprocess([" ".join(f"w{i - 3}" for i in ids)])[0]])
    seen = []
    block = model.sites[max(one for one in model.sites if one.pre_norm)].module
    handle = block.register_forward_hook(lambda _m, _a, out: seen.append(out))
    states = model.base(**batch.inputs, output_hidden_states=True, use_cache=False).hidden_states
    handle.remove()
    return seen[-1][0] if layer == len(states) - 1 else states[layer][0]


def test_rows_are_the_hidden_states_of_their_texts(config, tmp_path):
    dump, state = dumped(config, tmp_path)
    assert state == "dumped"
    assert dump.layers == (0, 1, 2, 3, 4)
    model = load_model(config.model)
    texts = tiny_models.texts(40)
    for layer in dump.layers:
        rows = dump.rows(every_row(dump), layer)
        for document in (0, 7, 39):
            here = rows.documents == document
            ids = rows.token_ids[here][0, : rows.lengths[here][0]].tolist()
            assert ids == model.preprocess([texts[document]])[0].inputs["input_ids"]
            assert rows.positions[here].tolist() == list(range(len(ids)))
            assert torch.allclose(rows.activations[here], reference(model, ids, layer), atol=1e-5)


def test_a_batch_of_one_is_stored_bit_for_bit_and_bf16_is_its_cast(config, tmp_path):
    config.limit, config.positions = 1, "every:2"
    dump, _ = dumped(config, tmp_path / "fp32")
    config.dtype = "bf16"
    cast, _ = dumped(config, tmp_path / "bf16")
    model, rows = load_model(config.model), dump.rows(every_row(dump), 2)
    exact = reference(model, rows.token_ids[0, : rows.lengths[0]].tolist(), 2)[::2]
    assert torch.equal(rows.activations, exact)
    assert torch.equal(cast.rows(every_row(cast), 2).activations, exact.bfloat16().float())


def test_what_is_stored_is_found_again_and_other_settings_are_another_dump(config, tmp_path):
    first, _ = dumped(config, tmp_path)
    again, state = dumped(config, tmp_path)
    assert (state, again.entry.key, again.digest) == ("present", first.entry.key, first.digest)
    config.positions = "last"
    other, state = dumped(config, tmp_path)
    assert state == "dumped"
    assert other.n_rows == 40
    assert other.entry.key != first.entry.key


def test_random_positions_depend_on_seed_and_document_only(config, tmp_path):
    config.positions, config.layers = "random:2,min:1", "2"
    whole, _ = dumped(config, tmp_path / "a")
    config.limit = 20
    part, _ = dumped(config, tmp_path / "b")
    rows, some = whole.rows(every_row(whole), 2), part.rows(every_row(part), 2)
    assert torch.equal(rows.positions[rows.documents < 20], some.positions)
    other, _ = dumped(config, tmp_path / "b", seed=1)
    assert other.entry.key != part.entry.key
    assert not torch.equal(other.rows(every_row(other), 2).positions, some.positions)


def test_float16_is_refused_when_the_activations_do_not_fit(config, tmp_path):
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(config.model)
    with torch.no_grad():
        network.get_input_embeddings().weight.mul_(1e6)
    network.save_pretrained(tmp_path / "loud")
    tiny_models.tokenizer().save_pretrained(tmp_path / "loud")
    config.model, config.dtype = str(tmp_path / "loud"), "fp16"
    with pytest.raises(DataError, match="float16 cannot hold"):
        dumped(config, tmp_path)
    config.dtype = "bf16"
    assert dumped(config, tmp_path)[1] == "dumped"


def files(folder):
    return {
        path.name: path.read_bytes() for path in folder.glob("store/activations/*/*") if path.name != "manifest.json"
    }


class Died(BaseException):
    """What ends the first attempt."""


def test_a_dump_that_died_between_shards_goes_on_to_the_same_bytes(config, tmp_path, monkeypatch):
    monkeypatch.setattr("interp_plugins.methods.lens.dump.Dumper._shard_documents", lambda _self: 7)
    dumped(config, tmp_path / "whole")
    write = ActivationEntry.write_shard

    def dying(self, index, *rest):
        if index == 3:
            raise Died
        return write(self, index, *rest)

    monkeypatch.setattr(ActivationEntry, "write_shard", dying)
    with pytest.raises(Died):
        dumped(config, tmp_path / "died")
    monkeypatch.setattr(ActivationEntry, "write_shard", write)
    assert len(files(tmp_path / "died")) == 3
    assert dumped(config, tmp_path / "died")[1] == "dumped"
    assert files(tmp_path / "died") == files(tmp_path / "whole")


def test_several_processes_write_the_same_bytes(config, tmp_path, monkeypatch):
    monkeypatch.setattr("interp_plugins.methods.lens.dump.Dumper._shard_documents", lambda _self: 7)
    dumped(config, tmp_path / "one")
    n_waits = []
    monkeypatch.setattr("interp_plugins.methods.lens.dump._wait_for_others", n_waits.append)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(DataError, match="not complete"):  # it would have waited
        dumped(config, tmp_path / "two")
    monkeypatch.setenv("RANK", "0")
    assert dumped(config, tmp_path / "two")[1] == "dumped"
    assert len(n_waits) == 2
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_the_split_is_by_document_and_batches_pass_over_every_training_row(config, tmp_path):
    dump, _ = dumped(config, tmp_path)
    training, validation = dump.training_rows, dump.validation_rows
    assert sorted([*training.tolist(), *validation.tolist()]) == list(range(dump.n_rows))
    documents = dump.rows(every_row(dump), 0).documents
    assert not set(documents[training].tolist()) & set(documents[validation].tolist())
    assert 0 < len(set(documents[validation].tolist())) < 12
    n_batches = len(training) // 8
    passed = torch.cat([dump.batch(step, 8, seed=3) for step in range(n_batches)])
    assert len(set(passed.tolist())) == n_batches * 8
    assert set(passed.tolist()) <= set(training.tolist())
    again, _ = dumped(config, tmp_path)
    assert torch.equal(again.batch(n_batches + 2, 8, seed=3), dump.batch(n_batches + 2, 8, seed=3))
    assert not torch.equal(dump.batch(0, 8, seed=3), dump.batch(0, 8, seed=4))
    with pytest.raises(DataError, match="do not fill a batch"):
        dump.batch(0, 100_000, seed=3)


def test_statistics_are_those_of_the_training_rows(config, tmp_path):
    dump, _ = dumped(config, tmp_path)
    values = dump.rows(dump.training_rows, 3).activations.double()
    found = dump.statistics(3)
    centred = values - values.mean(0)
    unit = values / values.norm(dim=1, keepdim=True)
    assert torch.allclose(found.mean.double(), values.mean(0), atol=1e-6)
    assert torch.allclose(found.std.double(), centred.square().mean(0).sqrt(), atol=1e-6)
    assert found.mean_norm == pytest.approx(float(values.norm(dim=1).mean()))
    assert found.max_abs == float(values.abs().max())
    assert found.variance == pytest.approx(float(centred.square().sum(1).mean()))
    assert found.normalised_variance == pytest.approx(float((unit - unit.mean(0)).square().sum(1).mean()))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_stored_activations_that_are_not_finite_are_refused_when_they_are_read(config, tmp_path, monkeypatch, value):
    """Another program, or an earlier version of this one, may have stored them."""
    broken = lambda self, values, layer: torch.full_like(values, value).to("cpu", self.dtype)  # noqa: E731
    monkeypatch.setattr("interp_plugins.methods.lens.dump.Dumper._stored", broken)
    dump, _ = dumped(config, tmp_path)
    for read in (dump.statistics, lambda layer: dump.rows(dump.validation_rows, layer)):
        with pytest.raises(DataError, match="are not finite at layer 3"):
            read(3)


@pytest.mark.parametrize("noise", [0.0, 1e-9])
def test_activations_that_do_not_vary_have_no_spread_to_explain(noise):
    still = Statistics(torch.ones(4), torch.zeros(4), 2.0, 1.0, variance=noise**2, normalised_variance=noise**2)
    for normalised in (False, True):
        with pytest.raises(DataError, match="at layer 7 are the same in all training rows"):
            still.spread(7, normalised=normalised)
    assert Statistics(torch.ones(4), torch.ones(4), 2.0, 1.0, 0.5, 0.1).spread(7) == 0.5


def test_processes_compute_the_statistics_of_each_layer_once_between_them(config, tmp_path, monkeypatch):
    alone, _ = dumped(config, tmp_path)
    expected = alone.outline().moments
    computed, shares = [], []
    moments = dumped_rows._moments
    monkeypatch.setattr(dumped_rows, "_moments", lambda dump, layer: computed.append(layer) or moments(dump, layer))
    for rank in range(2):
        Dump(alone.entry).share_statistics(rank, 2, lambda own: shares.append(own) or own)
    assert sorted(computed) == [0, 1, 2, 3, 4]
    together = [Dump(alone.entry) for _ in range(2)]
    for rank, dump in enumerate(together):
        dump.share_statistics(rank, 2, lambda _own: shares[0] + shares[1])
    computed.clear()
    for dump in together:
        for layer, one in dump.outline().moments.items():
            for name, value in vars(expected[layer]).items():
                assert torch.equal(torch.as_tensor(getattr(one, name)), torch.as_tensor(value)), name
    assert not computed


def test_the_stage_reports_rows_and_refuses_what_cannot_be(config, tmp_path):
    result = run(config, FakeContext(tmp_path))
    assert result.scalars["training_rows"] + result.scalars["validation_rows"] == result.scalars["rows"]
    assert [row[0] for row in result.tables[0].rows] == [0, 1, 2, 3, 4]
    for changes, error, words in (
        ({"positions": "min:50"}, DataError, "no text"),
        ({"positions": "random"}, ConfigError, "chooses no positions"),
        ({"layers": "9"}, UsageError, "no layer"),
        ({"seq_len": 0}, ConfigError, "too few"),
    ):
        with pytest.raises(error, match=words):
            run(DumpConfig(**{**vars(config), **changes}), FakeContext(tmp_path))


def test_activations_of_extract_are_no_dump(model_folder, corpus, tmp_path):
    from interp_plugins.methods.extract.config import ExtractConfig
    from interp_plugins.methods.extract.run import run as extract

    ctx = FakeContext(tmp_path)
    extract(ExtractConfig(models=[str(model_folder)], dataset=str(corpus), pool="none"), ctx)
    with pytest.raises(DataError, match="lens dump"):
        Dump(next(iter(ctx.activations.entries())))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [("all", list(range(9))), ("last", [8]), ("every:3", [0, 3, 6]), ("min:7", [7, 8]), ("every:3,min:4", [4, 7])],
)
def test_positions_are_chosen_by_a_small_grammar(spec, expected):
    assert Positions.parse(spec).of(9, seed=0, document=5) == expected


def test_random_positions_are_distinct_sorted_and_not_before_the_smallest():
    chosen = Positions.parse("random:4,min:8")
    for document in range(50):
        found = chosen.of(20, 0, document)
        assert len(set(found)) == 4
        assert found == sorted(found)
        assert found[0] >= 8
    assert chosen.of(10, 0, 0) == [8, 9]
    assert chosen.of(8, 0, 0) == []
    assert len({tuple(chosen.of(20, 0, document)) for document in range(50)}) > 30

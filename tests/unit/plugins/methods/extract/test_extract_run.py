"""The stage itself, on a stand-in for the shell: shards, processes, batch plans, token activations (default tier)."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_models
import torch
from extract_context import Context
from transformers import AutoModelForCausalLM

from interp_plugins.methods.extract import passes, shard_writer, tokens
from interp_plugins.methods.extract.config import ExtractConfig
from interp_plugins.methods.extract.estimate import estimate
from interp_plugins.methods.extract.run import run
from interp_plugins.models.config import LoadOptions
from interp_registry.catalog import Catalog
from interp_registry.discovery import discover
from interp_registry.errors import CorruptError, DataError, UsageError
from interp_registry.tensors.layers import Layer


@pytest.fixture(scope="module", autouse=True)
def _plugins():
    discover()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_models.build(AutoModelForCausalLM, tiny_models.language_config("gpt2")).save_pretrained(folder)
    tiny_models.tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "texts.csv"
    path.write_text("text\n" + "\n".join(tiny_models.texts(25)) + "\n")
    return str(path)


@pytest.fixture
def config(model, data):
    return ExtractConfig(models=[model], dataset=data, shard_rows=4, max_tokens=30, loss=True)


def digest(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.name.startswith("shard-") or path.name == "DONE.json")
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def expected(model, data, tmp_path_factory):
    root = tmp_path_factory.mktemp("alone")
    run(ExtractConfig(models=[model], dataset=data, shard_rows=4, max_tokens=30, loss=True), Context(root))
    return digest(root)


def entry_of(result, ctx):
    return ctx.features.get(result.data["features"][0]["key"])


@pytest.mark.parametrize("order", [[0, 1], [1, 0], [0, 1, 2], [2, 0, 1]])
def test_any_number_of_processes_in_any_order_writes_the_same_bytes(
    config, tmp_path, expected, monkeypatch, order
) -> None:
    monkeypatch.setenv("WORLD_SIZE", str(len(order)))
    for rank in order:
        monkeypatch.setenv("RANK", str(rank))
        result = run(config, Context(tmp_path))
    assert digest(tmp_path) == expected
    assert entry_of(result, Context(tmp_path)).complete


def test_an_interrupted_extraction_goes_on_with_another_number_of_processes(
    config, tmp_path, expected, monkeypatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("RANK", "1")
    run(config, Context(tmp_path))
    assert not any(path.endswith("DONE.json") for path in digest(tmp_path))
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("RANK", "0")
    run(config, Context(tmp_path))
    assert digest(tmp_path) == expected


def test_the_batch_plan_of_the_manifest_is_used_again(config, tmp_path, expected) -> None:
    ctx = Context(tmp_path)
    result = run(config, ctx)
    removed = entry_of(result, ctx)
    for name in ("DONE.json", "shard-00002.safetensors"):
        (removed.path / name).unlink()
    run(replace(config, max_tokens=5), ctx)
    assert digest(tmp_path) == expected


def test_a_split_of_a_batch_stands_in_the_header_of_its_shard(config, tmp_path, monkeypatch) -> None:
    original, failed = shard_writer.load_job, []

    def load_job(job, settings):
        loaded = original(job, settings)
        forward = loaded.model.forward

        def small(batch, *, logits=False):
            if len(batch) == 4 and not failed:
                failed.append(1)
                raise torch.OutOfMemoryError("CUDA out of memory")
            return forward(batch, logits=logits)

        loaded.model.forward = small
        return loaded

    monkeypatch.setattr("interp_plugins.methods.extract.run.load_job", load_job)
    ctx = Context(tmp_path)
    entry = entry_of(run(replace(config, max_tokens=500), ctx), ctx)
    notes = [entry.shard(index).info["notes"] for index in range(entry.n_shards)]
    assert next(note for note in notes if note)["splits"][0]["rows"] == 4
    assert sum(bool(note) for note in notes) == 1


def test_rows_keep_the_names_and_the_order_of_the_data(config, tmp_path) -> None:
    ctx = Context(tmp_path)
    whole = entry_of(run(config, ctx), ctx)
    one = entry_of(run(replace(config, limit=7), ctx), ctx)
    assert whole.ids == [str(row) for row in range(25)]
    torch.testing.assert_close(whole.read(2)[:7], one.read(2), rtol=5e-6, atol=2e-6)
    assert whole.totals["loss"] == pytest.approx(float((whole.column("nats") / whole.column("n_scored")).nanmean()))


def test_prompts_shuffles_and_poolings_have_keys_of_their_own(config, tmp_path) -> None:
    ctx = Context(tmp_path)
    variants = [config, replace(config, prompt="w1 {}"), replace(config, shuffle_seed=1), replace(config, pool="last")]
    variants += [
        replace(config, model=LoadOptions(untrained=True)),
        replace(config, layers="all"),
        replace(config, compat="platonic"),
    ]
    assert len({run(variant, ctx).data["features"][0]["key"] for variant in variants}) == len(variants)


def test_token_activations_are_those_of_each_text(config, tmp_path) -> None:
    ctx = Context(tmp_path)
    result = run(replace(config, pool="avg+none", layers="1,2"), ctx)
    stored = ctx.activations.get(result.data["activations"][0]["key"])
    features = entry_of(result, ctx)
    documents = stored.column("doc_id")
    for row in (0, 3, 24):
        mean = stored.column("layer/2")[documents == row].mean(0)
        torch.testing.assert_close(mean, features.read(Layer(2))[row], rtol=1e-5, atol=2e-6)
        assert stored.column("position")[documents == row].tolist() == list(range(int((documents == row).sum())))
    assert documents.tolist() == sorted(documents.tolist())
    again = run(replace(config, pool="avg+none", layers="1,2"), ctx)
    assert again.scalars["present"] == 1


def count_passes(monkeypatch) -> list[int]:
    """How many samples went through a network, batch by batch."""
    seen: list[int] = []
    original = passes._Shard._pass

    def counted(self, positions, encoded):
        seen.append(len(positions))
        return original(self, positions, encoded)

    monkeypatch.setattr(passes._Shard, "_pass", counted)
    return seen


def test_features_and_tokens_come_from_one_pass_and_equal_those_of_passes_of_their_own(
    config, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(tokens, "_SHARD_BYTES", 5000)
    config = replace(config, shard_rows=10)
    alone, both = Context(tmp_path / "alone"), Context(tmp_path / "both")
    run(replace(config, pool="none"), alone)
    run(replace(config, pool="avg+last"), alone)
    samples = count_passes(monkeypatch)
    result = run(replace(config, pool="avg+last+none"), both)
    assert sum(samples) == 25
    written = both.activations.get(result.data["activations"][0]["key"])
    assert len(written.present_shards()) > 3
    whole = {path: content for path, content in digest(alone.root).items() if path.startswith("activations")}
    assert {path: content for path, content in digest(both.root).items() if path.startswith("activations")} == whole
    separate, together = (next(ctx.features.entries()) for ctx in (alone, both))
    for layer in separate.layers:
        for pool in ("avg", "last"):
            torch.testing.assert_close(together.read(layer, pool), separate.read(layer, pool), rtol=5e-6, atol=2e-6)


def test_what_is_missing_of_features_or_tokens_is_made_again_to_the_same_bytes(config, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tokens, "_SHARD_BYTES", 5000)
    config = replace(config, shard_rows=10, pool="avg+none")
    ctx = Context(tmp_path)
    result = run(config, ctx)
    before = digest(tmp_path)
    dump = ctx.activations.get(result.data["activations"][0]["key"]).path
    features = entry_of(result, ctx).path
    samples = count_passes(monkeypatch)
    for removed, most in (
        ([dump / "DONE.json", dump / "shard-00002.safetensors"], 9),
        ([features / "DONE.json", features / "shard-00001.safetensors"], 10),
        (
            [
                features / "DONE.json",
                dump / "DONE.json",
                features / "shard-00002.safetensors",
                dump / "shard-00000.safetensors",
            ],
            15,
        ),
    ):
        samples.clear()
        for path in removed:
            path.unlink()
        run(config, Context(tmp_path))
        assert digest(tmp_path) == before
        assert 0 < sum(samples) <= most


def test_tokens_after_features_of_another_cut_take_a_pass_of_their_own(config, tmp_path, monkeypatch, expected) -> None:
    run(config, Context(tmp_path))
    (next(Context(tmp_path).features.entries()).path / "DONE.json").unlink()
    samples = count_passes(monkeypatch)
    result = run(replace(config, pool="avg+none"), Context(tmp_path))
    assert sum(samples) == 25
    assert {path: content for path, content in digest(tmp_path).items() if path.startswith("features")} == expected
    assert result.scalars["extracted"] == 1


def test_big_dumps_have_the_fast_digest_and_small_ones_sha256(config, tmp_path, monkeypatch) -> None:
    config = replace(config, pool="avg+none")
    for size, algorithm in ((1 << 30, "sha256"), (5000, "xxh3")):
        monkeypatch.setattr(shard_writer, "_BIG", size)
        ctx = Context(tmp_path / algorithm)
        result = run(config, ctx)
        stored = [entry_of(result, ctx), ctx.activations.get(result.data["activations"][0]["key"])]
        assert {entry.shard(0).algorithm for entry in stored} == {algorithm}
        assert not any(entry.problems() for entry in stored)


def test_a_corrupt_shard_stops_the_extraction_and_is_mended_on_request(config, tmp_path, expected) -> None:
    ctx = Context(tmp_path)
    path = entry_of(run(config, ctx), ctx).path / "shard-00003.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 128
    path.write_bytes(content)
    with pytest.raises(CorruptError, match="shard-00003"):
        run(config, Context(tmp_path))
    run(replace(config, repair=True), Context(tmp_path))
    assert digest(tmp_path) == expected


def test_one_model_that_fails_is_recorded_and_the_others_go_on(config, model, tmp_path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text((Path(model) / "config.json").read_text())
    result = run(replace(config, models=[str(broken), model]), Context(tmp_path / "store"))
    assert [failure.item for failure in result.failures] == [str(broken)]
    assert "\n" not in result.failures[0].message
    assert result.scalars["extracted"] == 1


def test_a_vision_model_on_text_is_refused_before_anything_is_computed(config, model, tmp_path) -> None:
    with pytest.raises(DataError, match="reads images"):
        run(replace(config, models=[model, "resnet18"]), Context(tmp_path))
    assert digest(tmp_path) == {}


def test_a_model_set_is_taken_smallest_first_and_by_modality(config, model, tmp_path) -> None:
    sets = tmp_path / "configs" / "modelsets"
    sets.mkdir(parents=True)
    (sets / "mine.yaml").write_text(f"language: [lm-d64, {model}]\nvision: [resnet18]\n")
    ctx = Context(tmp_path / "store", catalog=Catalog((tmp_path / "configs",)))
    result = run(replace(config, models=[], modelset="mine"), ctx)
    assert [row["model"] for row in result.data["features"]] == [model, "lm-d64"]
    with pytest.raises(UsageError, match="no model was named"):
        run(replace(config, models=[]), ctx)


def test_an_estimate_reads_no_weights_and_knows_what_is_stored(config, tmp_path, monkeypatch) -> None:
    ctx = Context(tmp_path)
    cost = estimate(config, ctx)
    assert cost.disk_bytes == 25 * 3 * 32 * 4
    assert cost.download_bytes == 0
    run(config, ctx)
    assert estimate(config, ctx).disk_bytes == 0

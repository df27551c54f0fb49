"""Dumps of Consistency Lens: single files, shards, ranks; nothing in them is executed."""

import json

import pytest
import torch

from interp_plugins.methods.lens.config import ImportConfig
from interp_plugins.methods.lens.dumped import Dump
from interp_plugins.methods.lens.exchange import run_import
from interp_plugins.methods.lens.foreign.config import ConsistencyDumpImport
from interp_plugins.methods.lens.foreign.consistency_dump import read_consistency
from interp_plugins.methods.lens.parts import Parts, mask_of
from interp_registry.errors import DataError, UsageError
from interp_registry.testing import FakeContext


@pytest.fixture(scope="module")
def model(model_folder):
    from interp_plugins.models.resolve import load_model

    return load_model(str(model_folder))


def samples_of(model, n=6, layer=2, seed=0):
    """Samples as that tool writes them: pairs of texts with an activation of the middle token of each."""
    source = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, 60, (n, 10), generator=source)
    ids[0, 7:] = 2  # padded with the end token
    hidden = Parts(model).activations(ids, mask_of(torch.full((n,), 10), 10), layer).detach()
    samples = []
    for a in range(n):
        b = (a + 1) % n
        samples.append({
            "A": hidden[a, 5].half(), "A_prime": hidden[b, 6].half(), "input_ids_A": ids[a], "input_ids_A_prime": ids[b],
            "token_pos_A": 5, "token_pos_A_prime": 6, "layer_idx": layer,
        })  # fmt: skip
    return samples


def shards(folder, samples, sizes):
    folder.mkdir(parents=True, exist_ok=True)
    listed, first = [], 0
    for number, size in enumerate(sizes):
        name = f"shard_{number:05d}.pt"
        torch.save(samples[first : first + size], folder / name)
        listed.append({"name": name, "num_samples": size})
        first += size
    config = {"layer_idx": 2, "model_name": "tiny", "hf_dataset_name": "stories", "split_name": "train"}
    (folder / "metadata.json").write_text(json.dumps({"total_samples": first, "shards": listed, "config": config}))


def test_a_file_becomes_rows_of_both_texts_of_each_pair(model, tmp_path):
    samples = samples_of(model)
    torch.save(samples, tmp_path / "dump.pt")
    read = read_consistency(tmp_path / "dump.pt")
    assert len(read) == 12
    assert read.layer == 2, "that tool counts layers as hidden_states does"
    assert len(read.documents.unique()) == 6
    for row in range(12):
        pair = samples[row // 2]
        half = "A" if row % 2 == 0 else "A_prime"
        assert torch.equal(read.vectors[row], pair[half])
        assert torch.equal(read.token_ids[row], pair[f"input_ids_{half}"])
        assert read.positions[row] == pair[f"token_pos_{half}"]
    assert read.documents[1] == read.documents[2], "A' of the first is the text of the second"
    assert read.lengths[0] == 8, "padding of end tokens ends the text behind its first"


def test_shards_and_ranks_give_what_one_file_gives(model, tmp_path):
    samples = samples_of(model)
    torch.save(samples, tmp_path / "one.pt")
    shards(tmp_path / "sharded", samples, [4, 2])
    for rank, part in enumerate((samples[:3], samples[3:])):
        shards(tmp_path / "ranks" / f"rank_{rank}", part, [3])
    one = read_consistency(tmp_path / "one.pt")
    for other in (read_consistency(tmp_path / "sharded"), read_consistency(tmp_path / "ranks")):
        assert torch.equal(other.vectors, one.vectors)
        assert torch.equal(other.documents, one.documents)
        assert (other.model, other.dataset) == ("tiny", "stories:train")


def test_an_import_is_a_dump_like_any_other(model, model_folder, tmp_path):
    shards(tmp_path / "dump", samples_of(model), [4, 2])
    ctx = FakeContext(tmp_path / "ctx")
    result = run_import(
        ImportConfig(format=ConsistencyDumpImport(), path=(tmp_path / "dump"), model=str(model_folder)), ctx
    )
    dump = Dump.open(ctx.activations, result.scalars["key"])
    assert dump.layers == (2,)
    assert dump.revision == model.info.revision
    assert result.scalars["largest_difference"] < 1e-3, "half precision"
    rows = dump.rows(torch.arange(dump.n_rows), 2)
    again = Parts(model).activations(rows.token_ids, mask_of(rows.lengths, rows.token_ids.shape[1]), 2).detach()
    assert torch.allclose(again[torch.arange(12), rows.positions], rows.activations, atol=5e-3)
    assert (
        run_import(
            ImportConfig(format=ConsistencyDumpImport(), path=(tmp_path / "dump"), model=str(model_folder)), ctx
        ).scalars
        == result.scalars
    )


def test_activations_of_another_layer_than_stated_are_found_out(model, model_folder, tmp_path):
    samples = [sample | {"layer_idx": 1} for sample in samples_of(model)]
    torch.save(samples, tmp_path / "dump.pt")
    ctx = FakeContext(tmp_path / "ctx")
    with pytest.raises(DataError, match=r"differ from those of .* at layer 1 by"):
        run_import(
            ImportConfig(format=ConsistencyDumpImport(), path=(tmp_path / "dump.pt"), model=str(model_folder)), ctx
        )
    torch.save([sample | {"layer_idx": 4} for sample in samples], tmp_path / "last.pt")
    with pytest.raises(DataError, match="has blocks up to 4"):
        run_import(
            ImportConfig(format=ConsistencyDumpImport(), path=(tmp_path / "last.pt"), model=str(model_folder)), ctx
        )


class Bomb:
    """Would write a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_pickle_in_a_dump_is_refused_and_not_run(tmp_path):
    torch.save([{"A": torch.zeros(3), "extra": Bomb(tmp_path / "run")}], tmp_path / "dump.pt")
    with pytest.raises(DataError, match="cannot be read without executing"):
        read_consistency(tmp_path / "dump.pt")
    assert not (tmp_path / "run").exists()


def without(key):
    return lambda samples: samples[1].pop(key)


def setting(key, value):
    return lambda samples: samples[1].update({key: value})


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (without("A"), "sample 1 has no vector A"),
        (without("token_pos_A"), "sample 1: token_pos_A is None"),
        (without("input_ids_A_prime"), "no tokens input_ids_A_prime"),
        (setting("token_pos_A", 99), "token_pos_A is 99, the text has 10 tokens"),
        (setting("layer_idx", 1), r"layers \[1, 2\]"),
        (setting("A", torch.zeros(5)), r"widths \[5, 32\]"),
        (setting("A", torch.full((32,), torch.inf).half()), "A is not finite"),
    ],
)
def test_wrong_samples_are_named(model, tmp_path, spoil, reason):
    samples = samples_of(model, 3)
    spoil(samples)
    torch.save(samples, tmp_path / "dump.pt")
    with pytest.raises(DataError, match=reason):
        read_consistency(tmp_path / "dump.pt")


def test_shards_that_do_not_go_with_their_metadata_are_refused(model, tmp_path):
    shards(tmp_path / "a", samples_of(model), [4, 2])
    path = tmp_path / "a" / "metadata.json"
    content = json.loads(path.read_text())
    for change, reason in (
        ({"shards": [{"name": "shard_00000.pt", "num_samples": 5}]}, "holds 4 samples, metadata.json says 5"),
        ({"shards": [{"name": "../outside.pt", "num_samples": 5}]}, "outside of the folder"),
        ({"shards": [{"name": "shard_00007.pt", "num_samples": 5}]}, "is missing"),
        ({"config": {"layer_idx": 3}}, "metadata.json says layer 3"),
    ):
        path.write_text(json.dumps(content | change))
        with pytest.raises(DataError, match=reason):
            read_consistency(tmp_path / "a")
    path.write_text("{")
    with pytest.raises(DataError, match="is no JSON"):
        read_consistency(tmp_path / "a")


def test_a_folder_without_files_is_refused(tmp_path):
    ctx = FakeContext(tmp_path / "ctx")
    with pytest.raises(UsageError, match="there is no file or folder"):
        run_import(ImportConfig(format=ConsistencyDumpImport(), path=tmp_path / "nothing"), ctx)
    with pytest.raises(DataError, match=r"has no \.pt files"):
        run_import(ImportConfig(format=ConsistencyDumpImport(), path=tmp_path), ctx)

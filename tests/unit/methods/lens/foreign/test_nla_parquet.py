"""Published activation parquet with its sidecar."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from interp_plugins.methods.lens.config import ImportConfig
from interp_plugins.methods.lens.dumped import Dump
from interp_plugins.methods.lens.exchange import run_import
from interp_plugins.methods.lens.foreign.config import NlaParquetImport
from interp_plugins.methods.lens.parts import Parts, mask_of
from interp_registry.errors import DataError
from interp_registry.testing import FakeContext


@pytest.fixture(scope="module")
def model(model_folder):
    from interp_plugins.models.resolve import load_model

    return load_model(str(model_folder))


def write(folder, model, k=1, columns=None, sidecar=None):
    """Six texts, an activation of the output of block K at the last token of each."""
    words = [model.tokenizer.decode([3 + (i * 7 + j) % 50 for j in range(4 + i)]) for i in range(6)]
    encoded = [model.preprocess([text])[0].inputs["input_ids"] for text in words]
    vectors = []
    for ids in encoded:
        row = torch.tensor([list(ids)])
        hidden = Parts(model).activations(row, mask_of(torch.tensor([row.shape[1]]), row.shape[1]), k + 1)
        vectors.append(hidden[0, -1].detach().tolist())
    table = {
        "prompt": [[{"role": "user", "content": "<INJECT>"}]] * 6,
        "activation_vector": pa.array(vectors, pa.list_(pa.float32())),
        "n_raw_tokens": [len(ids) for ids in encoded],
        "activation_layer": [k] * 6,
        "doc_id": ["a", "b", "b", "c", "d", "e"],
        "detokenized_text_truncated": words,
    } | (columns or {})
    path = folder / "rl.parquet"
    pq.write_table(pa.table({name: column for name, column in table.items() if column is not None}), path)
    content = {
        "kind": "nla_dataset", "schema_version": 1, "dataset_id": "tiny-rl", "row_count": 6, "stage": "rl",
        "extraction": {"base_model": "some/model", "d_model": 32, "layer_index": k, "norm": "none", "corpus": "stories"},
    }  # fmt: skip
    for key, value in (sidecar or {}).items():
        owner, _, name = key.rpartition(".")
        (content[owner] if owner else content)[name] = value
    (folder / "rl.parquet.nla_meta.yaml").write_text(yaml.safe_dump(content))
    return path


def test_block_k_is_layer_k_plus_one_and_the_model_says_so(model, model_folder, tmp_path):
    path = write(tmp_path, model)
    ctx = FakeContext(tmp_path / "ctx")
    scalars = run_import(ImportConfig(format=NlaParquetImport(), path=path, model=str(model_folder)), ctx).scalars
    assert (scalars["layer"], scalars["rows"], scalars["rows_with_text"], scalars["documents"]) == (2, 6, 6, 5)
    assert scalars["largest_difference"] < 1e-5
    dump = Dump.open(ctx.activations, scalars["key"])
    rows = dump.rows(torch.arange(6), 2)
    assert torch.equal(rows.positions, rows.lengths - 1)
    stored = torch.tensor(pq.read_table(path)["activation_vector"].to_pylist())
    assert torch.equal(rows.activations, stored)


def test_without_the_model_vectors_come_without_texts(model, tmp_path):
    path = write(tmp_path, model)
    ctx = FakeContext(tmp_path / "ctx")
    scalars = run_import(ImportConfig(format=NlaParquetImport(), path=path), ctx).scalars
    assert (scalars["model"], scalars["rows_with_text"]) == ("some/model", 0)
    rows = Dump.open(ctx.activations, scalars["key"]).rows(torch.arange(6), 2)
    assert rows.lengths.tolist() == [0] * 6


def test_rows_whose_text_has_other_tokens_are_left_out(model, model_folder, tmp_path):
    counts = [4, 5, 6, 7, 8, 99]
    path = write(tmp_path, model, columns={"n_raw_tokens": counts})
    first = pq.read_table(path)["detokenized_text_truncated"].to_pylist()
    kept = sum(len(model.preprocess([text])[0].inputs["input_ids"]) == n for text, n in zip(first, counts, strict=True))
    scalars = run_import(
        ImportConfig(format=NlaParquetImport(), path=path, model=str(model_folder)), FakeContext(tmp_path / "ctx")
    ).scalars
    assert (scalars["rows"], scalars["rows_left_out"]) == (kept, 6 - kept)
    assert kept == 5


@pytest.mark.parametrize(
    ("sidecar", "columns", "reason"),
    [
        ({"extraction.layer_index": 2}, {}, "activation_layer is 1, extraction.layer_index of the sidecar is 2"),
        ({"extraction.d_model": 31}, {}, "has the lengths 32, extraction.d_model of the sidecar is 31"),
        ({"extraction.norm": "unit"}, {}, "extraction.norm is 'unit'"),
        ({"row_count": 7}, {}, "row_count is 7, the file has 6 rows"),
        ({"stage": "pretraining"}, {}, "stage is 'pretraining'"),
        ({"kind": "nla_model"}, {}, "kind is 'nla_model'"),
        ({"schema_version": 2}, {}, "schema_version is 2"),
        ({"dataset_id": None}, {}, "dataset_id is missing"),
        ({}, {"activation_vector": None}, "has no column activation_vector"),
        ({}, {"activation_vector": [1.0] * 6}, "expected lists of numbers"),
        ({}, {"activation_vector": [[float("nan")] * 32] * 6}, "of row 0 is not finite"),
        ({}, {"activation_layer": [1, 1, 1, 1, 1, 2]}, "activation_layer is 1, 2"),
    ],
)
def test_a_file_that_does_not_go_with_its_sidecar_is_refused(model, tmp_path, sidecar, columns, reason):
    path = write(tmp_path, model, columns=columns, sidecar=sidecar)
    with pytest.raises(DataError, match=reason):
        run_import(ImportConfig(format=NlaParquetImport(), path=path), FakeContext(tmp_path / "ctx"))


def test_the_quick_starts_layer_is_found_out(model, model_folder, tmp_path):
    path = write(tmp_path, model, columns={"activation_layer": [0] * 6}, sidecar={"extraction.layer_index": 0})
    with pytest.raises(DataError, match="differ from those of"):
        run_import(
            ImportConfig(format=NlaParquetImport(), path=path, model=str(model_folder)), FakeContext(tmp_path / "ctx")
        )


def test_missing_and_damaged_files_are_refused(model, tmp_path):
    path = write(tmp_path, model)
    ctx = FakeContext(tmp_path / "ctx")
    (tmp_path / "rl.parquet.nla_meta.yaml").rename(tmp_path / "kept")
    with pytest.raises(DataError, match="has no sidecar"):
        run_import(ImportConfig(format=NlaParquetImport(), path=path), ctx)
    (tmp_path / "kept").rename(tmp_path / "rl.parquet.nla_meta.yaml")
    path.write_bytes(b"no parquet")
    with pytest.raises(DataError, match="is no parquet file"):
        run_import(ImportConfig(format=NlaParquetImport(), path=path), ctx)

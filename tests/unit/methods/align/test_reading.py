import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet
from safetensors.torch import save_file

from interp_plugins.methods.align.reading import load_features, means_file
from interp_registry.errors import DataError, UsageError


@pytest.fixture
def stacked():
    return np.random.default_rng(0).normal(size=(20, 3, 5)).astype(np.float32)


def assert_same(loaded, stacked):
    assert len(loaded) == stacked.shape[1]
    for index, layer in enumerate(loaded.features):
        np.testing.assert_array_equal(layer.numpy(), stacked[:, index])


def test_every_format_gives_back_the_layers(tmp_path, stacked):
    np.save(tmp_path / "m.npy", stacked)
    np.savez(tmp_path / "m.npz", **{f"layer_{i}": stacked[:, i] for i in range(3)})
    save_file({f"l.{i}": torch.tensor(stacked[:, i]).contiguous() for i in range(3)}, tmp_path / "m.safetensors")
    torch.save({"feats": torch.tensor(stacked), "loss": torch.tensor(2.5), "bpb": 1.25}, tmp_path / "m.pt")
    columns = {f"c{i}": list(stacked[:, i]) for i in range(3)}
    parquet.write_table(pa.table({"id": [f"s{i}" for i in range(20)], **columns}), tmp_path / "m.parquet")
    for suffix in ("npy", "npz", "safetensors", "pt", "parquet"):
        assert_same(load_features(tmp_path / f"m.{suffix}"), stacked)
    assert load_features(tmp_path / "m.pt").facts == {"loss": 2.5, "bpb": 1.25}
    assert load_features(tmp_path / "m.parquet").ids == [f"s{i}" for i in range(20)]


def test_layers_are_in_natural_order_of_their_names(tmp_path):
    save_file({f"layer.{i}": torch.randn(8, 2 + i) for i in range(12)}, tmp_path / "m.safetensors")
    loaded = load_features(tmp_path / "m.safetensors")
    assert loaded.layers == [f"layer.{i}" for i in range(12)]
    assert [layer.shape[1] for layer in loaded.features] == list(range(2, 14))


def test_half_precision_is_read_as_float32(tmp_path):
    save_file({"x": torch.randn(8, 3).bfloat16()}, tmp_path / "m.safetensors")
    assert load_features(tmp_path / "m.safetensors").features[0].dtype == torch.float32


def test_numeric_parquet_columns_are_one_layer(tmp_path):
    parquet.write_table(pa.table({"a": [0.0, 1.0, 2.0], "b": [1.0, 0.0, 5.0]}), tmp_path / "m.parquet")
    assert load_features(tmp_path / "m.parquet").features[0].tolist() == [[0, 1], [1, 0], [2, 5]]


def test_pickled_objects_are_refused_and_never_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"feats": Bomb()}, tmp_path / "m.pt")
    np.save(tmp_path / "m.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    for name in ("m.pt", "m.npy"):
        with pytest.raises(DataError):
            load_features(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_missing_torn_and_unknown_files_are_explained(tmp_path):
    save_file({"x": torch.randn(8, 3)}, tmp_path / "good.safetensors")
    (tmp_path / "torn.safetensors").write_bytes((tmp_path / "good.safetensors").read_bytes()[:40])
    with pytest.raises(UsageError, match=r"there is no file .*goood\.safetensors.*did you mean good\.safetensors"):
        load_features(tmp_path / "goood.safetensors")
    with pytest.raises(DataError, match=r"no readable \.safetensors file"):
        load_features(tmp_path / "torn.safetensors")
    with pytest.raises(UsageError, match=r"'\.saftensors'.*did you mean \.safetensors"):
        load_features(tmp_path / "x.saftensors")


def test_a_word_with_the_dots_of_a_model_name_is_no_file():
    assert not means_file("vit_base_patch16_224.augreg_in21k")
    assert not means_file("EleutherAI/pythia-1.4b")
    assert means_file("features/a.npy")
    assert means_file("b.saftensors")

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from interp_cli.__main__ import run
from interp_registry.errors import DataError
from interp_registry.stores.exchange import export_entry, import_platonic
from interp_registry.stores.features import FeaturePlan, FeatureRequest, FeatureStore, feature_name


def stored(root, widths=(4, 4), model="some/model"):
    store = FeatureStore(root)
    layers = {str(i): width for i, width in enumerate(widths)}
    entry = store.open(FeatureRequest(model, "world", "f" * 64, options={"caption": [1]}), FeaturePlan(6, 4, layers))
    values = {name: torch.arange(6.0 * width).reshape(6, width) + i for i, (name, width) in enumerate(layers.items())}
    for index in range(entry.n_shards):
        rows = list(entry.rows(index))
        entry.write_shard(index, {feature_name("avg", n): v[rows] for n, v in values.items()}, [f"s{i}" for i in rows])
    entry.finish({"n_params": 12, "loss": 0.5})
    return entry, values


def test_the_platonic_layout_survives_a_round_trip(tmp_path):
    entry, values = stored(tmp_path / "a")
    (path,) = export_entry(entry, "platonic-pt", tmp_path / "old")
    assert path.name == "some_model_pool-avg_cid-1.pt"
    content = torch.load(path, weights_only=True)  # noqa: TID251
    assert content["feats"].shape == (6, 2, 4)
    assert content["num_params"] == 12
    back = import_platonic(path, FeatureStore(tmp_path / "b"))
    assert back.layers == ("0", "1")
    assert back.totals["loss"] == 0.5
    for layer, value in values.items():
        assert torch.equal(back.read(layer), value)


def test_a_vision_file_gets_the_addresses_of_blocks(tmp_path):
    path = tmp_path / "prh" / "wit" / "vit_pool-cls.pt"
    path.parent.mkdir(parents=True)
    torch.save({"feats": torch.randn(5, 3, 2, dtype=torch.bfloat16), "num_params": 7}, path)
    entry = import_platonic(path, FeatureStore(tmp_path / "store"))
    assert entry.layers == ("1", "2", "3.pre_norm")
    assert entry.pools == ("cls",)
    assert entry.request["dataset"] == "prh/wit"
    assert export_entry(entry, "npy", tmp_path)[0].suffix == ".npy"


def test_npy_npz_and_parquet_hold_the_same_numbers(tmp_path):
    entry, values = stored(tmp_path / "a")
    npy = np.load(export_entry(entry, "npy", tmp_path)[0])
    npz = np.load(export_entry(entry, "npz", tmp_path)[0])
    table = pq.read_table(export_entry(entry, "parquet", tmp_path)[0])
    for i, (name, value) in enumerate(values.items()):
        assert np.array_equal(npy[:, i], value)
        assert np.array_equal(npz[f"layer_{name}"], value)
        assert table[f"layer_{name}"].to_pylist() == value.tolist()
    assert list(npz["ids"]) == table["id"].to_pylist() == [f"s{i}" for i in range(6)]


def test_layers_of_different_widths_fit_npz_but_not_one_array(tmp_path):
    entry, _ = stored(tmp_path / "a", widths=(4, 6))
    assert np.load(export_entry(entry, "npz", tmp_path)[0])["layer_1"].shape == (6, 6)
    with pytest.raises(DataError, match="widths"):
        export_entry(entry, "npy", tmp_path)


@pytest.mark.parametrize("content", [{"x": torch.ones(2)}, {"feats": torch.ones(2, 2)}, torch.ones(3), {"feats": [1]}])
def test_a_file_without_features_is_refused(tmp_path, content):
    path = tmp_path / "x.pt"
    torch.save(content, path)
    with pytest.raises(DataError, match="no `feats`"):
        import_platonic(path, FeatureStore(tmp_path / "store"))


class Evil:
    def __reduce__(self):
        return (open, ("/tmp/interp-evil", "w"))  # noqa: S108


def test_a_pickle_is_not_executed_and_the_other_files_are_imported(tmp_path, capsys):
    torch.save({"feats": Evil()}, tmp_path / "evil.pt")
    torch.save({"feats": torch.randn(5, 2, 3), "num_params": 1}, tmp_path / "good.pt")
    assert run(["import", "platonic-pt", str(tmp_path), "--json", "--out", str(tmp_path / "home")]) == 3
    answer = json.loads(capsys.readouterr().out)
    assert len(answer["keys"]) == 1
    assert "without executing" in next(iter(answer["failures"].values()))


def test_the_commands_write_and_name_what_is_wrong(tmp_path, capsys):
    stored(tmp_path / "home" / "store")
    home = ["--out", str(tmp_path / "home")]
    assert run(["export", "some-model", "--format", "npz", "--to", str(tmp_path / "x"), "--json", *home]) == 0
    assert json.loads(capsys.readouterr().out)["written"][0].endswith(".npz")
    assert run(["export", "some-model", "--format", "npx", *home]) == 2
    assert "did you mean" in capsys.readouterr().err
    assert run(["export", "nobody", *home]) == 2
    assert run(["import", "platonic-pt", "nowhere.pt"]) == 2
    assert "no file or folder nowhere.pt" in capsys.readouterr().err

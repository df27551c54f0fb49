"""Stored tables of one model are told apart by the settings in which they differ, and by nothing else."""

from pathlib import Path

from interp_cli.__main__ import run
from interp_cli.table_differences import differences
from interp_registry.stores.features import FeaturePlan, FeatureRequest, FeatureStore
from interp_registry.stores.home import layout
from interp_registry.stores.maintenance import Summary


def table(rows=10, model="m", dataset="shapes", kind="features", fingerprint="f" * 64, **options) -> Summary:
    request = FeatureRequest(model, dataset, fingerprint, options={"compute": "float32", **options}).to_json()
    return Summary(kind, "key", "complete", 1, rows, 5, request, Path("key"))


def test_only_settings_that_differ_are_said():
    assert differences([table(caption=[0]), table(caption=[0, 1, 2])]) == ["caption 0", "caption 0,1,2"]
    assert differences([table(loss=True), table()]) == ["loss True", "loss none"]


def test_a_table_without_another_one_of_its_model_data_set_and_kind_says_nothing():
    tables = [table(), table(model="n", caption=[1]), table(dataset="world"), table(kind="activations")]
    assert differences(tables) == [""] * 4


def test_numbers_of_rows_tell_tables_apart_without_digests():
    assert differences([table(10, fingerprint="a" * 64), table(20, fingerprint="b" * 64)]) == ["", ""]


def test_the_digest_of_the_samples_is_said_where_nothing_else_differs():
    tables = [table(fingerprint="a" * 64), table(fingerprint="b" * 64), table(caption=[1])]
    assert differences(tables) == [
        f"caption none, fingerprint {'a' * 12}",
        f"caption none, fingerprint {'b' * 12}",
        f"caption 1, fingerprint {'f' * 12}",
    ]


def test_of_a_corrupt_table_nothing_is_said():
    lost = Summary("features", "key", "corrupt", 0, None, 5, {}, Path("key"))
    assert differences([lost, table(), lost]) == ["", "", ""]


def test_the_list_says_what_differs(capsys):
    store = FeatureStore(layout().store)
    for caption in ([0], [0, 1]):
        store.open(
            FeatureRequest("a/model", "shapes", "f00d", options={"caption": caption}), FeaturePlan(10, 4, {"0": 3})
        )
    assert run(["store", "ls"]) == 0
    shown = capsys.readouterr().out
    assert "differs in" in shown
    assert "caption 0,1" in shown

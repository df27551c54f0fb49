import json

import numpy as np
import pytest
from safetensors import safe_open

from interp_plugins.methods.align.api import align as align_layers
from interp_plugins.methods.align.config import AlignConfig
from interp_plugins.methods.align.estimate import estimate
from interp_plugins.methods.align.run import align
from interp_registry.config_io import Override, resolve
from interp_registry.discovery import discover
from interp_registry.errors import ConfigError, DataError, UnknownNameError, UsageError
from interp_registry.events import Message, Progress


def files(tmp_path, make_layers, **shapes):
    paths = []
    for seed, (name, n_layers) in enumerate(shapes.items()):
        path = tmp_path / f"{name}.npy"
        np.save(path, np.stack([layer.numpy() for layer in make_layers(n_layers, seed=seed + 10)], axis=1))
        paths.append(str(path))
    return paths


def given(*pairs):
    """The configuration that these options of the command line make."""
    discover()
    return resolve(AlignConfig, [], [Override(*pair.split("=", 1), f"--{pair}") for pair in pairs]).config


def test_metrics_and_their_options_are_chosen_by_names_and_patterns():
    assert [type(m).__name__ for m in given("metric=mutual_knn,cka").metric] == ["MutualKnnConfig", "CkaConfig"]
    assert len(given("metric=all").metric) >= 8
    assert [m.topk for m in given("metric=mutual_knn,cka,cknna", "metric.topk=4").metric if hasattr(m, "topk")] == [
        4,
        4,
    ]
    with pytest.raises(UnknownNameError, match="did you mean mutual_knn"):
        given("metric=mutual_kn")
    with pytest.raises(UnknownNameError, match=r"did you mean metric\.dim"):
        given("metric=svcca", "metric.dmi=3")


def test_two_files_give_the_scores_of_the_library(tmp_path, ctx, make_layers):
    a, b = files(tmp_path, make_layers, a=3, b=2)
    result = align(AlignConfig(models=[a, b], permutations="20"), ctx)
    expected = align_layers(np.load(a), np.load(b))
    (pair,) = result.data["pairs"]
    np.testing.assert_array_equal(pair["scores"], expected.scores)
    assert (pair["layer x"], pair["layer y"]) == tuple(str(i) for i in expected.best.layers)
    assert result.scalars["score"] == expected.best.score
    assert 0 < result.scalars["p_value"] <= 1


def test_samples_that_are_in_the_data_twice_are_told(tmp_path, ctx, make_layers):
    paths = files(tmp_path, make_layers, a=1, b=1, c=1)
    for path in paths[:2]:
        features = np.load(path)
        np.save(path, np.concatenate([features, features[:5]]))
    longer = np.load(paths[2])
    np.save(paths[2], np.concatenate([longer, longer[-5:] + 1]))

    def warnings(*names):
        ctx.events.events.clear()
        align(AlignConfig(models=list(names), permutations="off"), ctx)
        return [event.text for event in ctx.events.events if isinstance(event, Message)]

    (said,) = warnings(*paths[:2])
    assert said.startswith("5 of ")
    assert warnings(paths[0], paths[2]) == [], "the other model tells them apart"


def test_the_whole_matrix_is_kept_on_disk(tmp_path, ctx, make_layers):
    a, b = files(tmp_path, make_layers, a=3, b=2)
    (path,) = align(AlignConfig(models=[a, b], permutations="20"), ctx).artifacts
    with safe_open(path, "np") as file:
        (described,) = json.loads(file.metadata()["pairs"])
        assert file.get_tensor("0.scores").shape == (3, 2)
        assert file.get_tensor("0.null").shape == (20,)
    assert described["x"] == "a"
    assert described["layers_x"] == ["0", "1", "2"]


def test_all_pairs_among_models_or_against_another_side(tmp_path, ctx, make_layers):
    a, b, c = files(tmp_path, make_layers, a=2, b=2, c=1)
    among = align(AlignConfig(models=[a, b, c], permutations="off"), ctx).data["pairs"]
    assert [(p["x"], p["y"]) for p in among] == [("a", "b"), ("a", "c"), ("b", "c")]
    against = align(AlignConfig(models=[a, b], against=[c], permutations="off"), ctx).data["pairs"]
    assert [(p["x"], p["y"]) for p in against] == [("a", "c"), ("b", "c")]
    assert "p" not in against[0]


def test_several_metrics_with_options_and_a_null_for_each(tmp_path, ctx, make_layers):
    a, b = files(tmp_path, make_layers, a=2, b=2)
    config = given(f"models={a},{b}", "metric=*cka,svcca", "metric.dim=3", "permutations=10")
    result = align(config, ctx)
    metrics = [pair["metric"] for pair in result.data["pairs"]]
    assert {"cka", "unbiased_cka", "svcca"} <= set(metrics)
    assert next(p for p in result.data["pairs"] if p["metric"] == "svcca")["options"]["dim"] == 3
    assert all("p" in pair for pair in result.data["pairs"])
    kinds = {figure.kind for figure in result.figures}
    assert {"heat_map", "histogram", "lines"} <= kinds


def test_stored_features_are_found_by_key_and_by_model(ctx, make_layers, store_features):
    key = store_features("lm-a", make_layers(2))
    store_features("vit-a", make_layers(3, seed=4))
    by_key = align(AlignConfig(models=[key], against=["vit-a"], extract=False, permutations="off"), ctx)
    by_name = align(AlignConfig(models=["lm-a", "vit-a"], extract=False, permutations="off"), ctx)
    assert by_key.data["pairs"][0]["scores"] == by_name.data["pairs"][0]["scores"]


def test_model_sets_are_opened_by_modality(ctx, make_layers, store_features):
    for seed, name in enumerate(["lm-a", "lm-b", "vit-a"]):
        store_features(name, make_layers(2, seed=seed), totals={"bpb": 1.0 + seed})
    config = AlignConfig(modelset_x="tiny", modelset_y="tiny", extract=False, permutations="off")
    pairs = align(config, ctx).data["pairs"]
    assert [(p["x"], p["y"]) for p in pairs] == [("lm-a", "vit-a"), ("lm-b", "vit-a")]


def test_the_embedding_layer_can_be_left_out_and_is_reported_apart(ctx, make_layers, store_features):
    same = make_layers(1, noise=0.0)[0]
    store_features("lm-a", [same, *make_layers(2, noise=3.0, seed=8)])
    store_features("vit-a", [same, *make_layers(2, noise=3.0, seed=9)])
    config = AlignConfig(models=["lm-a", "vit-a"], extract=False, permutations="10", skip_embedding=True)
    (pair,) = align(config, ctx).data["pairs"]
    assert pair["embedding"] == 1.0
    assert pair["score"] < 1.0
    assert "0" not in (pair["layer x"], pair["layer y"])
    config.skip_embedding = False
    assert align(config, ctx).data["pairs"][0]["score"] == 1.0


def test_different_samples_are_refused(ctx, make_layers, store_features):
    store_features("lm-a", make_layers(1))
    store_features("vit-a", make_layers(1), ids=[f"t{i}" for i in range(64)])
    store_features("vit-b", [layer[:50] for layer in make_layers(1)])
    with pytest.raises(DataError, match="row 0 is 's0' in one and 't0'"):
        align(AlignConfig(models=["lm-a", "vit-a"], extract=False), ctx)
    with pytest.raises(DataError, match="lm-a has 64 samples and vit-b has 50"):
        align(AlignConfig(models=["lm-a", "vit-b"], extract=False), ctx)


def test_wrong_use_is_explained_before_anything_is_computed(tmp_path, ctx, make_layers):
    a, b = files(tmp_path, make_layers, a=1, b=1)
    cases = [
        (AlignConfig(models=[a]), UsageError, "nothing to compare"),
        (AlignConfig(models=[a, "lm-x"], extract=False), UsageError, "no stored features of 'lm-x'"),
        (AlignConfig(models=[a, b], metric=[]), ConfigError, "no metric is chosen"),
        (AlignConfig(models=[a, b], permutations="many"), ConfigError, "neither a number"),
        (AlignConfig(models=[a, b], topk=64), DataError, "topk=64 needs more than 64 samples"),
        (AlignConfig(models=[a, b], statistic="5,5"), UsageError, "outside the 1 x 1 matrix"),
        (AlignConfig(modelset_x="tinny"), UnknownNameError, "did you mean tiny"),
    ]
    for config, error, message in cases:
        with pytest.raises(error, match=message):
            align(config, ctx)
    with pytest.raises(ConfigError, match="alpha"):
        AlignConfig(alpha=1.5)


def test_missing_features_are_asked_of_extract(ctx):
    with pytest.raises((AssertionError, UsageError), match="extract"):
        align(AlignConfig(models=["lm-a", "lm-b"]), ctx)


def test_the_estimate_counts_pairs_and_names_what_is_missing(tmp_path, ctx, make_layers, store_features):
    a, b = files(tmp_path, make_layers, a=1, b=1)
    store_features("lm-a", make_layers(1))
    notes = " ".join(estimate(AlignConfig(models=[a, b, "lm-a"], against=["lm-b"], permutations="off"), ctx).notes)
    assert "3 model pairs by 1 metric" in notes
    assert "without stored features: lm-b" in notes
    assert "no null" in notes
    with pytest.raises(UsageError, match="nothing to compare"):
        estimate(AlignConfig(models=[a]), ctx)


def test_progress_rises_to_the_number_of_model_pairs(tmp_path, ctx, make_layers):
    a, b, c = files(tmp_path, make_layers, a=1, b=1, c=1)
    align(AlignConfig(models=[a, b, c], permutations="16"), ctx)
    done = [event.done for event in ctx.events.events if isinstance(event, Progress)]
    assert done == sorted(done)
    assert done[-1] == 3
    assert len(done) > 3

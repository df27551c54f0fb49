import numpy as np
import pytest
import torch

from interp_plugins.methods.align.api import align
from interp_plugins.methods.align.config import AlignConfig
from interp_plugins.methods.align.intervals import (
    can_jackknife,
    grid,
    jackknife,
    parse_grid,
    subsample,
    subsampled_scores,
    subsamples,
)
from interp_plugins.methods.align.metric_choice import metric
from interp_plugins.methods.align.run import align as run_align
from interp_plugins.metrics.config import MutualKnnConfig, SvccaConfig
from interp_plugins.metrics.layer_bank import LayerBank
from interp_registry.errors import DataError, UsageError


def top(scores):
    return scores.max(axis=(-2, -1))


@pytest.mark.parametrize(
    "chosen", [metric("mutual_knn", topk=5), metric("cka"), metric("unbiased_cka")], ids=lambda m: m.name
)
def test_leaving_one_out_equals_scoring_the_others(make_layers, chosen):
    x, y = ([layer.double() for layer in side] for side in (make_layers(2), make_layers(3, seed=4)))
    found = chosen.metric.leave_one_out(x, y)
    assert found.shape == (64, 2, 3)
    for r in (0, 7, 63):
        others = [i for i in range(64) if i != r]
        expected = chosen.score_pairs(chosen.prepare([a[others] for a in x]), chosen.prepare([b[others] for b in y]))
        torch.testing.assert_close(found[r], expected, rtol=0, atol=1e-10)


def test_only_exact_jackknives_are_offered():
    assert can_jackknife(metric("cka"))
    assert not can_jackknife(metric("cka", kernel="rbf"))
    assert not can_jackknife(metric("cka", compat="platonic"))
    assert not can_jackknife(metric("svcca"))
    with pytest.raises(UsageError, match="no exact jackknife"):
        align(torch.randn(40, 12), torch.randn(40, 12), metric="svcca", ci="jackknife")


def test_jackknife_of_a_mean_is_the_textbook_standard_error():
    values = np.random.default_rng(0).normal(size=200)
    left_out = (values.sum() - values) / 199
    found = jackknife(left_out, values.mean(), 0.95)
    assert found.standard_error == pytest.approx(values.std(ddof=1) / np.sqrt(200))
    assert found.high - found.low == pytest.approx(2 * 1.959964 * found.standard_error, rel=1e-5)


def test_subsampling_of_a_mean_has_the_textbook_standard_error():
    values = np.random.default_rng(0).normal(size=400)
    rows = subsamples(400, 200, 2000, seed=0)
    draws = np.array([values[r.numpy()].mean() for r in rows])
    found = subsample(draws, values.mean(), 400, 200, 0.95)
    assert found.standard_error == pytest.approx(values.std(ddof=1) / 20, rel=0.08)
    assert found.low < values.mean() < found.high


def test_subsamples_have_no_duplicates_and_depend_on_the_seed_alone():
    rows = subsamples(50, 20, 5, seed=1)
    assert all(len(set(r.tolist())) == 20 for r in rows)
    assert all(torch.equal(a, b) for a, b in zip(rows, subsamples(50, 20, 5, seed=1), strict=True))


@pytest.mark.slow
def test_intervals_cover_the_score_of_the_population():
    """Mean over the layer pair of 300 samples from a known population: at least 85 % of 95 % intervals hold the large-n value."""
    chosen = metric("unbiased_cka")
    mix = torch.randn(4, 10, generator=torch.Generator().manual_seed(0))

    def draw(n, seed):
        generator = torch.Generator().manual_seed(seed)
        z = torch.randn(n, 4, generator=generator)
        return [z @ m + torch.randn(n, 5, generator=generator) for m in mix.split(5, dim=1)]

    truth = chosen(*draw(4000, 10_000))
    for method in ("jackknife", "subsample"):
        intervals = [
            align(*([layer] for layer in draw(300, seed)), metric=chosen, normalize=False, ci=method).interval
            for seed in range(60)
        ]
        covered = np.mean([i.low <= truth <= i.high for i in intervals])
        assert covered >= 0.85, (method, covered)


def test_metrics_that_can_restrict_their_state_are_not_prepared_again(make_layers):
    class Restricting:
        def prepare(self, layers):
            return {str(i): layer for i, layer in enumerate(layers)}

        def score_pairs(self, x, y):
            return torch.stack([torch.stack([(a[:, 0] * b[:, 0]).mean() for b in y.values()]) for a in x.values()])

        def subset(self, state, rows):
            return {name: layer[rows] for name, layer in state.items()}

    from interp_plugins.methods.align.metric_choice import resolve

    x, y, chosen = LayerBank(make_layers(2)), LayerBank(make_layers(2, seed=3)), resolve(Restricting())
    rows = subsamples(64, 30, 3, seed=0)
    restricted = subsampled_scores(chosen, x, y, rows, (chosen.prepare(x), chosen.prepare(y)))
    np.testing.assert_allclose(restricted, subsampled_scores(chosen, x, y, rows))


def test_a_metric_that_gives_no_number_on_parts_of_the_samples_has_no_interval():
    class Fussy:
        def prepare(self, layers):
            return {"x": torch.stack([layer @ layer.T for layer in layers])}

        def score_pairs(self, x, y):
            scores = torch.einsum("inm,jnm->ij", x["x"], y["x"])
            return scores if x["x"].shape[1] == 24 else scores * float("nan")

    x = torch.randn(24, 3, generator=torch.Generator().manual_seed(0))
    align([x], [x], metric=Fussy())
    with pytest.raises(DataError, match=r"24 samples are too few .* not a number on parts of 12 samples"):
        align([x], [x], metric=Fussy(), ci="subsample")


def test_sizes_of_the_grid_are_checked():
    assert parse_grid("auto", 300) == [75, 150, 300]
    assert parse_grid("64,16", 64) == [16, 64]
    for text in ("a,b", "2,64", "64,128"):
        with pytest.raises(UsageError, match="n-grid"):
            parse_grid(text, 64)


def test_mutual_knn_fades_with_the_number_of_samples_when_k_is_fixed():
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(400, 3, generator=generator)
    x, y = ([z @ torch.randn(3, 16, generator=generator) + torch.randn(400, 16, generator=generator)] for _ in range(2))
    points = grid(metric("mutual_knn", topk=10), LayerBank(x), LayerBank(y), [50, 400], top, seed=0)
    assert points[0].mean > points[1].mean + points[0].deviation
    assert points[0].null == pytest.approx(10 / 49, abs=0.03)
    assert points[1].null == pytest.approx(10 / 399, abs=0.01)


def test_the_command_reports_intervals_and_curves(tmp_path, ctx, make_layers):
    paths = []
    for seed in (1, 2):
        paths.append(str(tmp_path / f"m{seed}.npy"))
        np.save(paths[-1], np.stack([a.numpy() for a in make_layers(2, seed=seed)], axis=1))
    config = AlignConfig(models=paths, metric=[MutualKnnConfig(), SvccaConfig(dim=3)], permutations="off", ci="auto")
    config.ci_draws, config.n_grid = 20, "32,64"
    result = run_align(config, ctx)
    first, second = result.data["pairs"]
    assert first["low"] < first["score"] < first["high"]
    assert first["interval"]["method"] == "jackknife"
    assert second["interval"]["method"].startswith("20 subsamples")
    assert [point["n"] for point in first["curve"]] == [32, 64]
    assert any("number of samples" in figure.title for figure in result.figures)

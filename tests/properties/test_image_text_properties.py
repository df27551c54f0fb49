"""Invariances of losses, scores and cuts."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interp_plugins.losses.cka import debiased_linear_cka, linear_cka
from interp_plugins.losses.contrastive import info_nce
from interp_plugins.losses.spectral import cross_singular_values
from interp_plugins.methods.bench.intervals import wilson_interval
from interp_plugins.methods.bench.retrieval import retrieval
from interp_plugins.methods.cuts.bipartite import bipartite

seeds = st.integers(0, 10_000)
few = settings(max_examples=15, deadline=None, derandomize=True)


def pair(seed: int, n: int, d: int = 6, e: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return x, torch.randn(n, e, generator=generator, dtype=torch.float64) + x[:, :1]


def rotation(seed: int, d: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64))[0]


@few
@given(seeds, st.integers(4, 20), st.floats(1e-3, 1e3))
def test_cka_does_not_change_with_scale_rotation_or_the_order_of_pairs_and_is_symmetric(seed, n, factor):
    x, y = pair(seed, n)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    for measure in (linear_cka, debiased_linear_cka):
        value = measure(x, y)
        torch.testing.assert_close(measure(factor * x @ rotation(seed, 6), y), value, atol=1e-9, rtol=0)
        torch.testing.assert_close(measure(x[order], y[order]), value, atol=1e-9, rtol=0)
        torch.testing.assert_close(measure(y, x), value, atol=1e-9, rtol=0)
    assert 0 <= linear_cka(x, y) <= 1 + 1e-12


@few
@given(seeds, st.integers(2, 12))
def test_infonce_is_positive_symmetric_and_blind_to_a_common_rotation(seed, n):
    x, y = pair(seed, n)
    value = info_nce(x, y, 5.0)
    assert value > 0
    torch.testing.assert_close(info_nce(y, x, 5.0), value)
    turn = rotation(seed, 6)
    torch.testing.assert_close(info_nce(x @ turn, y @ turn, 5.0), value)


@few
@given(seeds, st.integers(2, 12))
def test_singular_values_of_unit_rows_add_up_to_at_most_one_and_do_not_change_with_rotations(seed, n):
    x, y = pair(seed, n)
    values = cross_singular_values(x, y)
    assert values.sum() <= 1 + 1e-9
    assert (values.diff() <= 1e-12).all()
    torch.testing.assert_close(cross_singular_values(x @ rotation(seed, 6), y), values, atol=1e-9, rtol=0)


@few
@given(seeds, st.integers(2, 25))
def test_retrieval_does_not_change_with_the_order_of_the_pairs_and_chance_lies_between(seed, n):
    x, y = pair(seed, n)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    found, moved = retrieval(x, y), retrieval(x[order], y[order])
    for way in ("i2t", "t2i"):
        assert found[way] == moved[way] | {"mean_rank": found[way]["mean_rank"]}
        assert abs(found[way]["mean_rank"] - moved[way]["mean_rank"]) < 1e-9
        assert found[way]["recall@1"] <= found[way]["recall@5"] <= found[way]["recall@10"] <= 1
        assert 1 <= found[way]["median_rank"] <= n
        assert 0 < found["chance"][way]["recall@1"] <= found["chance"][way]["recall@10"] <= 1


@few
@given(seeds, st.integers(3, 15), st.integers(3, 15), st.floats(1e-3, 1e3))
def test_the_bipartite_spectrum_lies_in_the_unit_interval_and_does_not_change_with_scale_or_transposition(
    seed, h, w, factor
):
    affinity = torch.rand(h, w, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 1e-3
    cut = bipartite(affinity, 2)
    assert abs(cut.sigma[0] - 1) < 1e-9
    assert ((cut.sigma >= -1e-12) & (cut.sigma <= 1 + 1e-9)).all()
    torch.testing.assert_close(bipartite(factor * affinity, 2).sigma, cut.sigma, atol=1e-9, rtol=0)
    torch.testing.assert_close(bipartite(affinity.T, 2).sigma, cut.sigma, atol=1e-9, rtol=0)
    assert 0 <= cut.cut_value <= 2
    assert len(cut.laplacian_eigenvalues) == h + w


@few
@given(st.integers(1, 2000), st.floats(0, 1))
def test_wilson_intervals_hold_the_share_and_shrink_with_more_items(n, share):
    low, high = wilson_interval(share, n)
    assert 0 <= low <= share + 1e-12
    assert share - 1e-12 <= high <= 1
    wider_low, wider_high = wilson_interval(share, n / 2)
    assert high - low <= wider_high - wider_low + 1e-12

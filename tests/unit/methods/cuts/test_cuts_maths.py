"""Graphs, solvers, discretisation and the bipartite cut."""

import numpy as np
import pytest
import scipy.linalg
import torch
from sklearn.metrics import adjusted_rand_score

from interp_plugins.methods.cuts.bipartite import bipartite, normalised_cut_value
from interp_plugins.methods.cuts.discretise import k_way_labels
from interp_plugins.methods.cuts.graphs import FeatureGraph, MatrixGraph, median_distance, multiply, to_affinity
from interp_plugins.methods.cuts.solvers import SolverOptions, solve, value_errors
from interp_plugins.methods.cuts.spectrum import eigengap_clusters, fixed_signs
from interp_registry.errors import DataError, UsageError


def planted_features(n: int, d: int, k: int, spread: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(k, (n,), generator=generator)
    return torch.randn(k, d, generator=generator)[labels] + spread * torch.randn(n, d, generator=generator), labels


def planted_blocks(seed: int, h: int = 50, w: int = 29, k: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    rows, columns = torch.arange(h) % k, torch.randperm(w, generator=generator) % k
    affinity = 0.15 * torch.rand(h, w, generator=generator)
    return (
        affinity + (rows[:, None] == columns[None, :]) * (0.5 + 0.5 * torch.rand(h, w, generator=generator)),
        rows,
        columns,
    )


def smallest_cosine(first: torch.Tensor, second: torch.Tensor) -> float:
    one, other = torch.linalg.qr(first)[0], torch.linalg.qr(second)[0]
    return torch.linalg.svdvals(one.T @ other).min().item()


@pytest.mark.parametrize("seed", range(20))
def test_planted_blocks_are_found_and_counted(seed):
    affinity, rows, columns = planted_blocks(seed)
    for cut in (bipartite(affinity, n_clusters=3), bipartite(affinity)):
        assert cut.n_clusters == 3
        assert adjusted_rand_score(torch.cat([rows, columns]), cut.labels) >= 0.99


def test_the_bipartite_spectrum_is_that_of_the_whole_graph():
    affinity = planted_blocks(0)[0].double()
    h, w = affinity.shape
    whole = torch.zeros(h + w, h + w, dtype=torch.float64)
    whole[:h, h:], whole[h:, :h] = affinity, affinity.T
    scale = whole.sum(dim=1).rsqrt()
    right = scipy.linalg.eigvalsh((torch.eye(h + w) - scale[:, None] * whole * scale[None, :]).numpy())
    np.testing.assert_allclose(bipartite(affinity, 3).laplacian_eigenvalues, right, atol=1e-10)


def test_permuting_rows_and_columns_permutes_labels_and_vectors():
    affinity = planted_blocks(4)[0]
    generator = torch.Generator().manual_seed(1)
    rows, columns = (torch.randperm(size, generator=generator) for size in affinity.shape)
    cut, moved = bipartite(affinity), bipartite(affinity[rows][:, columns])
    assert torch.equal(moved.row_labels, cut.row_labels[rows])
    assert torch.equal(moved.column_labels, cut.column_labels[columns])
    torch.testing.assert_close(moved.row_vectors[:, :3], cut.row_vectors[rows][:, :3], atol=1e-8, rtol=0)


def test_a_large_matrix_takes_the_leading_vectors_only_and_they_are_the_same(monkeypatch):
    affinity = planted_blocks(2, h=400, w=120, k=4)[0]
    complete = bipartite(affinity, 4)
    monkeypatch.setattr("interp_plugins.methods.cuts.bipartite.FULL_SVD_WORK", 0)
    leading = bipartite(affinity, 4)
    assert leading.sigma.shape == (32,)
    torch.testing.assert_close(leading.sigma, complete.sigma[:32], atol=1e-9, rtol=0)
    torch.testing.assert_close(leading.row_vectors[:, :4], complete.row_vectors[:, :4], atol=1e-7, rtol=0)
    assert torch.equal(leading.labels, complete.labels)


@pytest.mark.parametrize(
    ("affinity", "message"),
    [
        (torch.tensor([[1.0, -0.1], [0.2, 1.0]]), "-0.1"),
        (torch.tensor([[1.0, float("nan")], [0.2, 1.0]]), "not finite"),
        (torch.tensor([[1.0, 0.0], [1.0, 0.0]]), "column 1"),
        (torch.zeros(3), r"\[3\]"),
    ],
)
def test_affinities_that_cannot_be_cut_are_refused(affinity, message):
    with pytest.raises(DataError, match=message):
        bipartite(affinity, 2)


def test_more_clusters_than_columns_are_refused():
    with pytest.raises(DataError, match="9 clusters"):
        bipartite(torch.ones(10, 4), 9)


def test_cut_value_is_zero_for_separate_blocks_and_grows_with_edges_between():
    separate = torch.block_diag(torch.ones(3, 2), torch.ones(4, 5)).double()
    rows, columns = torch.tensor([0] * 3 + [1] * 4), torch.tensor([0] * 2 + [1] * 5)
    assert normalised_cut_value(separate, rows, columns, 2) == 0
    assert normalised_cut_value(separate + 0.1, rows, columns, 2) > 0.15


@pytest.mark.parametrize("n", [200, 900])
def test_dense_eigenvalues_agree_with_scipy(n):
    features, labels = planted_features(n, 16, 5, 0.5, seed=n)
    graph = FeatureGraph(features, dtype=torch.float64)
    affinity = graph.block(slice(None), slice(None))
    scale = affinity.sum(dim=1).rsqrt()
    right = 1 - scipy.linalg.eigvalsh((affinity * scale[:, None] * scale[None, :]).numpy())[::-1][:8]
    spectrum = solve(graph, 8)
    assert spectrum.solver == "dense"
    np.testing.assert_allclose(spectrum.eigenvalues, right, atol=1e-9)
    assert adjusted_rand_score(labels, k_way_labels(spectrum.eigenvectors[:, :5], spectrum.degrees)) == 1.0


def test_refined_nystroem_agrees_with_the_dense_solver():
    features, labels = planted_features(1500, 24, 6, 0.8, seed=0)
    graph = FeatureGraph(features)
    exact = solve(FeatureGraph(features, sigma=graph.sigma, dtype=torch.float64), 7, SolverOptions(solver="dense"))
    refined = solve(graph, 7)
    assert refined.solver.startswith("nystroem+")
    assert (refined.eigenvalues - exact.eigenvalues).abs().max() < 1e-4
    assert smallest_cosine(refined.eigenvectors[:, :6], exact.eigenvectors[:, :6]) > 0.999
    assert adjusted_rand_score(labels, k_way_labels(refined.eigenvectors[:, :6], refined.degrees)) >= 0.99


def test_refinement_goes_on_until_the_eigenvalues_are_right_to_a_millionth():
    features, _ = planted_features(2500, 24, 6, 0.8, seed=1)
    graph = FeatureGraph(features)
    exact = solve(FeatureGraph(features, sigma=graph.sigma, dtype=torch.float64), 6, SolverOptions(solver="dense"))
    error = (solve(graph, 6).eigenvalues - exact.eigenvalues).abs().max()
    once = (solve(graph, 6, SolverOptions(n_refine=1)).eigenvalues - exact.eigenvalues).abs().max()
    never = (solve(graph, 6, SolverOptions(n_refine=0)).eigenvalues - exact.eigenvalues).abs().max()
    assert error < 1e-7
    assert error < once < never


@pytest.mark.slow
def test_large_graphs_are_refined_by_default_to_a_ten_thousandth():
    features, labels = planted_features(9000, 64, 8, 1.0, seed=0)
    graph = FeatureGraph(features)
    right = solve(graph, 8, SolverOptions(n_refine=8))
    found = solve(graph, 8)
    assert found.solver == "nystroem+1"
    assert (found.eigenvalues - right.eigenvalues).abs().max() < 1e-4
    assert smallest_cosine(found.eigenvectors, right.eigenvectors) > 0.999
    assert adjusted_rand_score(labels, k_way_labels(found.eigenvectors, found.degrees)) >= 0.99


def test_the_estimated_errors_of_ritz_values_cover_the_true_ones():
    generator = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(60, 60, generator=generator, dtype=torch.float64))[0]
    true = torch.cat([torch.tensor([1.0, 0.9, 0.8], dtype=torch.float64), torch.linspace(0.3, 0, 57).double()])
    matrix = turn @ torch.diag(true) @ turn.T
    start = turn[:, :6] + 0.005 * torch.randn(60, 6, generator=generator, dtype=torch.float64)
    basis = torch.linalg.qr(start)[0]
    values, mix = torch.linalg.eigh(basis.T @ matrix @ basis)
    values, vectors = values.flip(0), basis @ mix.flip(1)
    errors = value_errors(values, (matrix @ vectors - vectors * values).norm(dim=0))
    assert ((values - true[:6]).abs()[:3] <= errors[:3]).all()
    assert errors[:3].max() < 0.01
    assert (values - true[:6]).abs()[:3].max() > 1e-6


@pytest.mark.parametrize("solver", ["dense", "nystroem", "ncut"])
def test_two_runs_are_equal_in_every_bit_and_leave_the_global_generator_alone(solver):
    features, _ = planted_features(1200, 12, 4, 0.6, seed=2)
    before = torch.get_rng_state()
    first, second = (solve(FeatureGraph(features), 6, SolverOptions(solver=solver, seed=5)) for _ in range(2))
    assert torch.equal(first.eigenvectors, second.eigenvectors)
    assert torch.equal(first.eigenvalues, second.eigenvalues)
    assert torch.equal(before, torch.get_rng_state())


def test_the_ncut_back_end_finds_the_same_clusters():
    features, labels = planted_features(600, 12, 4, 0.4, seed=3)
    graph = FeatureGraph(features)
    back_end = solve(graph, 5, SolverOptions(solver="ncut"))
    assert (back_end.eigenvalues - solve(graph, 5).eigenvalues).abs().max() < 5e-4
    assert adjusted_rand_score(labels, k_way_labels(back_end.eigenvectors[:, :4], back_end.degrees)) >= 0.99


@pytest.mark.parametrize("n_each", [40, 300])
def test_separate_blocks_have_as_many_zero_eigenvalues(n_each):
    generator = torch.Generator().manual_seed(0)
    blocks = [torch.rand(n_each, n_each, generator=generator) + 0.1 for _ in range(3)]
    graph = MatrixGraph(torch.block_diag(*[block + block.T for block in blocks]))
    values = solve(graph, 5).eigenvalues
    assert values[:3].abs().max() < 1e-6
    assert values[3] > 0.5
    assert eigengap_clusters(values) == 3


def test_affinity_times_vectors_is_the_same_in_blocks(monkeypatch):
    monkeypatch.setattr("interp_plugins.methods.cuts.graphs.BLOCK", 64)
    features, _ = planted_features(150, 5, 2, 1.0, seed=1)
    graph = FeatureGraph(features, "exp", dtype=torch.float64)
    vectors = torch.randn(150, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    everything = graph.block(slice(None), slice(None))
    torch.testing.assert_close(multiply(graph, vectors), everything @ vectors)


@pytest.mark.parametrize("kind", ["cosine", "relu", "exp"])
def test_affinities_of_cosines_rise_with_the_cosine_and_are_never_negative(kind):
    cosines = torch.linspace(-1, 1, 21)
    affinity = to_affinity(cosines, kind)
    assert (affinity >= 0).all()
    assert (affinity.diff() >= 0).all()
    assert affinity[-1] == pytest.approx(1, abs=2e-6)


def test_signs_do_not_depend_on_the_order_or_the_given_sign():
    vectors = torch.randn(30, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(fixed_signs(-vectors[order]), fixed_signs(vectors)[order])
    assert (fixed_signs(vectors).amax(dim=0) >= -fixed_signs(vectors).amin(dim=0)).all()


def test_graphs_that_make_no_sense_are_refused():
    with pytest.raises(DataError, match="median distance is 0"):
        median_distance(torch.ones(10, 3))
    with pytest.raises(DataError, match="not symmetric"):
        MatrixGraph(torch.tensor([[1.0, 0.5], [0.1, 1.0]]))
    with pytest.raises(DataError, match="no edge"):
        MatrixGraph(torch.diag(torch.tensor([1.0, 0.0])))
    with pytest.raises(UsageError, match="rbf"):
        solve(MatrixGraph(torch.ones(5, 5)), 2, SolverOptions(solver="ncut"))
    with pytest.raises(DataError, match="9 eigenvectors"):
        solve(MatrixGraph(torch.ones(5, 5)), 9)
    with pytest.raises(DataError, match="temperature"):
        to_affinity(torch.ones(2), "exp", 0.0)
    with pytest.raises(DataError, match="n_clusters"):
        eigengap_clusters(torch.tensor([0.0, 0.1]))

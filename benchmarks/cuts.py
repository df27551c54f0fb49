"""Normalised cuts beside scikit-learn's SpectralClustering and ncut-pytorch: CPU time and accuracy in one run.

    OMP_NUM_THREADS=1 python benchmarks/cuts.py [--sizes 1000,3000,10000,50000] [--d 64]

All three are given the same Gaussian affinity of the same planted clusters; each is timed from features to labels, in CPU seconds.
Accuracy is the smallest principal cosine between its leading eigenvectors and exact ones, the largest error of their eigenvalues, and
the adjusted Rand index of its labels. Exact is SciPy's eigsh on the exact affinity up to ``--exact-up-to`` nodes; above, six passes of
subspace iteration over the exact affinity, whose squared residuals are printed too; ``--no-reference`` leaves that out.
"""

import argparse
import time

import numpy as np
import scipy.sparse.linalg
import torch
from ncut_pytorch import Ncut, kway_ncut
from sklearn.cluster import SpectralClustering
from sklearn.metrics import adjusted_rand_score

from interp_plugins.methods.cuts.discretise import k_way_labels
from interp_plugins.methods.cuts.graphs import FeatureGraph, KeptBlocks, median_distance, multiply
from interp_plugins.methods.cuts.solvers import SolverOptions, solve


def planted(n, d, k, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(k, (n,), generator=generator)
    return torch.randn(k, d, generator=generator)[labels] + torch.randn(n, d, generator=generator), labels


def exact(graph, k):
    """Leading eigenpairs by Lanczos on the exact affinity, in blocks."""
    kept = KeptBlocks(graph)
    scale = multiply(kept, torch.ones(graph.n, 1, dtype=torch.float64)).rsqrt()

    def product(vector):
        return (scale * multiply(kept, scale * torch.from_numpy(vector.reshape(-1, 1)))).numpy().ravel()

    operator = scipy.sparse.linalg.LinearOperator((graph.n, graph.n), matvec=product, dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(graph.n)
    values, vectors = scipy.sparse.linalg.eigsh(operator, k=k, which="LA", v0=start, tol=1e-8, ncv=40)
    order = np.argsort(-values)
    return 1 - torch.from_numpy(values[order]), torch.from_numpy(vectors[:, order].copy())


def iterated(graph, k):
    """Leading eigenpairs by six passes over the exact affinity, and the largest squared residual of a seventh."""
    found = solve(graph, k, SolverOptions(solver="nystroem", n_refine=6))
    scale = found.degrees.rsqrt()[:, None]
    residual = scale * multiply(graph, scale * found.eigenvectors) - found.eigenvectors * (1 - found.eigenvalues)
    print(f"reference at {graph.n} nodes: squared residuals up to {residual.square().sum(0).max():.1e}", flush=True)
    return found.eigenvalues, found.eigenvectors


def smallest_cosine(first, second):
    one, other = torch.linalg.qr(first.double())[0], torch.linalg.qr(second.double())[0]
    return torch.linalg.svdvals(one.T @ other).min().item()


def ours(x, k, sigma):
    spectrum = solve(FeatureGraph(x, sigma=sigma), k)
    return spectrum.eigenvalues, spectrum.eigenvectors, k_way_labels(spectrum.eigenvectors, spectrum.degrees)


def ncut_pytorch(x, k, sigma):
    torch.manual_seed(0)
    cut = Ncut(n_eig=k, sigma=sigma)
    vectors = cut.fit_transform(x)
    return (
        1 - cut.eigval.double() if cut.eigval[0] > 0.5 else cut.eigval.double(),
        vectors,
        kway_ncut(vectors).argmax(1),
    )


def sklearn(x, k, sigma):
    found = SpectralClustering(k, gamma=1 / (2 * sigma**2), random_state=0).fit(x.numpy())
    return None, None, torch.from_numpy(found.labels_)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="1000,3000,10000,50000")
    parser.add_argument("--d", type=int, default=64)
    parser.add_argument("--k", type=int, default=8)
    parser.add_argument("--sklearn-up-to", type=int, default=10_000)
    parser.add_argument("--exact-up-to", type=int, default=16_000)
    parser.add_argument("--no-reference", action="store_true", help="no accuracy above --exact-up-to")
    options = parser.parse_args()
    ours(*planted(500, options.d, options.k, 1)[:1], options.k, 10.0)
    ncut_pytorch(planted(500, options.d, options.k, 1)[0], options.k, 10.0)
    print(f"{'n':>6} {'solver':<14}{'CPU s':>8}{'x ours':>8}{'cosine':>10}{'eigenvalue error':>18}{'ARI':>7}")
    for n in map(int, options.sizes.split(",")):
        x, labels = planted(n, options.d, options.k, n)
        sigma = median_distance(x)
        right = None
        if n <= options.exact_up_to:
            right = exact(FeatureGraph(x, sigma=sigma), options.k)
        elif not options.no_reference:
            right = iterated(FeatureGraph(x, sigma=sigma), options.k)
        solvers = {"ours": ours, "ncut-pytorch": ncut_pytorch}
        if n <= options.sklearn_up_to:
            solvers["scikit-learn"] = sklearn
        base = None
        for name, run in solvers.items():
            start = time.process_time()
            values, vectors, found = run(x, options.k, sigma)
            spent = time.process_time() - start
            base = base or spent
            known = right is not None and vectors is not None
            cosine = f"{smallest_cosine(vectors, right[1]):.6f}" if known else "-"
            error = f"{(values - right[0]).abs().max():.1e}" if known else "-"
            print(
                f"{n:>6} {name:<14}{spent:>8.2f}{spent / base:>8.2f}{cosine:>10}{error:>18}"
                f"{adjusted_rand_score(labels, found):>7.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()

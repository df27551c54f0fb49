"""Calibrated alignment of two models against the published package `calibrated-similarity`, in one process.

    python benchmarks/align_calibrated.py                # the peer on a size that it can finish, and the full size extrapolated
    python benchmarks/align_calibrated.py --large 50000  # also one layer pair of 50,000 samples, in blocks

Both are given the same permutations and must agree. The peer takes any function of two matrices and calls it
(K + 1) x Lx x Ly times; the functions here are the ones its own documentation shows. Its time at the full size is one call measured at
that size times the number of calls (marked with ~).
"""

import argparse
import resource
import time

import torch
from calibrated_similarity import calibrate_layers

from interp_plugins.methods.align.api import align
from interp_plugins.methods.align.calibration import permutations

TOPK = 10


def make_model(n, width, n_layers, seed):
    generator = torch.Generator().manual_seed(seed)
    latent = torch.randn(n, 20, generator=torch.Generator().manual_seed(0))
    mixes = [torch.randn(20, width, generator=generator) for _ in range(n_layers)]
    return [latent @ mix + 4 * torch.randn(n, width, generator=generator) for mix in mixes]


def cka(x, y):
    x, y = x - x.mean(0), y - y.mean(0)
    k, m = x @ x.T, y @ y.T
    return (k * m).sum() / (k.norm() * m.norm())


def mutual_knn(x, y):
    masks = []
    for z in (x, y):
        products = z @ z.T
        products.fill_diagonal_(-torch.inf)
        masks.append(torch.zeros_like(products).scatter_(1, products.topk(TOPK).indices, 1.0))
    return (masks[0] * masks[1]).sum() / (len(x) * TOPK)


PEERS = {"mutual_knn": mutual_knn, "cka": cka}


def cpu(function):
    start = time.process_time()
    result = function()
    return time.process_time() - start, result


def ours(name, x, y, n_permutations):
    return cpu(lambda: align(x, y, metric=name, topk=TOPK, normalize=False, null=n_permutations))


def compare(name, options):
    """Both on a small size, with the same permutations."""
    x, y = (make_model(options.small, 64, layers, seed) for layers, seed in ((3, 1), (2, 2)))
    spent, found = ours(name, x, y, options.small_permutations)
    queue = list(permutations(options.small, options.small_permutations, 0))
    peer = calibrate_layers
    theirs, (score, p_value, tau) = cpu(
        lambda: peer(x, y, PEERS[name], K=options.small_permutations, perm_fn=lambda *_: queue.pop(0))
    )
    worst = max(
        abs(found.calibrated - float(score)), abs(found.threshold - float(tau)), abs(found.p_value - float(p_value))
    )
    size = f"n = {options.small}, 3 x 2 layers, K = {options.small_permutations}"
    print(
        f"{name:<12} {size:<34} peer {theirs:>9.2f} s   ours {spent:>7.3f} s   {theirs / spent:>6.0f}x   differs {worst:.1e}"
    )


def full(name, options):
    """Ours at the full size; the peer's one call times the number of calls."""
    x, y = (make_model(options.n, w, n, s) for w, n, s in zip((1024, 768), options.layers, (1, 2), strict=True))
    calls = len(x) * len(y) * (options.permutations + 1)
    one = min(cpu(lambda: PEERS[name](x[0], y[0]))[0] for _ in range(3))
    spent, _ = ours(name, x, y, options.permutations)
    size = f"n = {options.n}, {len(x)} x {len(y)} layers, K = {options.permutations}"
    print(
        f"{name:<12} {size:<34} peer ~{one * calls:>8.0f} s   ours {spent:>7.2f} s   {one * calls / spent:>6.0f}x",
        flush=True,
    )


def growth(name):
    """What a further permutation, and a further pair of layers, cost: constant when the whole is linear in both."""
    x, y = make_model(512, 128, 16, 1), make_model(512, 128, 8, 2)
    ours(name, x[:1], y[:1], 2)
    by_k = {k: ours(name, x[:8], y, k)[0] for k in (40, 80, 160, 320)}
    slope = {k: f"{1e3 * (by_k[2 * k] - by_k[k]) / k:.2f}" for k in (40, 80, 160)}
    print(f"{name:<12} ms per further permutation (8 x 8 layers, n = 512): {slope}")
    by_pairs = {n: ours(name, x[:n], y, 200)[0] / (8 * n) for n in (2, 4, 8, 16)}
    print(
        f"{name:<12} ms per pair of layers, K = 200 (layers x 8): "
        + str({n: f"{1e3 * s:.1f}" for n, s in by_pairs.items()})
    )


def large(options):
    """One pair of layers of many samples, exact neighbours in blocks."""
    x, y = make_model(options.large, 64, 1, 1), make_model(options.large, 64, 1, 2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    spent, found = ours("mutual_knn", x, y, 5)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    gram = options.large**2 * 4 / 2**20
    print(
        f"mutual_knn   n = {options.large}, 1 pair, K = 5: {spent:.0f} s, memory grew by {grown:.0f} MiB (one Gram: {gram:.0f} MiB), "
        f"score {found.best.score:.4f}, null {found.null.mean():.5f}, k/(n-1) = {TOPK / (options.large - 1):.5f}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=1024)
    parser.add_argument("--layers", type=int, nargs=2, default=(24, 12))
    parser.add_argument("--permutations", type=int, default=200)
    parser.add_argument("--small", type=int, default=128, help="samples where the peer is run to its end")
    parser.add_argument("--small-permutations", type=int, default=50)
    parser.add_argument("--large", type=int, default=0, help="samples of a layer pair in blocks; 0 for none")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in PEERS:
        compare(name, options)
    for name in PEERS:
        full(name, options)
    for name in PEERS:
        growth(name)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    if options.large:
        large(options)


if __name__ == "__main__":
    main()

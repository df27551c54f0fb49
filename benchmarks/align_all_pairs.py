"""All pairs of layers of two models: the library against one call per pair, written from the definitions.

    python benchmarks/align_all_pairs.py                     # a few pairs measured, the loop over all of them extrapolated
    python benchmarks/align_all_pairs.py --pairs 20 --repeats 5

The loop computes what each definition says for two matrices, with whole-matrix operations and nothing shared between calls: neighbours,
Grams and bases are made anew for every pair. CPU seconds in one process, so that other work on the machine matters less; the loop is
measured on a few pairs spread over the matrix and multiplied (marked with ~). The GEMM bound is the time of one Gram product per layer.
"""

import argparse
import statistics
import time

import numpy as np
import torch

from interp_plugins.methods.align.metric_choice import metric
from interp_plugins.metrics.layer_bank import LayerBank

METRICS = ["mutual_knn", "cycle_knn", "lcs_knn", "edit_distance_knn", "cka", "unbiased_cka", "cknna", "svcca"]
TOPK, DIM = 10, 10


def make_model(n, width, n_layers, seed):
    """Layers that share a latent with a decaying spectrum, as layers of a network do."""
    generator = torch.Generator().manual_seed(seed)
    latent = torch.randn(n, 40, generator=torch.Generator().manual_seed(0)) * torch.linspace(2, 0.5, 40)
    layers = [
        latent @ torch.randn(40, width, generator=generator)
        + (1 + 0.1 * i) * torch.randn(n, width, generator=generator)
        for i in range(n_layers)
    ]
    return [torch.nn.functional.normalize(layer, dim=1) for layer in layers]


def neighbour_lists(x):
    products = x @ x.T
    products.fill_diagonal_(-torch.inf)
    return products.argsort(dim=1, descending=True)[:, :TOPK]


def membership(x):
    lists = neighbour_lists(x)
    return lists, torch.zeros(len(x), len(x)).scatter_(1, lists, 1.0)


def loop_mutual_knn(x, y):
    return float((membership(x)[1] * membership(y)[1]).sum() / (len(x) * TOPK))


def loop_cycle_knn(x, y):
    mask, lists = membership(x)[1], neighbour_lists(y)
    return float(torch.gather(mask.T, 1, lists).any(dim=1).float().mean())


def lcs_length(a, b):
    row = [0] * (len(b) + 1)
    for p in a:
        last = 0
        for j, q in enumerate(b, 1):
            last, row[j] = row[j], last + 1 if p == q else max(row[j], row[j - 1])
    return row[-1]


def levenshtein(a, b):
    row = list(range(len(b) + 1))
    for i, p in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, q in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (p != q))
    return row[-1]


def loop_lcs_knn(x, y):
    pairs = zip(neighbour_lists(x).tolist(), neighbour_lists(y).tolist(), strict=True)
    return float(np.mean([lcs_length(a, b) for a, b in pairs]))


def loop_edit_distance_knn(x, y):
    pairs = zip(neighbour_lists(x).tolist(), neighbour_lists(y).tolist(), strict=True)
    return 1 - float(np.mean([levenshtein(a, b) for a, b in pairs])) / TOPK


def hsic(k, m):
    h = torch.eye(len(k)) - 1 / len(k)
    return torch.trace(k @ h @ m @ h)


def hsic_unbiased(k, m):
    n = len(k)
    k, m = (z.clone().fill_diagonal_(0) for z in (k, m))
    middle = k.sum() * m.sum() / ((n - 1) * (n - 2))
    return ((k * m.T).sum() + middle - 2 * (k.sum(0) @ m.sum(1)) / (n - 2)) / (n * (n - 3))


def alignment(estimate, k, m):
    return float(estimate(k, m) / torch.sqrt(estimate(k, k) * estimate(m, m)))


def loop_cka(x, y):
    return alignment(hsic, x @ x.T, y @ y.T)


def loop_unbiased_cka(x, y):
    return alignment(hsic_unbiased, x @ x.T, y @ y.T)


def loop_cknna(x, y):
    k, m = x @ x.T, y @ y.T
    mask_x, mask_y = membership(x)[1], membership(y)[1]
    both = mask_x * mask_y
    own = hsic_unbiased(mask_x * k, mask_x * k) * hsic_unbiased(mask_y * m, mask_y * m)
    return float(hsic_unbiased(both * k, both * m) / torch.sqrt(own))


def loop_svcca(x, y):
    bases = []
    for z in (x.double(), y.double()):
        scored = (z - z.mean(0)) / z.std(0)
        bases.append(torch.linalg.svd(scored, full_matrices=False)[0][:, :DIM])
    return float(torch.linalg.svdvals(bases[0].T @ bases[1]).mean())


def cpu(function):
    start = time.process_time()
    result = function()
    return time.process_time() - start, result


def measure_ours(name, x, y, repeats):
    """Median CPU seconds of preparation and of the pair stage, from nothing each time, and the scores."""
    chosen = metric(name, **({"dim": DIM} if name == "svcca" else {"topk": TOPK} if "kn" in name else {}))
    prepared, paired = [], []
    for _ in range(repeats):
        seconds, states = cpu(lambda: (chosen.prepare(LayerBank(x)), chosen.prepare(LayerBank(y))))
        prepared.append(seconds)
        seconds, scores = cpu(lambda states=states: chosen.score_pairs(*states))
        paired.append(seconds)
    return statistics.median(prepared), statistics.median(paired), scores


def measure_loop(name, x, y, n_pairs, scores):
    """Median CPU seconds of one call on pairs spread over the matrix, and the largest difference to our scores."""
    places = np.linspace(0, len(x) * len(y) - 1, n_pairs).astype(int)
    seconds, worst = [], 0.0
    for place in places:
        i, j = divmod(int(place), len(y))
        spent, value = cpu(lambda i=i, j=j: globals()[f"loop_{name}"](x[i], y[j]))
        seconds.append(spent)
        worst = max(worst, abs(value - float(scores[i, j])))
    return statistics.median(seconds), worst


def gram_bound(x, y):
    return sum(cpu(lambda layer=layer: layer @ layer.T)[0] for layer in [*x, *y])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=1024)
    parser.add_argument("--layers", type=int, nargs=2, default=(24, 12))
    parser.add_argument("--widths", type=int, nargs=2, default=(1024, 768))
    parser.add_argument("--pairs", type=int, default=3, help="pairs of the loop that are measured")
    parser.add_argument("--repeats", type=int, default=3, help="repeats of ours; the median counts")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--metrics", nargs="*", default=METRICS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    x = make_model(options.n, options.widths[0], options.layers[0], seed=1)
    y = make_model(options.n, options.widths[1], options.layers[1], seed=2)
    total = len(x) * len(y)
    gram_bound(x[:2], y[:2])
    bound = min(gram_bound(x, y) for _ in range(3))
    print(
        f"n = {options.n}, {len(x)} x {len(y)} layers of widths {options.widths}, {total} pairs, {options.threads} thread(s)"
    )
    print(f"one Gram product per layer: {bound:.3f} s\n")
    print(
        f"{'metric':<18} {'loop, 1 pair':>13} {f'loop, {total}':>12} {'ours':>8} {'pairs':>9} {'per pair':>9}", end=" "
    )
    print(f"{'ratio':>7} {'/ bound':>8} {'differs':>9}")
    for name in options.metrics:
        prepared, paired, scores = measure_ours(name, x, y, options.repeats)
        one, worst = measure_loop(name, x, y, options.pairs, scores)
        ours = prepared + paired
        print(
            f"{name:<18} {one * 1e3:>10.1f} ms {'~' + format(one * total, '.1f'):>10} s {ours:>6.3f} s {paired * 1e3:>6.1f} ms "
            f"{paired / total * 1e6:>6.1f} us {one * total / ours:>6.0f}x {ours / bound:>8.2f} {worst:>9.1e}",
            flush=True,
        )
    seconds, _ = cpu(lambda: _all_shared(x, y, options.metrics))
    print(f"\nall {len(options.metrics)} metrics from one shared preparation: {seconds:.2f} s")


def _all_shared(x, y, names):
    banks = LayerBank(x, keep_grams=True), LayerBank(y, keep_grams=True)
    for name in names:
        chosen = metric(name)
        chosen.score_pairs(chosen.prepare(banks[0]), chosen.prepare(banks[1]))


if __name__ == "__main__":
    main()

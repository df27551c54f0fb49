"""Similarity metrics for two matrices, written from their definitions with loops, without regard for speed."""

import math

import numpy as np


def neighbours(x, k):
    """Ordered lists of the k samples with the largest inner products; equal ones by index."""
    lists = []
    for i in range(len(x)):
        products = [(-float(x[i] @ x[j]), j) for j in range(len(x)) if j != i]
        lists.append([j for _, j in sorted(products)[:k]])
    return lists


def mutual_knn(x, y, k):
    pairs = zip(neighbours(x, k), neighbours(y, k), strict=True)
    return float(np.mean([len(set(a) & set(b)) / k for a, b in pairs]))


def cycle_knn(x, y, k):
    in_x, in_y = neighbours(x, k), neighbours(y, k)
    return float(np.mean([any(i in in_x[j] for j in in_y[i]) for i in range(len(x))]))


def longest_common_subsequence(a, b):
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, p in enumerate(a, 1):
        for j, q in enumerate(b, 1):
            table[i][j] = table[i - 1][j - 1] + 1 if p == q else max(table[i - 1][j], table[i][j - 1])
    return table[-1][-1]


def levenshtein(a, b):
    row = list(range(len(b) + 1))
    for i, p in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, q in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (p != q))
    return row[-1]


def lcs_knn(x, y, k):
    pairs = zip(neighbours(x, k), neighbours(y, k), strict=True)
    return float(np.mean([longest_common_subsequence(a, b) for a, b in pairs]))


def edit_distance_knn(x, y, k):
    pairs = zip(neighbours(x, k), neighbours(y, k), strict=True)
    return 1 - float(np.mean([levenshtein(a, b) for a, b in pairs])) / k


def jaccard_knn(x, y, k):
    pairs = zip(neighbours(x, k), neighbours(y, k), strict=True)
    return float(np.mean([len(set(a) & set(b)) / len(set(a) | set(b)) for a, b in pairs]))


def rank_similarity(x, y, k):
    scores = []
    for a, b in zip(neighbours(x, k), neighbours(y, k), strict=True):
        common = set(a) & set(b)
        ranks = [(a.index(j) + 1, b.index(j) + 1) for j in common]
        total = sum(2 / ((1 + abs(r - s)) * (r + s)) for r, s in ranks)
        scores.append(total / sum(1 / m for m in range(1, len(common) + 1)) if common else 0.0)
    return float(np.mean(scores))


def second_order_cosine(x, y, k):
    x, y = (m / np.linalg.norm(m, axis=1, keepdims=True) for m in (x, y))
    scores = []
    for i, (a, b) in enumerate(zip(neighbours(x, k), neighbours(y, k), strict=True)):
        union = sorted(set(a) | set(b))
        u, v = x[union] @ x[i], y[union] @ y[i]
        scores.append(u @ v / (np.linalg.norm(u) * np.linalg.norm(v)))
    return float(np.mean(scores))


def _hsic(k, m):
    n = len(k)
    h = np.eye(n) - 1 / n
    return np.trace(k @ h @ m @ h)


def _hsic_unbiased(k, m):
    n, k, m, one = len(k), k.copy(), m.copy(), np.ones(len(k))
    np.fill_diagonal(k, 0)
    np.fill_diagonal(m, 0)
    middle = (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
    return (np.trace(k @ m) + middle - 2 * (one @ k @ m @ one) / (n - 2)) / (n * (n - 3))


def _rbf(x, sigma=None):
    squares = ((x[:, None] - x[None]) ** 2).sum(-1)
    if sigma is None:
        sigma = math.sqrt(sorted(squares[np.triu_indices(len(x), 1)])[(len(x) * (len(x) - 1) // 2 - 1) // 2])
    return np.exp(-squares / (2 * sigma**2))


def cka(x, y, kernel="linear", biased=True, sigma=None):
    k, m = (z @ z.T if kernel == "linear" else _rbf(z, sigma) for z in (x, y))
    hsic = _hsic if biased else _hsic_unbiased
    return hsic(k, m) / math.sqrt(hsic(k, k) * hsic(m, m))


def cknna(x, y, k, biased=False):
    grams = [z @ z.T for z in (x, y)]
    masks = []
    for gram in grams:
        mask = np.zeros_like(gram)
        for i, row in enumerate(gram):
            order = sorted(range(len(row)), key=lambda j, i=i, row=row: (j == i and not biased, -row[j]))
            mask[i, order[:k]] = 1
        masks.append(mask)

    def agreement(a, b):
        both = masks[a] * masks[b]
        return (_hsic if biased else _hsic_unbiased)(both * grams[a], both * grams[b])

    return agreement(0, 1) / math.sqrt(agreement(0, 0) * agreement(1, 1))


def svcca(x, y, dim):
    bases = []
    for z in (x, y):
        scored = (z - z.mean(0)) / z.std(0, ddof=1)
        bases.append(np.linalg.svd(scored, full_matrices=False)[0][:, :dim])
    return float(np.linalg.svd(bases[0].T @ bases[1])[1].mean())


def cca(x, y):
    """Canonical correlations from the covariance matrices."""
    x, y = x - x.mean(0), y - y.mean(0)
    inverse_x, inverse_y = np.linalg.inv(x.T @ x), np.linalg.inv(y.T @ y)
    squared = np.linalg.eigvals(inverse_x @ x.T @ y @ inverse_y @ y.T @ x).real
    rank = min(x.shape[1], y.shape[1])
    return np.sqrt(np.clip(np.sort(squared)[::-1][:rank], 0, 1))


def pwcca(x, y):
    x, y = x - x.mean(0), y - y.mean(0)
    squared, directions = np.linalg.eig(np.linalg.inv(x.T @ x) @ x.T @ y @ np.linalg.inv(y.T @ y) @ y.T @ x)
    order = np.argsort(-squared.real)[: min(x.shape[1], y.shape[1])]
    weights = []
    for index in order:
        variate = x @ directions[:, index].real
        weights.append(np.abs(variate / np.linalg.norm(variate) @ x).sum())
    correlations = np.sqrt(np.clip(squared.real[order], 0, 1))
    return float(np.average(correlations, weights=weights))


def procrustes(x, y):
    """Minimum over rotations of |X - Y Q|^2, found with scipy's solver on zero-padded matrices."""
    from scipy.linalg import orthogonal_procrustes

    width = max(x.shape[1], y.shape[1])
    x, y = (np.pad(z - z.mean(0), ((0, 0), (0, width - z.shape[1]))) for z in (x, y))
    x, y = x / np.linalg.norm(x), y / np.linalg.norm(y)
    rotation, _ = orthogonal_procrustes(y, x)
    return float(((x - y @ rotation) ** 2).sum())


def rsa(x, y, comparison, dissimilarity):
    from scipy.spatial.distance import pdist
    from scipy.stats import kendalltau, pearsonr, spearmanr

    name = {"squared": "sqeuclidean"}.get(dissimilarity, dissimilarity)
    compare = {"pearson": pearsonr, "spearman": spearmanr, "kendall": kendalltau}[comparison]
    return float(compare(pdist(x, name), pdist(y, name))[0])


def distance_correlation(x, y):
    centred = []
    for z in (x, y):
        d = np.sqrt(((z[:, None] - z[None]) ** 2).sum(-1))
        centred.append(d - d.mean(0) - d.mean(1)[:, None] + d.mean())
    a, b = centred
    return math.sqrt((a * b).mean() / math.sqrt((a * a).mean() * (b * b).mean()))


def distance_correlation_unbiased(x, y):
    n, centred = len(x), []
    for z in (x, y):
        d = np.sqrt(((z[:, None] - z[None]) ** 2).sum(-1))
        u = np.zeros_like(d)
        for i in range(n):
            for j in range(n):
                if i != j:
                    u[i, j] = d[i, j] - (d[i].sum() + d[j].sum()) / (n - 2) + d.sum() / ((n - 1) * (n - 2))
        centred.append(u)
    a, b = centred
    return (a * b).sum() / math.sqrt((a * a).sum() * (b * b).sum())


def linear_predictivity(x, y, fold, alpha):
    """Ridge regression with an intercept by its normal equations, one fold at a time."""
    residual = deviation = 0.0
    for index in range(max(fold) + 1):
        test, train = np.asarray(fold) == index, np.asarray(fold) != index
        mean_x, mean_y = x[train].mean(0), y[train].mean(0)
        a, b = x[train] - mean_x, y[train] - mean_y
        penalty = alpha * np.trace(a @ a.T) / len(a)
        weights = np.linalg.solve(a.T @ a + penalty * np.eye(a.shape[1]), a.T @ b)
        residual += ((y[test] - mean_y - (x[test] - mean_x) @ weights) ** 2).sum()
        deviation += ((y[test] - mean_y) ** 2).sum()
    return 1 - residual / deviation

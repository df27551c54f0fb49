"""Scores with each sample left out in turn, exactly and without computing anything anew.

Axis letters: n samples, k neighbours, Lx and Ly layers, c candidates for leaving out, w depth of a list (k + 1).
"""

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from interp_plugins.metrics.gram import require_enough
from interp_plugins.metrics.layer_bank import LayerBank

__all__ = ["cka_without_each", "mutual_knn_without_each"]


def mutual_knn_without_each(x: LayerBank, y: LayerBank, k: int) -> Float64[Tensor, "n Lx Ly"]:
    """Mutual k-NN of the other n - 1 samples, for each sample.

    Leaving out r changes the list of i only if r was in it: the next neighbour moves up. So lists of depth k + 1 are enough, and only
    the at most 2k samples that i has as neighbours need to be tried.
    """
    lists_x, lists_y = (bank.neighbours(k + 1)[0].long() for bank in (x, y))
    pairs = [torch.stack([_mutual_without(a, b, k) for b in lists_y], dim=1) for a in lists_x]
    return torch.stack(pairs, dim=1)


def cka_without_each(x: LayerBank, y: LayerBank, biased: bool) -> Float64[Tensor, "n Lx Ly"]:
    """Linear CKA of the other n - 1 samples, for each sample.

    The HSIC estimators are sums over pairs of samples. With centred Grams (rows sum to 0) what is to be taken off when sample r is left
    out follows from K_rr, L_rr, sum_i K_ir L_ir and, for the unbiased estimator, sum_i K_ii L_ir.

    Raises:
        DataError: The unbiased estimator has fewer than 4 samples left.
    """
    if not biased:
        require_enough(x.n - 1, "more samples")
    grams_x, grams_y = ([g.double() for g in bank.centred_grams()] for bank in (x, y))
    estimate = _hsic_without if biased else _unbiased_hsic_without
    own_x = torch.stack([estimate(g, g) for g in grams_x], dim=1)
    own_y = torch.stack([estimate(g, g) for g in grams_y], dim=1)
    cross = torch.stack([torch.stack([estimate(a, b) for b in grams_y], dim=1) for a in grams_x], dim=1)
    norms = (own_x[:, :, None] * own_y[:, None, :]).clamp(min=0).sqrt()
    return torch.where(norms > 0, cross / norms, 0.0)


def _mutual_without(a: Int64[Tensor, "n w"], b: Int64[Tensor, "n w"], k: int) -> Float64[Tensor, " n"]:
    n = a.shape[0]
    same = a[:, :, None] == b[:, None, :]
    common = same[:, :k, :k].sum(dim=(1, 2))
    own = a[:, :k]
    other = b[:, :k].masked_fill(same[:, :k, :k].any(dim=1), -1)  # those in both lists are tried once
    change = torch.zeros(n, dtype=torch.float64, device=a.device)
    for candidates in (own, other):
        kept_a = _kept(a, candidates, k)
        kept_b = _kept(b, candidates, k)
        counts = torch.einsum("ncs,nst,nct->nc", kept_a.float(), same.float(), kept_b.float()).double()
        valid = candidates >= 0
        change.index_add_(0, candidates[valid], (counts - common[:, None])[valid])
    return (common.sum() - common + change) / ((n - 1) * k)


def _kept(lists: Int64[Tensor, "n w"], candidates: Int64[Tensor, "n c"], k: int) -> Tensor:
    """Which places of the deep list make up the k neighbours when a candidate is left out: bool ``[n, c, w]``."""
    place = torch.arange(lists.shape[1], device=lists.device)
    gone = lists[:, None, :] == candidates[:, :, None]
    was_in = gone[:, :, :k].any(dim=2, keepdim=True)
    return ~gone & ((place < k) | was_in)


def _hsic_without(a: Float[Tensor, "n n"], b: Float[Tensor, "n n"]) -> Float64[Tensor, " n"]:
    """tr(K H L H) of the other samples, for each sample; Grams are centred."""
    n, product = a.shape[0], a * b
    rows, own = product.sum(dim=1), product.diagonal()
    return rows.sum() - 2 * rows + own - 2 * (rows - own) / (n - 1) + own / (n - 1) ** 2


def _unbiased_hsic_without(a: Float[Tensor, "n n"], b: Float[Tensor, "n n"]) -> Float64[Tensor, " n"]:
    """The unbiased estimate from the other samples (m = n - 1 of them), for each sample; Grams are centred."""
    m, product = a.shape[0] - 1, a * b
    own, own_a, own_b = product.diagonal(), a.diagonal(), b.diagonal()
    rows = product.sum(dim=1) - own
    trace = rows.sum() - 2 * rows
    totals = (own_a.sum() - 2 * own_a) * (own_b.sum() - 2 * own_b)
    chain = own.sum() + a @ own_b + b @ own_a - 3 * own + rows
    return (trace + totals / ((m - 1) * (m - 2)) - 2 * chain / (m - 2)) / (m * (m - 3))

"""Permuting components into the order of features, and counting what is out of place.

A causal-importance matrix has one row per feature (on its one-hot input) and one column per component. If a module should
have one component per feature, the permuted matrix is the identity; if it should have k components for all features, k
columns are full and the others empty.

Axis letters: ``f`` features, ``c`` components.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

__all__ = [
    "Expected",
    "dense_error",
    "dense_order",
    "greedy_order",
    "hungarian_order",
    "identity_error",
    "identity_order",
    "importance_l0",
    "target_errors",
]

_HUNGARIAN_LIMIT = 500


def hungarian_order(ci: Float[Tensor, "f c"]) -> Int[Tensor, "c"]:
    """Return the columns in the order that maximises the sum of the diagonal; columns left over follow, sorted."""
    rows, columns = linear_sum_assignment(-ci.detach().cpu().numpy())
    chosen = [int(column) for _, column in sorted(zip(rows, columns, strict=True))]
    return _with_rest(chosen, ci.shape[-1])


def greedy_order(ci: Float[Tensor, "f c"]) -> Int[Tensor, "c"]:
    """Return the columns in the order in which rows, one after another, take the best column still free."""
    free = torch.ones(ci.shape[-1], dtype=torch.bool)
    chosen: list[int] = []
    for row in ci[: ci.shape[-1]].detach().cpu():
        best = int(row.masked_fill(~free, -torch.inf).argmax())
        free[best] = False
        chosen.append(best)
    return _with_rest(chosen, ci.shape[-1])


def identity_order(ci: Float[Tensor, "f c"]) -> Int[Tensor, "c"]:
    """Return the Hungarian order where the smaller side is below 500, the greedy one above."""
    return hungarian_order(ci) if min(ci.shape) < _HUNGARIAN_LIMIT else greedy_order(ci)


def dense_order(ci: Float[Tensor, "f c"]) -> Int[Tensor, "c"]:
    """Return the columns by their sum, largest first."""
    return ci.sum(0).argsort(descending=True)


def _with_rest(chosen: list[int], n_columns: int) -> Int[Tensor, "c"]:
    rest = sorted(set(range(n_columns)) - set(chosen))
    return torch.tensor(chosen + rest)


def identity_error(ci: Float[Tensor, "f c"], tolerance: float) -> int:
    """Return how many entries keep the permuted matrix from being the identity.

    Counts off-diagonal entries above ``tolerance`` and diagonal ones below ``1 - tolerance``, after matching.
    """
    permuted = ci[:, hungarian_order(ci).to(ci.device)]
    size = min(permuted.shape)
    diagonal = torch.zeros_like(permuted, dtype=torch.bool)
    diagonal[range(size), range(size)] = True
    return int((permuted[~diagonal] > tolerance).sum() + (permuted[diagonal] < 1 - tolerance).sum())


def dense_error(ci: Float[Tensor, "f c"], k: int, tolerance: float, min_entries: int = 1) -> int:
    """Return what keeps the matrix from having k columns in use.

    Of the k columns with the largest sums, those with fewer than ``min_entries`` entries of at least ``1 - tolerance``;
    plus every entry above ``tolerance`` in the other columns.
    """
    permuted = ci[:, dense_order(ci)]
    full = (permuted[:, :k] >= 1 - tolerance).sum(0)
    missing = (full < min_entries).sum() + max(0, k - permuted.shape[1])
    return int(missing + (permuted[:, k:] > tolerance).sum())


def importance_l0(ci: Float[Tensor, "... c"], threshold: float) -> float:
    """Return the mean number of components per row whose importance is above a threshold."""
    return float((ci > threshold).float().sum(-1).mean())


@dataclass(frozen=True)
class Expected:
    """What a module's importance matrix should look like.

    Attributes:
        pattern: ``fnmatch`` pattern of module names.
        n_features: For an identity, its size.
        k: For a dense solution, the number of columns in use.
    """

    pattern: str
    n_features: int | None = None
    k: int | None = None


def target_errors(
    matrices: Mapping[str, Float[Tensor, "f c"]], expected: Sequence[Expected], tolerance: float
) -> dict[str, int]:
    """Return each module's error count against the first pattern that matches it; modules without one are left out.

    An identity of n features looks at the first n rows.
    """
    errors: dict[str, int] = {}
    for name, matrix in matrices.items():
        wanted = next((e for e in expected if fnmatch(name, e.pattern)), None)
        if wanted is None:
            continue
        if wanted.n_features is not None:
            errors[name] = identity_error(matrix[: wanted.n_features], tolerance)
        else:
            errors[name] = dense_error(matrix, wanted.k or 0, tolerance)
    return errors

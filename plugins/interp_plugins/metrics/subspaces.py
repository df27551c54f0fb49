"""Metrics of linear maps between layers: Procrustes distances and canonical correlations.

Axis letters: n samples, d and e features, r rank, Lx and Ly layers, K permutations.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from interp_plugins.metrics.config_variants import CcaConfig, ProcrustesConfig, PwccaConfig
from interp_plugins.metrics.gram import centre_columns
from interp_registry.contracts.metric import State
from interp_registry.errors import DataError

__all__ = ["Cca", "Procrustes", "Pwcca"]


class Procrustes:
    """Orthogonal Procrustes distance of centred layers of unit Frobenius norm.

    Squared (the default): 2 - 2 |X'Y|_*, in [0, 2], with |.|_* the nuclear norm (Ding, Denain, Steinhardt 2021, eq. 6). Angular:
    arccos |X'Y|_*, in [0, pi/2], which obeys the triangle inequality (Williams et al. 2021, eq. 9). Both are distances.

    State: ``features.0`` ... (centred, unit norm, float64).
    """

    def __init__(self, config: ProcrustesConfig) -> None:
        self.angular = config.angular
        self.info = config.describe()

    def prepare(self, layers: Sequence[Tensor]) -> State:
        """Centred layers of unit norm; a layer that is wider than long is replaced by one of equal inner products."""
        return {f"features.{index}": _shortened(centre_columns(layer.double())) for index, layer in enumerate(layers)}

    def score_pairs(self, x: State, y: State) -> Float64[Tensor, "Lx Ly"]:
        """Distances of all pairs of layers."""
        return self._scores(_layers(x), _layers(y))

    def null_pairs(self, x: State, y: State, permutations: Int64[Tensor, "K n"]) -> Float64[Tensor, "K Lx Ly"]:
        """Distances of all pairs with the samples of y permuted."""
        return torch.stack([self._scores(_layers(x), [layer[p] for layer in _layers(y)]) for p in permutations])

    def _scores(self, x: Sequence[Tensor], y: Sequence[Tensor]) -> Tensor:
        rows = [torch.stack([torch.linalg.svdvals(a.T @ b).sum() for b in y]) for a in x]
        nuclear = torch.stack(rows).clamp(max=1.0)
        return nuclear.arccos() if self.angular else 2 - 2 * nuclear


class Cca:
    """Mean canonical correlation, or mean squared canonical correlation, in [0, 1] (Hotelling 1936; Raghu et al. 2017).

    With orthonormal bases Q of the centred layers the canonical correlations are the singular values of Q_x'Q_y. Their mean is
    taken over the smaller of both ranks. Invariant to invertible linear maps and translation. A layer as wide as there are samples
    correlates perfectly with anything, so that is refused unless ``dim`` says how many leading principal components to keep.

    State: ``basis.0`` ... (float64 ``[n, r]``) and, for `Pwcca`, ``weight.0`` ....
    """

    def __init__(self, config: CcaConfig) -> None:
        self.dim, self.squared = config.dim, config.squared
        self.info = config.describe()

    def prepare(self, layers: Sequence[Tensor]) -> State:
        """Orthonormal bases of the centred layers.

        Raises:
            DataError: A layer is too wide for the number of samples and ``dim`` is not set.
        """
        state: dict[str, Tensor] = {}
        for index, layer in enumerate(layers):
            basis, loadings = self._basis(centre_columns(layer.double()), index)
            state[f"basis.{index}"] = basis
            state[f"loadings.{index}"] = loadings
        return state

    def score_pairs(self, x: State, y: State) -> Float64[Tensor, "Lx Ly"]:
        """Scores of all pairs of layers."""
        n_y = len(y) // 2
        return self._scores(x, [y[f"basis.{j}"] for j in range(n_y)])

    def null_pairs(self, x: State, y: State, permutations: Int64[Tensor, "K n"]) -> Float64[Tensor, "K Lx Ly"]:
        """Scores of all pairs with the samples of y permuted; bases are re-indexed."""
        bases = [y[f"basis.{j}"] for j in range(len(y) // 2)]
        return torch.stack([self._scores(x, [basis[p] for basis in bases]) for p in permutations])

    def _scores(self, x: State, bases_y: Sequence[Tensor]) -> Tensor:
        rows = [
            torch.stack([self.summary(x[f"basis.{i}"], x[f"loadings.{i}"], basis) for basis in bases_y])
            for i in range(len(x) // 2)
        ]
        return torch.stack(rows)

    def summary(self, basis_x: Tensor, loadings_x: Tensor, basis_y: Tensor) -> Float64[Tensor, ""]:
        """One number from the canonical correlations of two layers."""
        del loadings_x
        correlations = torch.linalg.svdvals(basis_x.T @ basis_y).clamp(max=1.0)
        return (correlations.square() if self.squared else correlations).mean()

    def _basis(self, x: Tensor, index: int) -> tuple[Tensor, Tensor]:
        """Orthonormal basis ``[n, r]`` and its products with the layer, ``[r, d]``."""
        n, d = x.shape
        left, values, right = torch.linalg.svd(x, full_matrices=False)
        tolerance = values[0] * max(n, d) * torch.finfo(torch.float32).eps
        rank = int((values > tolerance).sum())
        if self.dim is not None:
            rank = min(rank, self.dim)
        if rank >= n - 1:
            raise DataError(
                f"layer {index} has rank {rank} with {n} samples: it correlates perfectly with anything",
                f"set dim (for instance {max(1, n // 10)}) to keep leading principal components, or use more samples",
            )
        return left[:, :rank], values[:rank, None] * right[:rank]


class Pwcca(Cca):
    """Projection-weighted mean canonical correlation, in [0, 1] (Morcos, Raghu, Bengio 2018, eq. 4). Not symmetric.

    Canonical variates h of x are weighted by sum_j |<h, x_j>| over the columns x_j of x: directions that account for more of x count
    more.
    """

    def __init__(self, config: PwccaConfig) -> None:
        super().__init__(config)

    def summary(self, basis_x: Tensor, loadings_x: Tensor, basis_y: Tensor) -> Float64[Tensor, ""]:
        """Weighted mean of the canonical correlations."""
        left, correlations, _ = torch.linalg.svd(basis_x.T @ basis_y, full_matrices=False)
        weights = (left.T @ loadings_x).abs().sum(dim=1)
        values = correlations.clamp(max=1.0)
        return (weights * (values.square() if self.squared else values)).sum() / weights.sum()


def _layers(state: State) -> list[Tensor]:
    return [state[f"features.{index}"] for index in range(len(state))]


def _shortened(x: Float64[Tensor, "n d"]) -> Float64[Tensor, "n r"]:
    """Unit Frobenius norm; with d > n an equivalent n x n matrix, since only X up to rotation of its columns matters."""
    scaled = x / x.norm().clamp(min=math.sqrt(torch.finfo(x.dtype).tiny))
    return scaled if x.shape[1] <= x.shape[0] else torch.linalg.qr(scaled.T, mode="r").R.T

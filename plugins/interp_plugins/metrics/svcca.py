"""Singular vector canonical correlation analysis.

Axis letters: n samples, d features, r dimension of the subspace, Lx and Ly layers, K permutations.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from interp_plugins.metrics.config import SvccaConfig
from interp_plugins.metrics.gram import full_precision, require_precise
from interp_registry.contracts.metric import State
from interp_registry.errors import DataError

__all__ = ["Svcca", "leading_left_vectors", "standardised"]

_COLUMN_EPSILON = 1e-8
_SKETCH_ITERATIONS = 2
_DENSE = 256
_OVERSAMPLING = 6
_MOST_BLOCKS = 12
_CHECKED = (5, 7, 9)
_TOLERANCE = 1e-8


class Svcca:
    """Mean canonical correlation of the leading singular subspaces, in [0, 1].

    Columns are z-scored, U holds the first r left singular vectors, and the score is the mean singular value of U_x' U_y: the
    mean canonical correlation of U_x and U_y (Raghu et al. 2017). ``randomized`` reproduces the published sketch, of width r
    without oversampling, which falls short of the exact value.

    State: ``basis`` (``[L, n, r]``, float64) when exact; the z-scored features ``features.0`` ... when randomized, because the
    published sketch of y depends on what was drawn for x.
    """

    def __init__(self, config: SvccaConfig) -> None:
        self.dim, self.seed = config.dim, config.seed
        self.exact = config.method == "exact" and config.compat is None
        self.info = config.describe()

    def prepare(self, layers: Sequence[Tensor]) -> State:
        """Bases (exact) or standardised features (randomized) of every layer.

        Raises:
            DataError: A layer has fewer than r features, or there are not more than r samples.
        """
        for index, layer in enumerate(layers):
            if min(layer.shape[0] - 1, layer.shape[1]) < self.dim:
                raise DataError(
                    f"svcca with dim={self.dim} needs at least {self.dim} features and {self.dim + 1} samples; "
                    f"layer {index} is {tuple(layer.shape)}",
                    f"use dim={min(layer.shape[0] - 1, layer.shape[1])} or less",
                )
        if self.exact:
            return {"basis": torch.stack([leading_left_vectors(standardised(x.double()), self.dim) for x in layers])}
        return {f"features.{index}": standardised(layer) for index, layer in enumerate(layers)}

    def score_pairs(self, x: State, y: State) -> Float64[Tensor, "Lx Ly"]:
        """Scores of all pairs of layers."""
        bases_x, bases_y = self._bases(x, y)
        return _mean_correlations(bases_x, bases_y)

    def null_pairs(self, x: State, y: State, permutations: Int64[Tensor, "K n"]) -> Float64[Tensor, "K Lx Ly"]:
        """Scores of all pairs with the samples of y permuted; bases are re-indexed."""
        bases_x, bases_y = self._bases(x, y)
        return torch.stack([_mean_correlations(bases_x, bases_y[..., p, :]) for p in permutations])

    def _bases(self, x: State, y: State) -> tuple[Float[Tensor, "Lx 1 n r"], Float[Tensor, "#Lx Ly n r"]]:
        if self.exact:
            return x["basis"][:, None], y["basis"][None]
        layers_x, layers_y = _layers(x), _layers(y)
        first = [_sketched(layer, self.dim, self.seed) for layer in layers_x]
        cache: dict[tuple[int, int], Tensor] = {}
        rows = []
        for layer_x in layers_x:
            drawn = min(layer_x.shape)
            for index, layer_y in enumerate(layers_y):
                if (drawn, index) not in cache:
                    cache[drawn, index] = _sketched(layer_y, self.dim, self.seed, drawn_before=drawn)
            rows.append(torch.stack([cache[drawn, index] for index in range(len(layers_y))]))
        return torch.stack(first)[:, None], torch.stack(rows)


def standardised(x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Columns with mean 0 and (unbiased) standard deviation 1; 1e-8 is added to the deviation."""
    return (x - x.mean(dim=0)) / (x.std(dim=0) + _COLUMN_EPSILON)


def leading_left_vectors(x: Float64[Tensor, "n d"], r: int) -> Float64[Tensor, "n r"]:
    """The first r left singular vectors, to about 1e-8 of the subspace or better.

    Block Krylov iteration (Musco and Musco 2015) on X X' that grows until the residual is small against the gap behind the r-th
    value; without such a gap, or for small matrices, the eigenvectors of the smaller of X X' and X'X.
    """
    if min(x.shape) > _DENSE:
        found = _krylov(x, r)
        if found is not None:
            return found
    small = x @ x.T if x.shape[0] <= x.shape[1] else x.T @ x
    vectors = _top_eigenvectors(small, r)
    if x.shape[0] <= x.shape[1]:
        return vectors
    left = x @ vectors
    return left / left.norm(dim=0).clamp(min=torch.finfo(x.dtype).tiny)


def _krylov(x: Float64[Tensor, "n d"], r: int) -> Float64[Tensor, "n r"] | None:
    """Block Krylov; None when the residual does not fall below 1e-8 of the gap within the largest basis."""
    width = r + _OVERSAMPLING
    start = torch.randn(x.shape[1], width, dtype=x.dtype, generator=torch.Generator().manual_seed(0)).to(x.device)
    basis = torch.linalg.qr(x @ start).Q
    block = basis
    for n_blocks in range(2, _MOST_BLOCKS + 1):
        block = x @ (x.T @ block)
        for _ in range(2):  # twice is enough to be orthogonal to machine precision
            block = block - basis @ (basis.T @ block)
        block = torch.linalg.qr(block).Q
        basis = torch.cat([basis, block], dim=1)
        if n_blocks in _CHECKED or n_blocks == _MOST_BLOCKS:
            found = _ritz(x, basis, r)
            if found is not None:
                return found
    return None


def _ritz(x: Float64[Tensor, "n d"], basis: Float64[Tensor, "n b"], r: int) -> Float64[Tensor, "n r"] | None:
    """The first r Ritz vectors of X X' in a basis, if they have converged."""
    projected = x.T @ basis
    values, vectors = torch.linalg.eigh(projected.T @ projected)
    chosen = vectors[:, -r:].flip(1)
    found, top = basis @ chosen, values[-r:].flip(0)
    residual = (x @ (projected @ chosen) - found * top).norm(dim=0).max()
    return found if bool(residual <= _TOLERANCE * (top[-1] - values[-r - 1])) else None


def _top_eigenvectors(symmetric: Float64[Tensor, "m m"], r: int) -> Float64[Tensor, "m r"]:
    """Eigenvectors of the r largest eigenvalues, in descending order; only these are computed on a CPU."""
    if symmetric.is_cuda:
        return torch.linalg.eigh(symmetric).eigenvectors[:, -r:].flip(1)
    from scipy.linalg import eigh

    m = symmetric.shape[0]
    vectors = eigh(symmetric.numpy(), subset_by_index=[m - r, m - 1], check_finite=False)[1]
    return torch.from_numpy(vectors[:, ::-1].copy())


def _layers(state: State) -> list[Tensor]:
    return [state[f"features.{index}"] for index in range(len(state))]


def _sketched(x: Float[Tensor, "n d"], r: int, seed: int, drawn_before: int | None = None) -> Float[Tensor, "n r"]:
    """The published randomised SVD: width r, two power iterations, from a generator that is reset to ``seed``.

    ``drawn_before`` is the length of the sketch that was drawn from the generator before this one, if any.
    """
    require_precise(x)
    with torch.random.fork_rng(devices=[]), full_precision():
        torch.default_generator.manual_seed(seed)
        if drawn_before is not None:
            torch.randn(drawn_before, r, dtype=x.dtype)
        return torch.svd_lowrank(x.cpu(), q=r, niter=_SKETCH_ITERATIONS)[0].to(x.device)


def _mean_correlations(x: Float[Tensor, "Lx 1 n r"], y: Float[Tensor, "#Lx Ly n r"]) -> Float64[Tensor, "Lx Ly"]:
    with full_precision():
        products = torch.matmul(x.transpose(-1, -2), y) if y.shape[0] > 1 else _crossed(x[:, 0], y[0])
    return torch.linalg.svdvals(products.double()).mean(dim=-1)


def _crossed(x: Float[Tensor, "Lx n r"], y: Float[Tensor, "Ly n r"]) -> Float[Tensor, "Lx Ly r r"]:
    """All products of bases as one matrix product."""
    (n_x, n, r), n_y = x.shape, y.shape[0]
    flat = x.permute(0, 2, 1).reshape(n_x * r, n) @ y.permute(1, 0, 2).reshape(n, n_y * r)
    return flat.view(n_x, r, n_y, r).transpose(1, 2)

"""Linear predictivity: how well one layer predicts another by ridge regression, cross-validated.

The held-out residual of all targets together is a quadratic form of the target's Gram matrix, |(I - H) Y|^2 = <M, Y Y'> with
M = (I - H)'(I - H), where H depends on the predicting layer alone. So all pairs of layers are one matrix product of flattened
triangles, and a permutation only re-indexes, as in CKA.

Axis letters: n samples, m training samples, t held-out samples, Lx and Ly layers, K permutations.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from interp_plugins.metrics.config_variants import LinearPredictivityConfig
from interp_plugins.metrics.layer_bank import LayerBank
from interp_plugins.metrics.relational import inner_products, pack_relations, permuted_inner_products
from interp_registry.contracts.metric import State
from interp_registry.errors import DataError

__all__ = ["LinearPredictivity", "fold_of_samples"]


class LinearPredictivity:
    """Cross-validated R^2 of ridge regression between layers, at most 1; 0 is what the training mean achieves.

    R^2 = 1 - sum of squared held-out residuals / sum of squared held-out deviations from the training mean, over all target
    features together. The penalty is alpha times the mean eigenvalue of the training Gram, so scaling a layer changes nothing.
    Direction ``forward``: x predicts y; ``backward``: y predicts x; ``mean``: their mean.

    State: packed ``residual.*`` (M) and ``gram.*`` (centred Gram) of every layer, ``baseline.*`` (M of the mean predictor).
    """

    def __init__(self, config: LinearPredictivityConfig) -> None:
        self.alpha, self.folds, self.seed, self.direction = config.alpha, config.folds, config.seed, config.direction
        self.info = config.describe()

    def prepare(self, layers: Sequence[Tensor]) -> State:
        """Residual forms and Grams of every layer.

        Raises:
            DataError: There are fewer than two samples per fold.
        """
        bank = LayerBank.of(layers)
        if bank.n < 2 * self.folds:
            raise DataError(
                f"{self.folds} folds need at least {2 * self.folds} samples, and there are {bank.n}", "use fewer folds"
            )
        fold = fold_of_samples(bank.n, self.folds, self.seed).to(bank[0].device)
        grams = [g.double() for g in bank.centred_grams()]
        baseline = _residual_form(torch.zeros_like(grams[0]), fold, 1.0)
        parts = {
            "residual": pack_relations(_residual_form(g, fold, self.alpha) for g in grams),
            "gram": pack_relations(iter(grams)),
            "baseline": pack_relations([baseline]),
        }
        return {f"{part}.{name}": t for part, packed in parts.items() for name, t in packed.items()}

    def score_pairs(self, x: State, y: State) -> Float64[Tensor, "Lx Ly"]:
        """Scores of all pairs of layers."""
        forward = 1 - inner_products(_part(x, "residual"), _part(y, "gram")) / _baseline(x, y)
        backward = 1 - inner_products(_part(x, "gram"), _part(y, "residual")) / _baseline(y, x).T
        return self._combined(forward, backward)

    def null_pairs(self, x: State, y: State, permutations: Int64[Tensor, "K n"]) -> Float64[Tensor, "K Lx Ly"]:
        """Scores of all pairs with the samples of y permuted; folds stay with the samples of the predicting layer."""
        residual = permuted_inner_products(_part(x, "residual"), _part(y, "gram"), permutations)
        forward = 1 - residual / permuted_inner_products(_part(x, "baseline"), _part(y, "gram"), permutations)
        inverse = permutations.argsort(dim=1)
        residual = permuted_inner_products(_part(y, "residual"), _part(x, "gram"), inverse)
        backward = 1 - residual / permuted_inner_products(_part(y, "baseline"), _part(x, "gram"), inverse)
        return self._combined(forward, backward.transpose(1, 2))

    def _combined(self, forward: Tensor, backward: Tensor) -> Tensor:
        if self.direction == "mean":
            return (forward + backward) / 2
        return forward if self.direction == "forward" else backward


def fold_of_samples(n: int, folds: int, seed: int) -> Int64[Tensor, " n"]:
    """Which fold each sample is held out in; sizes differ by at most one."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    fold = torch.empty(n, dtype=torch.int64)
    fold[order] = torch.arange(n) % folds
    return fold


def _residual_form(gram: Float64[Tensor, "n n"], fold: Int64[Tensor, " n"], alpha: float) -> Float64[Tensor, "n n"]:
    """(I - H)'(I - H), where row i of H predicts sample i from the samples of the other folds."""
    n = gram.shape[0]
    residual = torch.eye(n, dtype=gram.dtype, device=gram.device)
    for index in range(int(fold.max()) + 1):
        test, train = (fold == index).nonzero().flatten(), (fold != index).nonzero().flatten()
        residual[test[:, None], train] = -_ridge_weights(gram[train][:, train], gram[test][:, train], alpha)
    return residual.T @ residual


def _ridge_weights(train: Float64[Tensor, "m m"], test: Float64[Tensor, "t m"], alpha: float) -> Float64[Tensor, "t m"]:
    """Weights w with prediction w Y_train, for ridge regression with an intercept, from inner products alone."""
    m = train.shape[0]
    columns = train.mean(dim=0)
    centred = train - columns - columns[:, None] + columns.mean()
    moved = test - columns - (test.mean(dim=1, keepdim=True) - columns.mean())
    penalty = alpha * centred.diagonal().mean()
    if not penalty > 0:
        return torch.full_like(test, 1 / m)
    factor = torch.linalg.cholesky(centred + penalty * torch.eye(m, dtype=train.dtype, device=train.device))
    weights = torch.cholesky_solve(moved.T, factor).T
    return weights - weights.mean(dim=1, keepdim=True) + 1 / m


def _part(state: State, part: str) -> State:
    return {name.removeprefix(f"{part}."): t for name, t in state.items() if name.startswith(f"{part}.")}


def _baseline(x: State, y: State) -> Float64[Tensor, "1 Ly"]:
    return inner_products(_part(x, "baseline"), _part(y, "gram"))

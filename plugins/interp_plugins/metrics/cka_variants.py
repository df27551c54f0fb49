"""CKA as a distance, and CKA in feature space for samples whose Gram matrix does not fit in memory.

Axis letters: n samples, d and e features of two layers, Lx and Ly layers, K permutations.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from interp_plugins.metrics.cka import Cka
from interp_plugins.metrics.config_variants import AngularCkaConfig, StreamingCkaConfig
from interp_plugins.metrics.gram import centre_columns, full_precision, require_enough
from interp_registry.contracts.metric import State

__all__ = ["AngularCka", "StreamingCka"]

_ROWS = 4096
_ROUNDINGS = 32


class AngularCka(Cka):
    """arccos(CKA) in radians, in [0, pi/2] (or [0, pi] when unbiased): a distance that obeys the triangle inequality.

    Williams, Kunz, Kornblith, Linderman 2021, eq. 60. About 1e-4 for a layer with itself in single precision.
    """

    def __init__(self, config: AngularCkaConfig) -> None:
        super().__init__(config)

    def finish(self, cosines: Tensor) -> Tensor:
        """Angles."""
        return cosines.clamp(-1, 1).arccos()


class StreamingCka:
    """Linear CKA from d x e cross products of features, exactly, in memory that does not grow with n^2.

    Biased: |X'Y|^2 / (|X'X| |Y'Y|) of centred features (Kornblith et al. 2019, eq. 5). Unbiased (debiased): the HSIC estimator of
    Song et al. (2012, eq. 4), whose sums over i != j follow from |X'Y|^2, the row norms and the column sums, so that it too needs no
    Gram. Equal to `cka` and `unbiased_cka`.

    State: ``features.0`` ... (centred), ``own`` (float64 ``[L]``, the estimate of a layer with itself).
    """

    def __init__(self, config: StreamingCkaConfig) -> None:
        self.biased = config.biased
        self.info = config.describe()

    def prepare(self, layers: Sequence[Tensor]) -> State:
        """Centred features.

        Raises:
            DataError: The unbiased estimator has fewer than four samples.
        """
        if not self.biased:
            require_enough(layers[0].shape[0], "biased=True")
        centred = [centre_columns(layer) for layer in layers]
        own = torch.stack([self._own(x) for x in centred])
        return {**{f"features.{index}": x for index, x in enumerate(centred)}, "own": own}

    def score_pairs(self, x: State, y: State) -> Float64[Tensor, "Lx Ly"]:
        """Scores of all pairs of layers."""
        return self._scores(x, y, None)

    def null_pairs(self, x: State, y: State, permutations: Int64[Tensor, "K n"]) -> Float64[Tensor, "K Lx Ly"]:
        """Scores of all pairs with the samples of y permuted; own estimates do not change."""
        return torch.stack([self._scores(x, y, p) for p in permutations])

    def _scores(self, x: State, y: State, permutation: Tensor | None) -> Tensor:
        layers_y = [y[f"features.{j}"] for j in range(len(y) - 1)]
        moved = layers_y if permutation is None else [layer[permutation] for layer in layers_y]
        rows = [torch.stack([self._estimate(x[f"features.{i}"], layer) for layer in moved]) for i in range(len(x) - 1)]
        norms = (x["own"][:, None] * y["own"][None, :]).clamp(min=0).sqrt()
        return torch.where(norms > 0, torch.stack(rows) / norms, 0.0)

    def _own(self, x: Float[Tensor, "n d"]) -> Float64[Tensor, ""]:
        """The estimate of a layer with itself; 0 where all pairs are equally similar, so that only rounding is left of it."""
        n, found = x.shape[0], self._estimate(x, x)
        if self.biased:
            return found
        rounding = _ROUNDINGS * torch.finfo(x.dtype).eps * _trace(x, x) / (n * (n - 3))
        return torch.where(found > rounding, found, 0.0)

    def _estimate(self, x: Float[Tensor, "n d"], y: Float[Tensor, "n e"]) -> Float64[Tensor, ""]:
        """tr(K L), or the unbiased HSIC estimate, of two centred layers."""
        n, trace = x.shape[0], _trace(x, y)
        if self.biased:
            return trace
        squares_x, squares_y = x.double().square().sum(dim=1), y.double().square().sum(dim=1)
        # Rows of a centred Gram sum to 0, so without the diagonal they sum to minus the row's squared norm.
        chain, totals = squares_x @ squares_y, squares_x.sum() * squares_y.sum()
        return (trace - chain + totals / ((n - 1) * (n - 2)) - 2 * chain / (n - 2)) / (n * (n - 3))


def _trace(x: Float[Tensor, "n d"], y: Float[Tensor, "n e"]) -> Float64[Tensor, ""]:
    """tr(K L) = |X'Y|^2 of two centred layers."""
    cross = torch.zeros(x.shape[1], y.shape[1], dtype=torch.float64, device=x.device)
    with full_precision():
        for a, b in zip(x.split(_ROWS), y.split(_ROWS), strict=True):
            cross += a.T @ b
    return cross.square().sum()

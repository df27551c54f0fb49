"""Rows kept as a sum of products, so that a wide embedding is folded into the matrices that read it.

In a residual MLP every row of the residual stream is ``x W_E`` plus outputs of earlier layers, and is only ever read
through a matrix ``M``. Keeping the factors gives ``x (W_E M)``: the product of the two matrices is made once per step
instead of one wide product per row and pass. Exact up to the order of sums.

Axis letters: ``r`` optional leading run dimensions, ``n`` rows, ``k`` inner width of a term, ``d`` width of the rows.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["FactoredRows", "Products", "Rows"]


@dataclass
class Products:
    """Products of two matrices made during one step, so that every pass of the step can use them."""

    made: dict[tuple[int, int], tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict)

    def of(self, left: Float[Tensor, "*r k d"], right: Float[Tensor, "*r d m"]) -> Float[Tensor, "*r k m"]:
        """Return ``left @ right``, made at most once per pair of tensors."""
        key = (id(left), id(right))
        if key not in self.made:  # the operands are kept: an id is only unique while its object lives
            self.made[key] = (left, right, left @ right)
        return self.made[key][2]


@dataclass(frozen=True)
class FactoredRows:
    """The matrix ``sum_t coefficients_t @ basis_t``, never written out unless asked for."""

    terms: tuple[tuple[Tensor, Tensor], ...]
    products: Products

    def __matmul__(self, matrix: Float[Tensor, "*r d m"]) -> Float[Tensor, "*r n m"]:
        """Return the rows times a matrix."""
        (first, basis), *rest = self.terms
        total = first @ self.products.of(basis, matrix)
        for coefficients, basis in rest:
            total = total + coefficients @ self.products.of(basis, matrix)
        return total

    def __add__(self, other: "FactoredRows") -> "FactoredRows":
        """Return the sum of two such matrices."""
        return FactoredRows(self.terms + other.terms, self.products)

    def scaled(self, factor: Float[Tensor, "*r n"]) -> "FactoredRows":
        """Return the rows, each times its own factor."""
        return FactoredRows(tuple((c * factor.unsqueeze(-1), b) for c, b in self.terms), self.products)

    def dense(self) -> Float[Tensor, "*r n d"]:
        """Return the rows written out."""
        return torch.stack([c @ b for c, b in self.terms]).sum(0)

    @property
    def shape(self) -> torch.Size:
        """Shape of the matrix written out."""
        coefficients, basis = self.terms[0]
        return torch.Size([*coefficients.shape[:-1], basis.shape[-1]])


Rows = Tensor | FactoredRows
"""What a decomposed module reads or writes: a tensor, or rows kept as a sum of products."""


def choose_rows(route: Bool[Tensor, "*r n"], chosen: Rows, otherwise: Rows) -> Rows:
    """Return, row by row, the first where the route is true and the second elsewhere."""
    if isinstance(chosen, FactoredRows) and isinstance(otherwise, FactoredRows):
        weight = route.to(chosen.terms[0][0].dtype)
        return chosen.scaled(weight) + otherwise.scaled(1 - weight)
    return torch.where(route.unsqueeze(-1), written_out(chosen), written_out(otherwise))


def written_out(rows: Rows) -> Tensor:
    """Return the rows as a tensor."""
    return rows.dense() if isinstance(rows, FactoredRows) else rows

"""Eigensolvers of normalised graphs: dense, Nystroem with refinement, and ncut-pytorch.

Axis letters: n nodes, m landmarks, q eigenvectors.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.linalg
import scipy.sparse.linalg
import torch
from jaxtyping import Float
from torch import Tensor

from interp_plugins.methods.cuts.graphs import FeatureGraph, KeptBlocks, NodeGraph, multiply
from interp_plugins.methods.cuts.spectrum import Spectrum, fixed_signs
from interp_registry.errors import DataError, UsageError

__all__ = ["Solver", "SolverOptions", "solve", "value_errors"]

Solver = Literal["auto", "dense", "nystroem", "ncut"]
LAPACK_UP_TO = 256
DENSE_UP_TO = 1024
KEEP_UP_TO = 8192
REFINE_UP_TO = 16_384
OVERSAMPLE = 8
MAX_PASSES = 30
CONVERGED = 1e-7
CONVERGED_LARGE = 1e-4


@dataclass(frozen=True)
class SolverOptions:
    """How the eigenvectors are computed.

    Attributes:
        solver: "auto": dense up to 1024 nodes, Nystroem above.
        n_landmarks: Landmarks of the Nystroem approximation; default: 256, without refinement 768.
        n_refine: Passes over the exact affinity after it; default: as many (30 at most) as it takes until every wanted eigenvalue
            has an estimated error, or moves by, less than 1e-7 (up to 8192 nodes, whose affinities are kept) or 1e-4; above 16384
            nodes none.
        seed: Seed of the landmarks and starting vectors.
    """

    solver: Solver = "auto"
    n_landmarks: int | None = None
    n_refine: int | None = None
    seed: int = 0


def solve(graph: NodeGraph, n_eigenvectors: int, options: SolverOptions | None = None) -> Spectrum:
    """The smallest eigenvalues of the graph's normalised Laplacian and their vectors.

    Same graph, options and thread count give the same bits.

    Args:
        graph: The graph.
        n_eigenvectors: How many, the trivial one included.
        options: The solver; default: chosen by the number of nodes.

    Raises:
        DataError: More eigenvectors than nodes, or a node without any edge.
        UsageError: ncut-pytorch is asked to cut a graph that is not of features.
    """
    options = options or SolverOptions()
    if not 1 <= n_eigenvectors <= graph.n:
        raise DataError(f"{n_eigenvectors} eigenvectors of {graph.n} nodes: expected 1 to {graph.n}")
    name = options.solver
    if name == "auto":
        name = "dense" if graph.n <= max(DENSE_UP_TO, 4 * n_eigenvectors) else "nystroem"
    if name == "dense":
        return _dense(graph, n_eigenvectors, options.seed)
    if name == "nystroem":
        return _nystroem(graph, n_eigenvectors, options)
    return _ncut_pytorch(graph, n_eigenvectors, options.seed)


def _dense(graph: NodeGraph, q: int, seed: int) -> Spectrum:
    everything = slice(None)
    affinity = graph.block(everything, everything).double()
    degrees = _positive(affinity.sum(dim=1))
    scale = degrees.rsqrt()
    normal = (affinity * scale[:, None] * scale[None, :]).numpy()
    n = graph.n
    if n <= LAPACK_UP_TO or q >= n // 4:
        values, vectors = scipy.linalg.eigh(normal, subset_by_index=(n - q, n - 1))
    else:
        start = np.random.default_rng(seed).standard_normal(n)
        solve: Any = scipy.sparse.linalg.eigsh  # its stub takes whole tolerances only
        values, vectors = solve(normal, k=q, which="LA", v0=start, tol=1e-10, ncv=max(2 * q + 1, 32))
    return _spectrum(torch.from_numpy(values), torch.from_numpy(vectors), degrees, "dense")


def _spectrum(values: Tensor, vectors: Tensor, degrees: Tensor, solver: str) -> Spectrum:
    order = values.argsort(descending=True)
    return Spectrum(1 - values[order], fixed_signs(vectors[:, order]), degrees, solver)


def _positive(degrees: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    if (degrees <= 0).any():
        raise DataError(f"node {int((degrees <= 0).nonzero()[0])} has no edge", "leave it out, or widen the affinity")
    return degrees


def _nystroem(graph: NodeGraph, q: int, options: SolverOptions) -> Spectrum:
    keep, refine = graph.n <= KEEP_UP_TO, options.n_refine != 0 and (graph.n <= REFINE_UP_TO or options.n_refine)
    n_landmarks = min(graph.n, options.n_landmarks or (256 if refine else 768))
    wanted = min(q + OVERSAMPLE, n_landmarks)
    if q > wanted:
        raise DataError(f"{q} eigenvectors from {n_landmarks} landmarks", "raise n_landmarks")
    values, vectors, degrees = _one_shot(graph, wanted, n_landmarks, options.seed)
    if not refine:
        return _spectrum(values[:q], vectors[:, :q], degrees, "nystroem")
    exact: Any = KeptBlocks(graph) if keep else graph  # kept blocks are read by slices only
    tolerance = CONVERGED if keep else CONVERGED_LARGE
    passes = 0
    while passes < (options.n_refine or MAX_PASSES):
        before = values
        values, vectors, degrees, errors = _refined(exact, vectors, degrees)
        passes += 1
        moved = (values - before).abs() if passes > 1 else errors
        if options.n_refine is None and torch.minimum(errors, moved)[:q].max() < tolerance:
            break
    return _spectrum(values[:q], vectors[:, :q], degrees, f"nystroem+{passes}")


def _one_shot(graph: NodeGraph, q: int, n_landmarks: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Nystroem approximation W = C A^-1 C' from random landmarks (Fowlkes et al. 2004), degrees included."""
    generator = torch.Generator().manual_seed(seed)
    landmarks = torch.randperm(graph.n, generator=generator)[:n_landmarks].sort().values
    core = graph.block(landmarks, landmarks).double()
    core_values, core_vectors = torch.linalg.eigh(core + 1e-8 * torch.eye(len(landmarks), dtype=torch.float64))
    inverse_root = core_vectors * core_values.clamp_min(1e-10 * core_values[-1].item()).rsqrt()
    factor = graph.block(slice(None), landmarks).double() @ inverse_root
    degrees = (factor @ factor.sum(dim=0)).clamp_min(1e-9)
    factor *= degrees.rsqrt()[:, None]
    values, turn = torch.linalg.eigh(factor.T @ factor)
    values, turn = values[-q:].flip(0).clamp_min(1e-12), turn[:, -q:].flip(1)
    return values, factor @ (turn * values.rsqrt()), degrees


def _refined(graph: NodeGraph, vectors: Tensor, degrees: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One pass over the exact affinity: exact degrees, Rayleigh-Ritz of W v = mu D v, then one step of subspace iteration.

    Returns:
        Ritz values, vectors after the step, degrees, and estimates of the errors of the values.
    """
    trial = vectors * degrees.rsqrt()[:, None]
    trial = trial / trial.abs().amax(dim=0)
    product = multiply(graph, torch.cat([torch.ones(graph.n, 1, dtype=torch.float64), trial], dim=1))
    degrees, product = _positive(product[:, 0]), product[:, 1:]
    small = trial.T @ product
    found = scipy.linalg.eigh(((small + small.T) / 2).numpy(), (trial.T @ (degrees[:, None] * trial)).numpy())
    values, mix = (torch.from_numpy(part[..., ::-1].copy()) for part in found)
    root = degrees.sqrt()[:, None]
    stepped = product @ mix / root
    residuals = (stepped - root * (trial @ mix) * values).norm(dim=0)
    orthonormal, _ = torch.linalg.qr(stepped)
    return values, orthonormal, degrees, value_errors(values, residuals)


def value_errors(values: Float[Tensor, "q"], residuals: Float[Tensor, "q"]) -> Float[Tensor, "q"]:
    """Estimated errors of Ritz values from the norms of their residuals (Mathias 1998: a block's squared residual over its gap).

    Value i belongs to each block of leading values 1 .. j with j >= i; the best of these estimates counts, and never more than the
    residual itself (Weyl). The gap after the block is taken between Ritz values, so this is an estimate and no bound.

    Args:
        values: Ritz values, descending; the last is not in any block, so its estimate is its residual.
        residuals: Norm of S y - mu y for each unit Ritz vector y.
    """
    of_blocks = residuals.square().cumsum(0)[:-1] / (-values.diff()).clamp_min(torch.finfo(values.dtype).tiny)
    best = of_blocks.flip(0).cummin(0).values.flip(0)
    return torch.minimum(torch.cat([best, residuals[-1:]]), residuals)


def _ncut_pytorch(graph: NodeGraph, q: int, seed: int) -> Spectrum:
    if not isinstance(graph, FeatureGraph) or graph.kind != "rbf":
        raise UsageError(
            "solver 'ncut' cuts graphs of features with the rbf affinity only", "use solver auto, dense or nystroem"
        )
    from ncut_pytorch import Ncut

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        cut = Ncut(n_eig=q, sigma=0.5**0.5)
        vectors = cut.fit_transform(graph.features.float()).double()
    vectors = vectors / vectors.norm(dim=0)
    n_landmarks = min(graph.n, 512)
    degrees = _one_shot(graph, min(q, n_landmarks), n_landmarks, seed)[2]
    return _spectrum(cut.eigval.double(), vectors, degrees, "ncut-pytorch")

"""One normalised cut of a data set's patches and words.

Axis letters: p patches, v words, q eigenvectors, n nodes.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp_plugins.methods.cuts.bipartite import bipartite, normalised_cut_value
from interp_plugins.methods.cuts.config import CutsConfig
from interp_plugins.methods.cuts.discretise import k_way_labels
from interp_plugins.methods.cuts.graphs import FeatureGraph, to_affinity
from interp_plugins.methods.cuts.nodes import CorpusNodes
from interp_plugins.methods.cuts.solvers import SolverOptions, solve
from interp_plugins.methods.cuts.spectrum import eigengap_clusters
from interp_registry.errors import ResourceError

__all__ = ["Cut", "cut_nodes"]

MAX_CELLS = 100_000_000


@dataclass(frozen=True)
class Cut:
    """Eigenvectors and clusters of the nodes; the trivial eigenvector is left out.

    Attributes:
        eigenvalues: Smallest Laplacian eigenvalues, ascending, the trivial one included.
        patch_vectors: Entries of the patches.
        word_vectors: Entries of the words.
        patch_labels: Cluster of each patch, numbered by falling volume.
        word_labels: Cluster of each word.
        n_clusters: Number of clusters.
        cut_value: Normalised cut of the patch-word affinity under these clusters, in [0, number of clusters].
        solver: What computed the eigenvectors.
    """

    eigenvalues: Float[Tensor, "q"]
    patch_vectors: Float[Tensor, "p q-1"]
    word_vectors: Float[Tensor, "v q-1"]
    patch_labels: Int[Tensor, "p"]
    word_labels: Int[Tensor, "v"]
    n_clusters: int
    cut_value: float
    solver: str

    @property
    def eigengap(self) -> float:
        """Gap between the k-th and the next eigenvalue; 0 when there is no next."""
        k = self.n_clusters
        return (self.eigenvalues[k] - self.eigenvalues[k - 1]).item() if k < len(self.eigenvalues) else 0.0


def cut_nodes(nodes: CorpusNodes, config: CutsConfig, seed: int = 0) -> Cut:
    """Cut the graph that the configuration names.

    Permuting samples, patches or words permutes the result; padding never becomes a node.

    Raises:
        ResourceError: The affinity of patches and words, or the graph of scores, would not fit into memory.
        DataError: The graph cannot be cut.
    """
    nodes = nodes.centred() if config.center else nodes
    n_cells = len(nodes.patches) * len(nodes.words)
    if n_cells > MAX_CELLS:
        raise ResourceError(
            f"{len(nodes.patches)} patches x {len(nodes.words)} words are {n_cells / 1e6:.0f} million affinities",
            f"use --limit to stay below {MAX_CELLS / 1e6:.0f} million",
        )
    if config.graph == "bipartite":
        return _bipartite_cut(nodes, config)
    if config.graph == "features":
        return _feature_cut(nodes, config, seed)
    return _score_cut(nodes, config, seed)


def _cross_affinity(nodes: CorpusNodes, config: CutsConfig) -> Float[Tensor, "p v"]:
    kind = "exp" if config.affinity == "rbf" else config.affinity
    return to_affinity(nodes.patches.double() @ nodes.words.double().T, kind, config.temperature)


def _bipartite_cut(nodes: CorpusNodes, config: CutsConfig) -> Cut:
    found = bipartite(
        _cross_affinity(nodes, config),
        config.n_clusters,
        k_max=config.k_max,
        n_leading=max(config.n_eigenvectors, config.k_max + 1),
    )
    kept = slice(1, config.n_eigenvectors)
    return Cut(
        eigenvalues=1 - found.sigma[: config.n_eigenvectors],
        patch_vectors=found.row_vectors[:, kept],
        word_vectors=found.column_vectors[:, kept],
        patch_labels=found.row_labels,
        word_labels=found.column_labels,
        n_clusters=found.n_clusters,
        cut_value=found.cut_value,
        solver="svd",
    )


def _feature_cut(nodes: CorpusNodes, config: CutsConfig, seed: int) -> Cut:
    features = torch.cat([nodes.patches, nodes.words])
    vectors, labels, values, solver = _solved(features, config, seed)
    n_patches, k = len(nodes.patches), int(labels.max()) + 1
    patch_labels, word_labels = labels[:n_patches], labels[n_patches:]
    value = normalised_cut_value(_cross_affinity(nodes, config), patch_labels, word_labels, k)
    return Cut(values, vectors[:n_patches], vectors[n_patches:], patch_labels, word_labels, k, value, solver)


def _score_cut(nodes: CorpusNodes, config: CutsConfig, seed: int) -> Cut:
    """One node per patch and word of the same sample with their similarity as its only feature (an earlier study's graph).

    Patches and words get the mean vector of their cells and the commonest label. Every eigenvector is a smooth function of the
    similarity, so this cut cannot see the structure of patches or words: it is here for comparison.
    """
    scores, patches, words = _cells(nodes)
    vectors, labels, values, solver = _solved(scores[:, None], config, seed)
    k = int(labels.max()) + 1
    patch_vectors, patch_labels = _pooled(vectors, labels, patches, len(nodes.patches), k)
    word_vectors, word_labels = _pooled(vectors, labels, words, len(nodes.words), k)
    value = normalised_cut_value(_cross_affinity(nodes, config), patch_labels, word_labels, k)
    return Cut(values, patch_vectors, word_vectors, patch_labels, word_labels, k, value, solver)


def _cells(nodes: CorpusNodes) -> tuple[Float[Tensor, "n"], Int[Tensor, "n"], Int[Tensor, "n"]]:
    same = nodes.patch_owner[:, None] == nodes.word_owner[None, :]
    patches, words = same.nonzero(as_tuple=True)
    scores = (nodes.patches.double() @ nodes.words.double().T)[patches, words]
    return scores, patches, words


def _pooled(vectors: Tensor, labels: Tensor, members: Tensor, n: int, k: int) -> tuple[Tensor, Tensor]:
    counts = torch.bincount(members, minlength=n).clamp_min(1)
    sums = torch.zeros(n, vectors.shape[1], dtype=vectors.dtype).index_add_(0, members, vectors)
    votes = torch.zeros(n, k).index_put_((members, labels), torch.ones(len(members)), accumulate=True)
    return sums / counts[:, None], votes.argmax(dim=1)


def _solved(features: Tensor, config: CutsConfig, seed: int) -> tuple[Tensor, Tensor, Tensor, str]:
    """Non-trivial eigenvectors, labels, eigenvalues and the solver's name of a graph of features."""
    kind = "rbf" if config.graph == "scores" else config.affinity
    graph = FeatureGraph(features, kind, sigma=config.sigma, temperature=config.temperature)
    wanted = min(graph.n, max(config.n_eigenvectors, (config.n_clusters or config.k_max) + 1))
    options = SolverOptions(config.solver, config.n_landmarks, config.n_refine, seed)
    spectrum = solve(graph, wanted, options)
    k = config.n_clusters or eigengap_clusters(spectrum.eigenvalues, config.k_max)
    labels = k_way_labels(spectrum.eigenvectors[:, :k], spectrum.degrees)
    kept = min(wanted, config.n_eigenvectors)
    return spectrum.eigenvectors[:, 1:kept], labels, spectrum.eigenvalues[:kept], spectrum.solver

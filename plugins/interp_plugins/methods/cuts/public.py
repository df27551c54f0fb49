"""Pure functions of normalised cuts: ``interp.cuts`` from Python."""

from interp_plugins.methods.cuts.bipartite import BipartiteCut, bipartite, normalised_cut_value
from interp_plugins.methods.cuts.discretise import k_way_labels
from interp_plugins.methods.cuts.graphs import FeatureGraph, MatrixGraph, to_affinity
from interp_plugins.methods.cuts.solvers import SolverOptions, solve
from interp_plugins.methods.cuts.spectrum import Spectrum, eigengap_clusters

__all__ = [
    "BipartiteCut",
    "FeatureGraph",
    "MatrixGraph",
    "SolverOptions",
    "Spectrum",
    "bipartite",
    "eigengap_clusters",
    "k_way_labels",
    "normalised_cut_value",
    "solve",
    "to_affinity",
]

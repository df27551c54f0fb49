"""Configuration of `interp cuts`; no heavy imports."""

from dataclasses import dataclass, field
from typing import Literal

from interp_plugins.datasets.image_text.config import WorldTwins
from interp_plugins.models.image_text.config import ImageTextOptions
from interp_registry.choices import DatasetConfig
from interp_registry.errors import ConfigError

__all__ = ["CutsConfig"]


@dataclass
class CutsConfig:
    """Normalised cuts of the patches and words of image-text models."""

    models: list[str] = field(default_factory=list, metadata={"positional": True})
    """`clip-bow` and `clip-comp` (embedded), folders of CLIP or SigLIP models, or hub names; default: both embedded ones"""
    dataset: DatasetConfig = field(default_factory=lambda: WorldTwins(n=64))
    """images with captions; of quads, both images with their captions"""
    limit: int | None = 64
    """cut only the first so many samples"""
    graph: Literal["bipartite", "features", "scores"] = "bipartite"
    """bipartite: patches x words; features: patches and words as nodes; scores: one node per patch-word similarity, as an earlier
    study had it, which can only sort the similarities (see the docs)"""
    affinity: Literal["exp", "cosine", "relu", "rbf"] = "exp"
    """how similarities become affinities: exp((s - 1) / temperature), (1 + s) / 2, max(s, 0), or Gaussian in the distance"""
    temperature: float = 0.1
    """temperature of exp"""
    sigma: float | None = None
    """width of rbf; default: the median distance"""
    center: bool = True
    """subtract the mean patch from patches and the mean word from words, which takes the gap between the modalities away"""
    n_clusters: int | None = None
    """number of clusters; default: by the widest eigengap"""
    k_max: int = 12
    """largest number of clusters that the eigengap may choose"""
    n_eigenvectors: int = 20
    """eigenvectors kept, the trivial one included"""
    solver: Literal["auto", "dense", "nystroem", "ncut"] = "auto"
    """dense up to 1024 nodes, Nystroem with refinement above; ncut: the library ncut-pytorch (features and scores with rbf)"""
    n_landmarks: int | None = None
    """landmarks of Nystroem; default: 256, or 768 without refinement"""
    n_refine: int | None = None
    """passes over the exact affinity after Nystroem; default: until the eigenvalues stand; above 16,384 nodes none"""
    n_pictures: int = 8
    """samples shown in the gallery"""
    loading: ImageTextOptions = field(default_factory=ImageTextOptions)
    """how models are loaded and run"""

    def __post_init__(self) -> None:
        if self.graph == "bipartite" and self.affinity == "rbf":
            raise ConfigError("a bipartite graph has no rbf affinity", "affinity", "use exp, cosine or relu")
        if self.n_clusters is not None and self.n_clusters < 2:
            raise ConfigError(f"{self.n_clusters} clusters", "n_clusters", "at least 2")
        if self.n_eigenvectors < 4:
            raise ConfigError(
                f"{self.n_eigenvectors} eigenvectors", "n_eigenvectors", "at least 4: a trivial one and three colours"
            )
        if self.solver == "ncut" and (self.graph == "bipartite" or self.affinity != "rbf"):
            raise ConfigError(
                "ncut-pytorch cuts graphs of features with rbf", "solver", "--graph features --affinity rbf"
            )

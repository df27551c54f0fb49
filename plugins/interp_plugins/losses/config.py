"""Configurations of the alignment losses; no heavy imports."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from interp_registry.choices import LossConfig

__all__ = ["CkaLoss", "ClipSvdLoss", "InfoNceLoss", "NcutLoss", "Reduction", "SvdLoss"]

Reduction = Literal["mean", "sum"]


@dataclass
class InfoNceLoss(LossConfig):
    """Symmetric cross-entropy over the batch (van den Oord et al. 2018; Radford et al. 2021)."""

    impl: ClassVar[str] = "interp_plugins.losses.contrastive:InfoNce"

    scale: float = 1 / 0.07
    """factor on the similarities (the inverse temperature); a trained logit scale replaces it"""
    normalize: bool = True
    """bring rows to unit length first, so that similarities are cosines"""


@dataclass
class CkaLoss(LossConfig):
    """Minus linear centred kernel alignment of the batch (Kornblith et al. 2019)."""

    impl: ClassVar[str] = "interp_plugins.losses.cka:Cka"

    center: bool = True
    """subtract the mean of the batch from every feature"""
    debiased: bool = False
    """the unbiased HSIC estimate (Song et al. 2012): about 0 for independent data whatever the width; needs 4 rows"""
    compat: bool = False
    """the earlier study's form: Gram matrices and an absolute 1e-8 in the denominator, so not invariant to scale"""


@dataclass
class SvdLoss(LossConfig):
    """Spectral gap of the cross-covariance: -alpha (s_k - s_{k+1}) - beta (s_1 + .. + s_k)."""

    impl: ClassVar[str] = "interp_plugins.losses.spectral:CrossCovarianceGap"

    k: int = 3
    """number of leading singular values"""
    alpha: float = 1.0
    """weight of the gap between the k-th and the next singular value"""
    beta: float = 0.5
    """weight of the sum of the first k"""
    normalize: bool = True
    """bring rows to unit length first"""
    center: bool = False
    """subtract the mean of the batch from every feature, after normalising rows"""
    reduction: Reduction = "mean"
    """`mean` divides the cross-covariance by the batch size, so the loss does not grow with the batch; `sum` does not"""
    compat: bool = False
    """the earlier study's form: always the sum, never centred, and k below the smaller width"""


@dataclass
class ClipSvdLoss(LossConfig):
    """Minus gamma times the mean cosine of the pairs, plus the spectral gap loss."""

    impl: ClassVar[str] = "interp_plugins.losses.spectral:PairCosineAndGap"

    k: int = 3
    """number of leading singular values"""
    alpha: float = 1.0
    """weight of the gap between the k-th and the next singular value"""
    beta: float = 0.5
    """weight of the sum of the first k"""
    gamma: float = 1.0
    """weight of the mean cosine of the pairs"""
    normalize: bool = True
    """bring rows to unit length before the cross-covariance"""
    center: bool = False
    """subtract the mean of the batch from every feature, after normalising rows"""
    reduction: Reduction = "mean"
    """`mean` divides the cross-covariance by the batch size; `sum` does not"""
    compat: bool = False
    """the earlier study's form: raw dot products in place of cosines, and the sum"""


@dataclass
class NcutLoss(LossConfig):
    """Eigengap of the normalised Laplacian: -alpha (l_{k+1} - l_k) + beta (l_2 + .. + l_k), l ascending from l_1 = 0."""

    impl: ClassVar[str] = "interp_plugins.losses.eigengap:NormalisedCutGap"

    k: int = 3
    """number of clusters"""
    alpha: float = 1.0
    """weight of the eigengap"""
    beta: float = 0.5
    """weight of the eigenvalues below the gap, which are small when k clusters are well apart"""
    graph: Literal["joint", "first", "second"] = "joint"
    """given two sets of rows: the nodes are both together, or those of the first or second only"""
    sigma: float | None = None
    """width of the Gaussian affinity exp(-d^2 / 2 sigma^2); default: the median distance, without gradient"""
    normalize: bool = True
    """bring rows to unit length before distances are taken"""
    compat: bool = False
    """the earlier study's sign: rewards large l_2 .. l_{k+1}, which destroys clusters"""

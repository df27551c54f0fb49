"""Registers the metrics."""

from typing import TYPE_CHECKING

import interp_registry

if TYPE_CHECKING:
    from interp_registry.choices import Registry

__all__ = ["register"]


@interp_registry.hookimpl
def register(registry: "Registry") -> None:
    """Add every metric that ships with the tool."""
    from interp_plugins.metrics import config, config_variants

    metrics = {
        "mutual_knn": config.MutualKnnConfig,
        "cycle_knn": config.CycleKnnConfig,
        "lcs_knn": config.LcsKnnConfig,
        "edit_distance_knn": config.EditDistanceKnnConfig,
        "jaccard_knn": config_variants.JaccardKnnConfig,
        "rank_similarity": config_variants.RankSimilarityConfig,
        "second_order_cosine": config_variants.SecondOrderCosineConfig,
        "cka": config.CkaConfig,
        "unbiased_cka": config.UnbiasedCkaConfig,
        "debiased_cka": config_variants.DebiasedCkaConfig,
        "rbf_cka": config_variants.RbfCkaConfig,
        "angular_cka": config_variants.AngularCkaConfig,
        "streaming_cka": config_variants.StreamingCkaConfig,
        "cknna": config.CknnaConfig,
        "svcca": config.SvccaConfig,
        "cca": config_variants.CcaConfig,
        "pwcca": config_variants.PwccaConfig,
        "procrustes": config_variants.ProcrustesConfig,
        "angular_procrustes": config_variants.AngularProcrustesConfig,
        "rsa": config_variants.RsaConfig,
        "distance_correlation": config_variants.DistanceCorrelationConfig,
        "linear_predictivity": config_variants.LinearPredictivityConfig,
    }
    for name, options in metrics.items():
        registry.add("metric", name, options)

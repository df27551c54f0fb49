"""``interp spd``: its stages and choices."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import interp_registry
from interp_registry.contracts.method import Method, Stage

if TYPE_CHECKING:
    from interp_registry.choices import Registry

__all__ = ["methods", "register"]

_CITE = (
    "@article{bushnaq2025spd, title={Stochastic Parameter Decomposition}, "
    "author={Bushnaq, Lucius and Braun, Dan and Sharkey, Lee}, journal={arXiv preprint arXiv:2506.20790}, year={2025}}",
)
_CONFIG = "interp_plugins.methods.spd.config"
_AFTER = "interp_plugins.methods.spd.after"
_LEGACY = {
    "--experiments": "--experiments", "-e": "--experiments", "--n_agents": "--n-agents", "--job_suffix": "--job-suffix",
    "--local": "--launcher=local", "--no-local": "--launcher=slurm", "--dp": "--num-processes",
    "--data-parallelism": "--num-processes", "--use-wandb": "--tracker=wandb", "--project": "--tracker.project",
    "--cpu": "--device=cpu", "--create-report": "--report", "--no-create-report": "--no-report",
    "--no_create_report": "--no-report", "--create_report": "--report",
}  # fmt: skip


@interp_registry.hookimpl
def methods() -> Sequence[Method]:
    """The one method of this package."""
    run = Stage(
        "run",
        "Decompose the weights of target models into rank-one components.",
        f"{_CONFIG}:RunConfig",
        "interp_plugins.methods.spd.run:run",
        legacy_flags=_LEGACY,
        estimate="interp_plugins.methods.spd.run:estimate",
        run_batch="interp_plugins.methods.spd.run_batch:run_batch",
        batch_key="interp_plugins.methods.spd.run_batch:batch_key",
        examples=("spd run tms_5-2", "spd run tms_5-2,tms_5-2-id --seed 1", "spd run tms_40-10 --setting tuned"),
    )
    pretrain = Stage(
        "pretrain",
        "Train toy targets as the papers did, many seeds side by side.",
        f"{_CONFIG}:PretrainConfig",
        "interp_plugins.methods.spd.pretrain:pretrain",
        examples=("spd pretrain tms_5-2", "spd pretrain resid_mlp1"),
    )
    after = [
        Stage(name, text, config, f"{_AFTER}.stages:run_{name}", examples=(example,))
        for name, text, config, example in (
            ("harvest", "Gather examples, correlations and token statistics of components.", f"{_AFTER}.config:HarvestConfig",
             "spd harvest RUN"),
            ("cluster", "Merge components that fire together into groups.", f"{_AFTER}.config:ClusterConfig", "spd cluster RUN"),
            ("attribute", "Attribute later components to earlier ones.", f"{_AFTER}.config:AttributeConfig", "spd attribute RUN"),
            ("edit", "Ablate or rescale components and measure the effect.", f"{_AFTER}.config:EditConfig",
             "spd edit RUN --components linear1:3 --factor 0"),
            ("compare", "Compare two decompositions of the same modules.", f"{_AFTER}.config:CompareConfig", "spd compare RUN OTHER"),
            ("show", "Write a page to browse components.", f"{_AFTER}.config:ShowConfig", "spd show RUN"),
        )
    ]  # fmt: skip
    choices = {
        "decomposition_target": f"{_CONFIG}:TargetConfig",
        "importance_function": f"{_CONFIG}:ImportanceConfig",
        "decomposition_loss": "interp_plugins.methods.spd.loss_config:DecompositionLossConfig",
        "decomposition_metric": "interp_plugins.methods.spd.metric_config:DecompositionMetricConfig",
    }
    return [
        Method(
            "spd",
            "Decompose a model's parameters into components.",
            (run, pretrain, *after),
            choices=choices,
            cite=_CITE,
        )
    ]


@interp_registry.hookimpl
def register(registry: "Registry") -> None:
    """Add targets, importance functions, losses and metrics."""
    from interp_plugins.methods.spd import config as c
    from interp_plugins.methods.spd import loss_config as losses
    from interp_plugins.methods.spd import metric_config as metrics

    added: dict[str, dict[str, type]] = {
        "decomposition_target": {
            "tms": c.TmsTargetConfig, "resid_mlp": c.ResidualMlpTargetConfig, "language": c.LanguageTargetConfig,
        },
        "importance_function": {
            "mlp": c.ScalarMlpConfig, "vector_mlp": c.VectorMlpConfig, "shared_mlp": c.SharedMlpConfig,
            "global_shared_mlp": c.GlobalSharedMlpConfig, "global_transformer": c.GlobalTransformerConfig,
        },
        "decomposition_loss": {
            "faithfulness": losses.FaithfulnessConfig, "importance_minimality": losses.ImportanceMinimalityConfig,
            "frequency_minimality": losses.FrequencyMinimalityConfig, "schatten": losses.SchattenConfig,
            "stochastic_recon": losses.StochasticReconConfig, "masked_recon": losses.MaskedReconConfig,
            "unmasked_recon": losses.UnmaskedReconConfig, "hidden_activations": losses.HiddenActivationsConfig,
            "embedding_recon": losses.EmbeddingReconConfig,
            "pgd_recon": losses.PgdReconConfig, "persistent_recon": losses.PersistentReconConfig,
        },
        "decomposition_metric": {
            "ci_l0": metrics.CiL0Config, "ci_histograms": metrics.CiHistogramsConfig,
            "ci_mean_per_component": metrics.CiMeanPerComponentConfig, "activation_density": metrics.ActivationDensityConfig,
            "identity_ci_error": metrics.IdentityCiErrorConfig, "permuted_ci": metrics.PermutedCiConfig, "uv_plots": metrics.UvPlotsConfig,
            "recovery": metrics.RecoveryConfig, "neuron_contributions": metrics.NeuronContributionsConfig, "ce_kl": metrics.CeKlConfig,
            "subset_ce_kl": metrics.SubsetCeKlConfig, "pgd_multi_batch": metrics.MultiBatchPgdConfig, "loss": metrics.LossMetricConfig,
        },
    }  # fmt: skip
    for kind, entries in added.items():
        for name, config in entries.items():
            registry.add(kind, name, config)

"""Build a decomposition from its configuration: sites, initial components, importance function, ties."""

import torch

from interp_plugins.methods.spd.components import init_from_target, init_random
from interp_plugins.methods.spd.config import (
    DecomposeConfig,
    GlobalSharedMlpConfig,
    GlobalTransformerConfig,
    ImportanceConfig,
    ScalarMlpConfig,
    SharedMlpConfig,
    VectorMlpConfig,
)
from interp_plugins.methods.spd.decomposition import Decomposition
from interp_plugins.methods.spd.importance import (
    Bank,
    GlobalSharedMlp,
    ImportanceFunction,
    LinearGate,
    ScalarMlp,
    SharedMlp,
    VectorMlp,
)
from interp_plugins.methods.spd.sites import Site, Target, choose_sites
from interp_plugins.methods.spd.transformer_importance import GlobalTransformer

__all__ = [
    "build_decomposition",
    "build_global_shared_mlp",
    "build_global_transformer",
    "build_importance",
    "build_scalar_mlp",
    "build_shared_mlp",
    "build_vector_mlp",
]


def build_scalar_mlp(config: ScalarMlpConfig, bank: Bank) -> ImportanceFunction:
    """Return scalar MLPs, or linear gates where no hidden width is given."""
    hidden = [width for width in config.hidden if width > 0]
    return ScalarMlp(bank, hidden, config.kernel) if hidden else LinearGate(bank)


def build_vector_mlp(config: VectorMlpConfig, bank: Bank) -> ImportanceFunction:
    """Return one MLP per component on input vectors."""
    return VectorMlp(bank, config.hidden)


def build_shared_mlp(config: SharedMlpConfig, bank: Bank) -> ImportanceFunction:
    """Return one MLP per module."""
    return SharedMlp(bank, config.hidden)


def build_global_shared_mlp(config: GlobalSharedMlpConfig, bank: Bank) -> ImportanceFunction:
    """Return one MLP for all modules."""
    return GlobalSharedMlp(bank, config.hidden)


def build_global_transformer(config: GlobalTransformerConfig, bank: Bank) -> ImportanceFunction:
    """Return one transformer for all modules."""
    return GlobalTransformer(bank, config)


def build_importance(
    config: ImportanceConfig, target: Target, sites: tuple[Site, ...], generator: torch.Generator
) -> ImportanceFunction:
    """Return the importance function for the chosen sites."""
    weights = [target.weight(site.module) for site in sites]
    runs = tuple(weights[0].shape[: target.run_dims])
    inputs = tuple(0 if s.is_embedding else w.shape[-2] for s, w in zip(sites, weights, strict=True))
    bank = Bank(tuple(site.n_components for site in sites), inputs, runs, generator)
    built: ImportanceFunction = config.build(bank)
    return built


def build_decomposition(config: DecomposeConfig, target: Target, generator: torch.Generator) -> Decomposition:
    """Return a fresh decomposition of a target."""
    sites = choose_sites(target, config.components, config.identities)
    draw = init_from_target if config.initial == "target" else init_random
    factors: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    for site in sites:
        weight = target.weight(site.module)
        if site.is_identity:
            weight = torch.eye(weight.shape[-2], device=weight.device).expand(*weight.shape[:-2], -1, -1)
        factors[site.name] = draw(weight, site.n_components, generator)
    importance = build_importance(config.importance, target, sites, generator)
    return Decomposition(target, sites, factors, importance, _ties(config, target, sites))


def _ties(config: DecomposeConfig, target: Target, sites: tuple[Site, ...]) -> tuple[tuple[str, str], ...]:
    """Return the pairs of sites that share storage: the two matrices of a tied TMS."""
    names = {site.name: site for site in sites}
    if config.tie == "none" or not {"linear1", "linear2"} <= set(names):
        return ()
    same = torch.equal(target.weight("linear1"), target.weight("linear2").mT)
    return (("linear1", "linear2"),) if config.tie == "storage" or same else ()

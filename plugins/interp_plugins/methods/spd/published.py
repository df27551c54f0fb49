"""Configurations of the published code, of the paper's time and of 2026, in our words.

Nothing is dropped silently: a key that would change the training and has no counterpart is an error. (The published code of
2026 reads an older file by leaving its loss coefficients out, and then trains on nothing.)
"""

from collections.abc import Callable, Mapping
from typing import Any

from interp_registry.errors import ConfigError

__all__ = ["is_published", "translate"]

_MARKS = ("pretrained_model_class", "loss_metric_configs", "importance_minimality_coeff", "target_module_patterns")
_RECORD_ONLY = (
    "wandb_project", "wandb_run_name", "wandb_run_name_prefix", "eval_freq", "slow_eval_freq", "slow_eval_on_first_step",
    "n_examples_until_dead", "out_dir", "dist_backend", "pretrained_model_class", "tokenizer_name", "seed",
    "pretrained_model_output_attr", "autocast_bf16", "image_on_first_step", "image_freq", "metrics_fns", "figures_fns",
)  # fmt: skip
_RENAMED = {
    "grad_clip_norm": "grad_clip_norm_components", "print_freq": "eval_freq",
    "pretrained_model_name_hf": "pretrained_model_name", "gate_type": "ci_fn_type", "gate_hidden_dims": "ci_fn_hidden_dims",
}  # fmt: skip
_PLAIN = {
    "sigmoid_type": "sigmoid", "n_mask_samples": "n_mask_samples", "output_loss_type": "distance", "sampling": "sampling",
    "use_delta_component": "delta", "steps": "steps", "batch_size": "batch_size", "eval_batch_size": "eval_batch_size",
    "n_eval_steps": "n_eval_batches", "train_log_freq": "log_every", "ci_alive_threshold": "alive_threshold",
    "grad_clip_norm_components": "clip_components", "grad_clip_norm_ci_fns": "clip_importance",
    "save_freq": "checkpoint_every", "gradient_accumulation_steps": "accumulate",
}  # fmt: skip
_COEFFS: dict[str, dict[str, Any]] = {
    "faithfulness_coeff": {"type": "faithfulness"},
    "recon_coeff": {"type": "masked_recon"},
    "recon_layerwise_coeff": {"type": "masked_recon", "over": "layerwise"},
    "ci_recon_coeff": {"type": "masked_recon"},
    "ci_recon_layerwise_coeff": {"type": "masked_recon", "over": "layerwise"},
    "stochastic_recon_coeff": {"type": "stochastic_recon"},
    "stochastic_recon_layerwise_coeff": {"type": "stochastic_recon", "over": "layerwise"},
    "out_recon_coeff": {"type": "unmasked_recon"},
    "schatten_coeff": {"type": "schatten"},
    "embedding_recon_coeff": {"type": "embedding_recon"},
}
_CLASSES: dict[str, dict[str, Any]] = {
    "FaithfulnessLoss": {"type": "faithfulness"},
    "ImportanceMinimalityLoss": {"type": "importance_minimality"},
    "StochasticReconLoss": {"type": "stochastic_recon"},
    "StochasticReconLayerwiseLoss": {"type": "stochastic_recon", "over": "layerwise"},
    "StochasticReconSubsetLoss": {"type": "stochastic_recon", "over": "subset"},
    "CIMaskedReconLoss": {"type": "masked_recon"},
    "CIMaskedReconLayerwiseLoss": {"type": "masked_recon", "over": "layerwise"},
    "CIMaskedReconSubsetLoss": {"type": "masked_recon", "over": "subset"},
    "UnmaskedReconLoss": {"type": "unmasked_recon"},
    "StochasticHiddenActsReconLoss": {"type": "hidden_activations"},
    "PGDReconLoss": {"type": "pgd_recon"},
    "PGDReconLayerwiseLoss": {"type": "pgd_recon", "over": "layerwise"},
    "PGDReconSubsetLoss": {"type": "pgd_recon", "over": "subset"},
}
_LOSS_FIELDS = {
    "coeff": "coeff", "pnorm": "p", "beta": "beta", "eps": "eps", "p_anneal_start_frac": "p_anneal_begin",
    "p_anneal_final_p": "p_final", "p_anneal_end_frac": "p_anneal_end", "init": "start", "step_size": "step_size",
    "n_steps": "n_steps",
}  # fmt: skip
_SCOPES = {"shared_across_batch": "shared", "unique_per_datapoint": "per_row"}
_CI_TYPES = {
    "mlp": "mlp",
    "vector_mlp": "vector_mlp",
    "shared_mlp": "shared_mlp",
    "global_shared_mlp": "global_shared_mlp",
}
_METRICS: dict[str, str] = {
    "CI_L0": "ci_l0", "CIHistograms": "ci_histograms", "CIMeanPerComponent": "ci_mean_per_component",
    "ComponentActivationDensity": "activation_density", "IdentityCIError": "identity_ci_error",
    "PermutedCIPlots": "permuted_ci", "UVPlots": "uv_plots", "CEandKLLosses": "ce_kl",
    "StochasticReconSubsetCEAndKL": "subset_ce_kl", "PGDMultiBatchReconLoss": "pgd_multi_batch",
    "PGDMultiBatchReconSubsetLoss": "pgd_multi_batch",
}  # fmt: skip


def is_published(content: Mapping[str, Any]) -> bool:
    """Return whether a mapping looks like a configuration of the published code."""
    return any(key in content for key in _MARKS)


def translate(content: Mapping[str, Any], source: str = "the file") -> dict[str, Any]:
    """Return a published configuration in our words.

    Args:
        content: The published configuration.
        source: Name of the file, for messages.

    Raises:
        ConfigError: A key has no counterpart, so that the training would be another one.
    """
    left = {_RENAMED.get(key, key): value for key, value in content.items()}
    ours: dict[str, Any] = {"published": {key: left.pop(key) for key in _RECORD_ONLY if key in left}}
    paper = "loss_metric_configs" not in left
    ours |= {"leak": "both", "initial": "target"} if paper else {"leak": "upwards", "initial": "random"}
    if paper:
        left.setdefault("use_delta_component", False)
    ours |= {_PLAIN[key]: left.pop(key) for key in list(left) if key in _PLAIN and left[key] is not None}
    for part in (_modules, _importance, _rate, _warmup, _losses, _metrics, _target):
        ours |= part(left)
    unknown = {key: value for key, value in left.items() if value not in (None, False, [], {})}
    if unknown:
        key = next(iter(unknown))
        raise ConfigError(
            f"{unknown[key]!r} has no counterpart here, and leaving it out would train something else", f"{source}: {key}",
            "remove the key, or write the experiment in our own words (interp config schema spd)",
        )  # fmt: skip
    return ours


def _take(left: dict[str, Any], *names: str, default: Any = None) -> Any:
    """Remove keys and return the last that was there."""
    value = default
    for name in names:
        value = left.pop(name, value)
    return value


def _modules(left: dict[str, Any]) -> dict[str, Any]:
    count, patterns = _take(left, "C"), _take(left, "target_module_patterns", default=[])
    components = dict.fromkeys(patterns, count)
    components |= {info["module_pattern"]: info["C"] for info in _take(left, "module_info", default=[])}
    identities = dict.fromkeys(_take(left, "identity_module_patterns", default=None) or [], count)
    identities |= {i["module_pattern"]: i["C"] for i in _take(left, "identity_module_info", default=None) or []}
    return {"components": components, "identities": identities}


def _importance(left: dict[str, Any]) -> dict[str, Any]:
    kind = _take(left, "ci_fn_type", default="vector_mlp")
    if kind not in _CI_TYPES:
        raise ConfigError(f"{kind!r} is no importance function", "ci_fn_type", f"known: {', '.join(_CI_TYPES)}")
    return {"importance": {"type": _CI_TYPES[kind], "hidden": list(_take(left, "ci_fn_hidden_dims", default=[8]))}}


def _rate(left: dict[str, Any]) -> dict[str, Any]:
    schedule = _take(left, "lr_schedule", default="constant")
    if isinstance(schedule, Mapping):  # 2026: half a period, ends at the last step
        return {
            "learning_rate": schedule["start_val"],
            "schedule": {
                "shape": schedule.get("fn_type", "constant"), "end": schedule.get("final_val_frac", 1.0), "reach": "last",
                "warmup": f"{schedule.get('warmup_pct', 0.0) * 100:g}%", "warmup_from_zero": True,
            },
        }  # fmt: skip
    shape = {"cosine": "cosine_quarter"}.get(schedule, schedule)
    warmup, halflife = _take(left, "lr_warmup_pct", default=0.0), _take(left, "lr_exponential_halflife")
    ours: dict[str, Any] = {"shape": shape, "warmup": f"{warmup * 100:g}%", "warmup_from_zero": True}
    if shape == "cosine_quarter":
        ours["reach"] = "last"
    if halflife is not None:
        ours["half_life"] = f"{halflife:g}"
    return {"learning_rate": _take(left, "lr"), "schedule": ours}


def _warmup(left: dict[str, Any]) -> dict[str, Any]:
    return {
        "warmup": {
            "steps": _take(left, "faithfulness_warmup_steps", default=0),
            "learning_rate": _take(left, "faithfulness_warmup_lr", default=1e-3),
            "weight_decay": _take(left, "faithfulness_warmup_weight_decay", default=0.0),
        }
    }


def _losses(left: dict[str, Any]) -> dict[str, Any]:
    losses: dict[str, dict[str, Any]] = {}
    for entry in _take(left, "loss_metric_configs", default=[]):
        label, loss = _loss(entry)
        losses[label] = loss
    annealing = {
        key: _take(left, key) for key in ("pnorm", "p_anneal_start_frac", "p_anneal_final_p", "p_anneal_end_frac")
    }
    exponents = {_LOSS_FIELDS[key]: value for key, value in annealing.items() if value is not None}
    unembed = bool(_take(left, "is_embed_unembed_recon", default=False))
    for key, loss in _COEFFS.items():
        coeff = _take(left, key)
        if coeff is not None:
            power = {"p": exponents.get("p", 2.0)} if loss["type"] == "schatten" else {}
            power |= {"unembed": unembed} if loss["type"] == "embedding_recon" else {}
            losses[_label(loss)] = {**loss, "coeff": coeff, **power}
    coeff = _take(left, "importance_minimality_coeff")
    if coeff is not None:
        losses["importance_minimality"] = {"type": "importance_minimality", "coeff": coeff, **exponents}
    return {"losses": losses}


def _label(loss: Mapping[str, Any]) -> str:
    return loss["type"] + (f"_{loss['over']}" if "over" in loss else "")


def _loss(entry: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    name = entry.get("classname")
    if name not in _CLASSES:
        raise ConfigError(f"the loss {name!r} is not known and would be dropped", "loss_metric_configs")
    loss = dict(_CLASSES[name])
    label = _label(loss)
    for key, value in entry.items():
        if key == "classname" or value is None:
            continue
        if key == "mask_scope":
            loss["scope"] = _SCOPES[value]
        elif key == "routing":
            loss |= _routing(value)
        elif key in _LOSS_FIELDS:
            loss[_LOSS_FIELDS[key]] = value
        else:
            raise ConfigError(f"{value!r} has no counterpart here", f"loss_metric_configs.{name}.{key}")
    return label, loss


def _metrics(left: dict[str, Any]) -> dict[str, Any]:
    metrics: dict[str, dict[str, Any]] = {}
    entries = [*_take(left, "eval_metrics", default=[]), *_take(left, "eval_metric_configs", default=[])]
    for entry in entries:
        fields = {**entry.get("extra_init_kwargs", {}), **{k: v for k, v in entry.items() if k != "extra_init_kwargs"}}
        name = fields.pop("classname")
        if name in _CLASSES:
            label, loss = _loss({"classname": name, **fields})
            metrics[f"loss_{label}"] = {"type": "loss", "loss": loss}
        elif name in _METRICS:
            metrics[_METRICS[name]] = {"type": _METRICS[name], **_METRIC_FIELDS.get(name, lambda _: {})(fields)}
        else:
            raise ConfigError(f"the metric {name!r} is not known and would be dropped", "eval_metric_configs")
    return {"metrics": metrics}


def _expected(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "identity": {e["layer_pattern"]: e["n_features"] for e in fields.get("identity_ci") or []},
        "dense": {e["layer_pattern"]: e["k"] for e in fields.get("dense_ci") or []},
    }


def _multi_batch(fields: Mapping[str, Any]) -> dict[str, Any]:
    ours = {"start": "init", "step_size": "step_size", "n_steps": "n_steps", "n_batches": "gradient_accumulation_steps"}
    found = {key: fields[name] for key, name in ours.items() if fields.get(name) is not None}
    return found | _routing(fields["routing"]) if fields.get("routing") else found


def _routing(routing: Mapping[str, Any]) -> dict[str, Any]:
    kind = {"uniform_k_subset": "uniform_k", "static_probability": "static"}[routing["type"]]
    return {"routing": kind, **({"probability": routing["p"]} if "p" in routing else {})}


_METRIC_FIELDS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "IdentityCIError": _expected,
    "PermutedCIPlots": lambda fields: {"dense": list(fields.get("dense_patterns") or [])},
    "UVPlots": lambda fields: {"dense": list(fields.get("dense_patterns") or [])},
    "CI_L0": lambda fields: {"groups": dict(fields.get("groups") or {})},
    "StochasticReconSubsetCEAndKL": lambda fields: {
        "include": dict(fields.get("include_patterns") or {}),
        "exclude": dict(fields.get("exclude_patterns") or {}),
    },
    "PGDMultiBatchReconLoss": _multi_batch,
    "PGDMultiBatchReconSubsetLoss": lambda fields: {"routing": "uniform_k", **_multi_batch(fields)},
    "CEandKLLosses": lambda fields: {"rounding_threshold": fields.get("rounding_threshold", 0.1)},
}


def _target(left: dict[str, Any]) -> dict[str, Any]:
    task = dict(_take(left, "task_config", default={}))
    kind, path = task.pop("task_name", None), _take(left, "pretrained_model_path")
    name = _take(left, "pretrained_model_name")
    if kind == "lm":
        return {"target": {"type": "language", "model": name or path, "sequence_length": task.get("max_seq_len", 512)}}
    if kind not in ("tms", "resid_mlp"):
        raise ConfigError(
            f"{kind!r} is no task that can be decomposed here", "task_config.task_name", "tms, resid_mlp, lm"
        )
    return {
        "target": {"type": kind, "path": path},
        "feature_probability": task.get("feature_probability", 0.05),
        "data_generation": task.get("data_generation_type", "at_least_zero_active"),
    }

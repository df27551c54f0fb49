"""From a configuration to jobs: one model on one data set, with the key under which its features are stored."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from interp_plugins.methods.extract.config import ExtractConfig
from interp_plugins.methods.extract.sources import Witness
from interp_plugins.models.config import LoadOptions
from interp_plugins.models.hardware import choose_device, choose_dtype
from interp_plugins.models.resolve import ResolvedModel, resolve_model
from interp_plugins.models.sizes import smallest_first
from interp_registry.catalog import Catalog
from interp_registry.contracts.data import Dataset
from interp_registry.contracts.method import Failure
from interp_registry.contracts.model import Modality
from interp_registry.errors import DataError, InterpError, UsageError
from interp_registry.stores.features import FeatureRequest
from interp_registry.tensors.pooling import Pooling, parse_pooling

__all__ = ["Job", "load_options", "model_names", "one_line", "plan_jobs"]


@dataclass(frozen=True)
class Job:
    """One model on one data set."""

    model: ResolvedModel
    dataset: Dataset
    poolings: tuple[Pooling, ...]
    """Those that give one vector per sample."""
    tokens: bool
    """Whether every token's activations are kept as well (pooling ``none``)."""
    request: FeatureRequest
    """Decides the key of the pooled features."""
    witness: Witness
    """Samples as they were when the key was made."""

    @property
    def token_request(self) -> FeatureRequest:
        """Decides the key of the token activations."""
        options = {name: value for name, value in self.request.options.items() if name != "loss"}
        return replace(self.request, pools=("none",), options=options)


def load_options(config: ExtractConfig, device: str) -> LoadOptions:
    """How models are loaded."""
    return config.model if config.model.device != "auto" else replace(config.model, device=device)


def model_names(config: ExtractConfig, catalog: Catalog) -> list[str]:
    """The models that were asked for, each once: those named, then those of the set.

    Raises:
        UsageError: Neither a model nor a set was named, or the set has no model of that modality.
    """
    names = list(config.models)
    if config.modelset is not None:
        entry = catalog.modelset(config.modelset)
        wanted = ["language", "vision"] if config.modality == "all" else [config.modality]
        members = [name for modality in wanted for name in entry.get(modality, [])]
        if not members and not names:
            raise UsageError(f"the model set {config.modelset!r} has no {config.modality} models")
        names += members
    if not names:
        raise UsageError("no model was named", "name models, or a set: --modelset val")
    return list(dict.fromkeys(names))


def plan_jobs(
    config: ExtractConfig, dataset: Dataset, catalog: Catalog, device: str
) -> tuple[list[Job], list[Failure]]:
    """Look every model up and give each its key.

    A misspelt name or a model that cannot read the data is wrong usage and raises; a model that cannot be had is a
    failure.

    Raises:
        UsageError: A name is unknown or ambiguous, or a pooling makes no sense.
        DataError: A named model cannot read the data.
    """
    poolings = parse_pooling(config.pool)
    options = load_options(config, device)
    names = model_names(config, catalog)
    resolved, failures = _resolve_all(names, options, config)
    if config.modelset is not None:
        resolved = smallest_first(resolved)
    jobs: list[Job] = []
    for model in resolved:
        for part in _readable(model, dataset, config, explicit=model.name in config.models):
            chosen: tuple[Pooling, ...] = tuple(pooling for pooling in poolings[part.modality] if pooling != "none")
            witness = Witness(dataset, part.modality, config.caption)
            request = _request(part, dataset, chosen, config)
            jobs.append(Job(part, dataset, chosen, "none" in poolings[part.modality], request, witness))
    return jobs, failures


def one_line(item: str, err: BaseException) -> Failure:
    """A failure as it is recorded."""
    message = str(err) if isinstance(err, InterpError) else f"{type(err).__name__}: {err}"
    return Failure(item, type(err).__name__, " ".join(message.split()))


def _resolve_all(
    names: Sequence[str], options: LoadOptions, config: ExtractConfig
) -> tuple[list[ResolvedModel], list[Failure]]:
    resolved: list[ResolvedModel] = []
    failures: list[Failure] = []
    for name in names:
        try:
            resolved.append(resolve_model(name, options, config.kind))
        except UsageError:
            if name in config.models:
                raise
            failures.append(one_line(name, UsageError(f"{name} does not exist")))
        except InterpError as err:
            if len(names) == 1:
                raise
            failures.append(one_line(name, err))
    return resolved, failures


def _readable(model: ResolvedModel, dataset: Dataset, config: ExtractConfig, *, explicit: bool) -> list[ResolvedModel]:
    """The model, or those of its towers, that can read the data and are of the modality asked for."""
    parts = [part for part in model.towers() if config.modality in ("all", part.modality)]
    readable = [part for part in parts if part.modality in dataset.modalities]
    if parts and not readable and explicit:
        raise DataError(
            f"{model.name} reads {_needs(parts)}, and the data set {dataset.name} has {_offers(dataset)} only",
            "choose another data set with --dataset; a folder of images with a file of texts is FOLDER:captions=FILE",
        )
    return readable


def _needs(parts: Iterable[ResolvedModel]) -> str:
    return " and ".join({"language": "text", "vision": "images"}.get(part.modality, part.modality) for part in parts)


def _offers(dataset: Dataset) -> str:
    names: dict[Modality, str] = {"language": "text", "vision": "images"}
    return " and ".join(names[modality] for modality in sorted(dataset.modalities)) or "nothing"


def _request(
    model: ResolvedModel, dataset: Dataset, poolings: tuple[Pooling, ...], config: ExtractConfig
) -> FeatureRequest:
    device = choose_device(getattr(model.config, "device", "auto"))
    compute = str(choose_dtype(config.model.dtype, device)).removeprefix("torch.")
    options: dict[str, Any] = {"modality": model.modality, "compute": compute}
    if model.modality == "language":
        options |= {
            "caption": list(config.caption),
            "max_length": config.model.max_length,
            "tokenizer": config.model.tokenizer,
        }
        options |= {"compat": config.compat, "loss": config.loss or None, "quantize": config.model.quantize}
    if config.model.trust_remote_code:
        options["trust_remote_code"] = True
    return FeatureRequest(
        model=model.name,
        dataset=dataset.name,
        fingerprint=dataset.fingerprint,
        pools=poolings,
        layers=config.layers,
        dtype=config.store_dtype,
        revision=model.revision,
        prompt=config.prompt if model.modality == "language" else None,
        options={name: value for name, value in options.items() if value is not None},
    )

"""`interp.Alignment`: how much a model that is being trained agrees with reference models."""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from interp_plugins.methods.align.api import best_pair
from interp_plugins.methods.align.downloads import fetch
from interp_plugins.methods.align.inputs import Features, as_layers, check_prepared
from interp_plugins.methods.align.metric_choice import BoundMetric, resolve
from interp_plugins.methods.align.reading import LoadedFeatures, load_features, means_file
from interp_plugins.methods.align.result import Best
from interp_plugins.methods.align.sources import load_entry
from interp_plugins.metrics.layer_bank import LayerBank
from interp_plugins.metrics.preparation import Clamp, prepare_features
from interp_registry.catalog import Catalog
from interp_registry.contracts.metric import State
from interp_registry.discovery import discover
from interp_registry.errors import DataError, UnknownNameError, UsageError
from interp_registry.stores.artifact import commit, make_folder
from interp_registry.stores.features import FeatureStore
from interp_registry.stores.home import layout
from interp_registry.stores.keys import slug

__all__ = ["Alignment"]

_log = logging.getLogger(__name__)
_STATE_VERSION = 1
_PUBLISHED = "platonic"


class Alignment:
    """Reference models on a data set, against which features of another model are scored.

        alignment = interp.Alignment(reference=["vit-d64"], dataset="shapes", limit=1024)
        texts = alignment.get_data("text")
        alignment.score(my_features(texts), "mutual_knn")   # {"vit-d64": Best(score=..., layers=(mine, theirs))}

    What a metric needs of a reference (neighbour lists, Grams, bases) is prepared once and kept on disk, so scoring costs the
    preparation of the new features only.

    Args:
        reference: Names of models (stored features are used, missing ones extracted), feature files, or short names of published
            features such as ``dinov2_g`` (of the data set prh, wit_1024; fetched when the network is there).
        dataset: The data set that all models see.
        subset: Its subset, e.g. ``wit_1024``.
        models: Another name of ``reference``.
        limit: Only the first samples.
        clamp: Outlier clamp of both sides; the published library clamps at the exact quantile.
        device: Where to score; "cpu", "cuda", ...; None: where the features are.
        pool: Pooling for references that are extracted.
        offline: Never fetch.

    Raises:
        UsageError: There is no reference, or ``reference`` and ``models`` are both given.
    """

    def __init__(  # noqa: PLR0913 - the public face: every option is a keyword
        self,
        reference: Sequence[str] = (),
        dataset: str = "shapes",
        subset: str | None = None,
        *,
        models: Sequence[str] | None = None,
        limit: int | None = None,
        clamp: Clamp | None = "quantile-exact",
        device: str | torch.device | None = None,
        pool: str = "language=avg,vision=cls",
        offline: bool = False,
    ) -> None:
        if reference and models:
            raise UsageError("reference= and models= are the same; both were given", "use reference=")
        names = list(reference or models or ())
        if not names:
            raise UsageError("there is no reference model", 'name some, e.g. reference=["vit-d64"]')
        self.dataset, self.subset, self.limit = dataset.replace("minhuh/prh", "prh"), subset, limit
        self.clamp: Clamp | None = clamp
        self.device, self.pool, self.offline = device, pool, offline
        self._references = {name: _Reference(name, self) for name in names}
        self._states: dict[tuple[str, str], State] = {}

    @property
    def names(self) -> list[str]:
        """Names of the references."""
        return list(self._references)

    @property
    def dataset_text(self) -> str:
        """The data set as `interp extract --dataset` takes it."""
        if self.subset is None:
            return self.dataset
        return f"{self.dataset}:{'revision' if self.dataset == 'prh' else 'subset'}={self.subset}"

    def get_data(self, modality: Literal["text", "image"]) -> list[Any]:
        """What the models see: a list of texts (the first caption of each sample), or of PIL images.

        Raises:
            UsageError: ``modality`` is neither.
            DataError: The data set has no such side.
        """
        from interp_plugins.datasets.resolve import select_dataset

        if modality not in ("text", "image"):
            raise UsageError(f"modality {modality!r} is unknown", "use 'text' or 'image'")
        dataset = select_dataset(self.dataset_text, self.limit)
        read = dataset.text if modality == "text" else dataset.image
        return [read(index) for index in range(len(dataset))]

    def score(
        self, features: Features, metric: Any = "mutual_knn", topk: int = 10, normalize: bool = True
    ) -> dict[str, Best]:
        """Best score of the features with each reference, and the layers (of the features, of the reference).

        Args:
            features: A list of ``[n, d]`` arrays or one array ``[n, layers, d]``, rows in the order of `get_data`.
            metric: A metric's name, `interp.metric(...)`, a metric object or a function.
            topk: Number of neighbours, for a metric given by name.
            normalize: L2-normalise the rows of both sides.

        Raises:
            DataError: The features cannot be compared with the references.
        """
        chosen = resolve(metric, topk)
        layers = as_layers(features, "features", self.device)
        prepared = prepare_features(layers, self.clamp, normalize)
        check_prepared(prepared, "features")
        bank = LayerBank(prepared)
        own = chosen.prepare(bank)
        found: dict[str, Best] = {}
        for name, reference in self._references.items():
            state = self._state(reference, chosen, normalize, bank)
            scores = chosen.score_pairs(own, state).cpu().numpy()
            found[name] = best_pair(scores, chosen.info.higher_is_better)
        return found

    def _state(self, reference: "_Reference", metric: BoundMetric, normalize: bool, bank: LayerBank) -> State:
        """The metric's state of a reference: from memory, from disk, or prepared now."""
        key = (reference.name, _state_key(metric, self.clamp, normalize))
        if key not in self._states:
            self._states[key] = reference.state(metric, normalize, key[1])
        if reference.n != bank.n:
            raise DataError(
                f"the features have {bank.n} samples and {reference.name} has {reference.n}",
                "give one row per item of get_data(...)",
            )
        device = bank[0].device
        if any(tensor.device != device for tensor in self._states[key].values()):
            self._states[key] = {name: tensor.to(device) for name, tensor in self._states[key].items()}
        return self._states[key]


@dataclasses.dataclass
class _Reference:
    """A reference model; its features are read only when a state has to be prepared."""

    name: str
    owner: Alignment
    n: int = 0
    _digest: str = ""

    def state(self, metric: BoundMetric, normalize: bool, key: str) -> State:
        """The metric's state, from the cache on disk where it is there."""
        from safetensors import safe_open
        from safetensors.torch import save

        digest = self.digest()
        name = hashlib.sha256(f"{digest}|{key}".encode()).hexdigest()[:32]
        path = layout().cache / "align" / f"{slug(self.name)}-{name}.safetensors"
        if path.exists():
            with safe_open(path, "pt") as file:
                self.n = int(file.metadata()["n"])
                return {tensor: file.get_tensor(tensor) for tensor in file.keys()}  # noqa: SIM118 - no mapping
        loaded = self._load()
        self.n = loaded.n
        prepared = prepare_features(loaded.features, self.owner.clamp, normalize)
        check_prepared(prepared, self.name)
        state = metric.prepare(LayerBank(prepared))
        content = save({k: v.contiguous().cpu() for k, v in state.items()}, {"n": str(self.n)})
        make_folder(path.parent)
        commit(path, lambda file: file.write(content))
        return state

    def digest(self) -> str:
        """What identifies the features without reading all of them."""
        if not self._digest:
            entry = None if means_file(self.name) else self._entry()
            file = Path(self.name) if means_file(self.name) else self._published_file()
            if entry is not None:
                self._digest = entry.key
            elif file is not None:
                self._digest = hashlib.sha256(file.read_bytes()).hexdigest()
            else:
                self._digest = _digest_of(self._load().features)
        return self._digest

    def _load(self) -> LoadedFeatures:
        if means_file(self.name):
            return load_features(self.name)
        entry = self._entry()
        if entry is not None:
            return load_entry(entry, None if len(entry.pools) == 1 else entry.pools[0])
        file = self._published_file()
        return self._extracted() if file is None else load_features(file, self.name)

    def _entry(self) -> Any:
        """Stored features of the model on the data set."""
        store = FeatureStore(layout().store)
        if self.name in store.keys():  # noqa: SIM118 - a method, not a mapping
            return store.get(self.name)
        for entry in store.entries():
            request = entry.manifest["request"]
            here = request["model"] == self.name and request["dataset"] == self.owner.dataset.partition(":")[0]
            if here and entry.complete and self.owner.limit in (None, entry.n_rows):
                return entry
        return None

    def _published_file(self) -> Path | None:
        """The file of a short name of the published references, fetched if need be."""
        catalog = Catalog(tuple(discover().config_folders)).get("references", _PUBLISHED)
        item = catalog["models"].get(self.name)
        if item is None:
            return None
        if self.owner.dataset != catalog["dataset"]:
            raise UsageError(
                f"{self.name} was published on {catalog['dataset']}, not {self.owner.dataset}", 'use dataset="prh"'
            )
        path = layout().cache / "references" / catalog["subset"] / item["file"]
        return fetch(f"{catalog['url']}/{item['file']}", path, item.get("sha256"), self.owner.offline)

    def _extracted(self) -> LoadedFeatures:
        from interp_plugins.datasets.resolve import select_dataset
        from interp_plugins.methods.extract.api import extract

        _log.info("extracting %s", self.name)
        dataset = select_dataset(self.owner.dataset_text, self.owner.limit)
        try:
            found = extract(self.name, dataset, pool=self.owner.pool)
        except UnknownNameError as err:
            published = Catalog(tuple(discover().config_folders)).get("references", _PUBLISHED)["models"]
            raise UnknownNameError("reference", self.name, [*err.known, *published]) from err
        return LoadedFeatures(
            self.name, as_layers(found.features, self.name), [str(layer) for layer in found.layers], addressed=True
        )


def _state_key(metric: BoundMetric, clamp: Clamp | None, normalize: bool) -> str:
    described = {"metric": metric.name, "options": metric.options, "clamp": clamp, "normalize": normalize}
    return json.dumps({**described, "version": _STATE_VERSION}, sort_keys=True, default=str)


def _digest_of(layers: Sequence[Tensor]) -> str:
    digest = hashlib.sha256()
    for layer in layers:
        digest.update(layer.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()

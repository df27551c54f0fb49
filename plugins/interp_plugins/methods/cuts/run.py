"""`interp cuts`: embed patches and words, cut their graph, store vectors, labels, words and pictures."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interp_plugins.methods.cuts.agreement import word_agreement, word_similarity
from interp_plugins.methods.cuts.config import CutsConfig
from interp_plugins.methods.cuts.cut import Cut, cut_nodes
from interp_plugins.methods.cuts.gallery import cut_figures
from interp_plugins.methods.cuts.nodes import CorpusNodes, collect_nodes
from interp_plugins.methods.cuts.words import ClusterWord, cluster_words, words_csv
from interp_plugins.models.image_text.loading import load_image_text
from interp_registry.contracts.method import Failure, Result, RunContext
from interp_registry.errors import InterpError
from interp_registry.figures import Figure, Images, Table
from interp_registry.stores.artifact import replace, replace_text
from interp_registry.stores.keys import slug
from interp_registry.stores.shards import write_shard

__all__ = ["cuts"]

EMBEDDED = ("clip-bow", "clip-comp")


def cuts(config: CutsConfig, ctx: RunContext) -> Result:
    """Cut the data set under every model; a model that fails is recorded and the others go on.

    Raises:
        InterpError: The data set cannot be had, or every model failed (the first error).
    """
    dataset = config.dataset.build().select(config.limit)
    total = Result()
    errors: list[InterpError] = []
    names = config.models or EMBEDDED
    for number, name in enumerate(names):
        ctx.events.progress("cut", number, len(names), "models")
        try:
            model = load_image_text(name, config.loading, ctx.device)
            nodes = collect_nodes(model, dataset)
            found = _Found(f"{number:03d}-{slug(name)}", name, nodes, cut_nodes(nodes, config, ctx.seed))
            _add(total, found, config.n_pictures, ctx)
        except InterpError as err:
            errors.append(err)
            total.failures.append(Failure(name, type(err).__name__, str(err)))
    ctx.events.progress("cut", len(names), len(names), "models")
    if errors and not total.artifacts:
        raise errors[0]
    total.tables.insert(0, _overview(total))
    return total


@dataclass(frozen=True)
class _Found:
    """The cut of one model."""

    folder: str
    name: str
    nodes: CorpusNodes
    cut: Cut

    def scalars(self) -> dict[str, float | int]:
        return {
            "cut_value": self.cut.cut_value,
            "eigengap": self.cut.eigengap,
            "n_clusters": self.cut.n_clusters,
            "n_patches": len(self.nodes.patches),
            "n_words": len(self.nodes.words),
        }


def _add(total: Result, found: _Found, n_pictures: int, ctx: RunContext) -> None:
    similarity = word_similarity(found.nodes)
    words = cluster_words(found.nodes.names, found.cut.word_labels, similarity, found.cut.word_vectors)
    agreement = word_agreement(similarity, found.cut.word_vectors, found.nodes.word_owner)
    values = {**found.scalars(), "spearman_1": agreement[0]["spearman"]}
    figures = cut_figures(found.name, found.nodes, found.cut, words, n_pictures)
    stored = _stored(found, words, {**values, "agreement": agreement, "solver": found.cut.solver}, ctx)
    _store_pictures(found, figures, ctx)
    total.artifacts += stored
    total.scalars |= {f"{found.name}/{key}": value for key, value in values.items()}
    agreement_table = Table.of_records(
        agreement, title=f"{found.name}: agreement of eigenvectors with similarities", name=f"{found.folder} agreement"
    )
    total.tables += [agreement_table, _word_table(found, words)]
    total.figures += figures
    ctx.tracker.log({f"cuts/{found.name}/{key}": float(value) for key, value in values.items()}, 0)


def _store_pictures(found: _Found, figures: Sequence[Figure], ctx: RunContext) -> None:
    for figure in figures:
        if isinstance(figure, Images):
            for index, picture in enumerate(figure.pictures):
                path, data = ctx.run.artifact(f"{found.folder}/pictures/{index:03d}.png"), picture.png
                replace(path, lambda file, data=data: file.write(data))
                if index == 1:
                    ctx.tracker.image(f"cuts/{found.name}", picture.png, 0)


def _stored(found: _Found, words: Sequence[ClusterWord], values: dict[str, Any], ctx: RunContext) -> list[Path]:
    nodes, cut = found.nodes, found.cut
    tensors = {
        "eigenvalues": cut.eigenvalues,
        "patch_vectors": cut.patch_vectors,
        "word_vectors": cut.word_vectors,
        "patch_labels": cut.patch_labels,
        "word_labels": cut.word_labels,
        "patch_owner": nodes.patch_owner,
        "word_owner": nodes.word_owner,
    }
    tensors = {name: value.contiguous() for name, value in tensors.items()}
    names = ("cut.safetensors", "words.csv", "metrics.json")
    vectors, table, numbers = (ctx.run.artifact(f"{found.folder}/{name}") for name in names)
    replace(vectors, lambda file: write_shard(file, tensors, {"words": list(nodes.names), "grid": list(nodes.grid)}))
    replace_text(table, words_csv(words))
    finite = {
        key: value if not isinstance(value, float) or math.isfinite(value) else None for key, value in values.items()
    }
    replace_text(numbers, json.dumps(finite, indent=2) + "\n")
    return [vectors, table, numbers]


def _word_table(found: _Found, words: Sequence[ClusterWord]) -> Table:
    rows = []
    for cluster in sorted({word.cluster for word in words}):
        chosen = [word for word in words if word.cluster == cluster]
        top = ", ".join(f"{word.word} ({word.count})" for word in chosen[:10])
        rows.append({"cluster": cluster, "words": sum(word.count for word in chosen), "most distinctive": top})
    return Table.of_records(rows, title=f"{found.name}: words of the clusters", name=f"{found.folder} words")


def _overview(total: Result) -> Table:
    rows: dict[str, dict[str, Any]] = {}
    for key, value in total.scalars.items():
        model, _, name = key.rpartition("/")
        rows.setdefault(model, {"model": model})[name] = value
    return Table.of_records(rows.values(), title="Normalised cuts", name="overview")

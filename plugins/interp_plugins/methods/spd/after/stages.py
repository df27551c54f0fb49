"""The stages: load a decomposition, one pure function, store what it found."""

import json
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from interp_plugins.methods.spd.after.attribution import attribute
from interp_plugins.methods.spd.after.clustering import merge_groups
from interp_plugins.methods.spd.after.config import (
    AttributeConfig,
    ClusterConfig,
    CompareConfig,
    EditConfig,
    HarvestConfig,
    ShowConfig,
)
from interp_plugins.methods.spd.after.editing import edited_weight, measure_edit, parse_components
from interp_plugins.methods.spd.after.examples import describe_examples
from interp_plugins.methods.spd.after.page import components_page
from interp_plugins.methods.spd.after.similarity import component_cosines, similarity
from interp_plugins.methods.spd.after.statistics import Harvest, harvest, precision_recall_pmi
from interp_plugins.methods.spd.evaluation import Evaluation
from interp_plugins.methods.spd.loading import Stored, load_decomposition
from interp_registry.contracts.method import Result, RunContext
from interp_registry.errors import UsageError
from interp_registry.figures import HeatMap, Histogram, Lines, Series, Table
from interp_registry.stores.artifact import replace as replace_file
from interp_registry.stores.records import replace_record
from interp_registry.stores.shards import write_shard

__all__ = ["run_attribute", "run_cluster", "run_compare", "run_edit", "run_harvest", "run_show"]


def _gather(
    stored: Stored, ctx: RunContext, config: HarvestConfig | ShowConfig
) -> tuple[Evaluation, Harvest, list[dict[str, Any]]]:
    """Return the evaluation, statistics, and one record per component that ever fires."""
    evaluation = stored.evaluation(ctx.seed, config.n_batches, config.batch_size)
    tokenizer = stored.problem.tokens
    vocabulary = None if tokenizer is None else len(tokenizer)
    found = harvest(evaluation, config.threshold, config.n_examples, vocabulary)
    precision, _, pmi = precision_recall_pmi(found.together, found.n_rows)
    n_related = getattr(config, "n_related", 5)
    records: list[dict[str, Any]] = []
    for c in found.density.argsort(descending=True).tolist():
        if found.density[c] == 0:
            break
        others = pmi[c].clone()
        others[c] = -torch.inf
        related = [
            {"component": found.names[j], "precision": float(precision[c, j]), "pmi": float(others[j])}
            for j in others.argsort(descending=True)[:n_related].tolist()
            if torch.isfinite(others[j])
        ]
        records.append({
            "component": found.names[c], "density": float(found.density[c]),
            "mean_importance": float(found.mean_importance[c]), "related": related,
            "examples": describe_examples(found, evaluation, c, tokenizer),
        })  # fmt: skip
    return evaluation, found, records


def run_harvest(config: HarvestConfig, ctx: RunContext) -> Result:
    """Gather examples, correlations and token statistics of every component that fires."""
    stored = load_decomposition(config.decomposition, ctx)
    _, found, records = _gather(stored, ctx, config)
    file = ctx.run.artifact("harvest/components.jsonl")
    text = "".join(json.dumps(record) + "\n" for record in records)
    replace_file(file, lambda out: out.write(text.encode()))
    tensors = {"together": found.together, "density": found.density, "mean_importance": found.mean_importance}
    if found.token_counts is not None:
        tensors["token_counts"] = found.token_counts.contiguous()
    arrays = file.with_name("statistics.safetensors")
    replace_file(arrays, lambda out: write_shard(out, tensors, {"kind": "spd harvest", "names": list(found.names)}))
    rows = tuple((r["component"], r["density"], r["mean_importance"], r["examples"][0]["text"]) for r in records)
    table = Table(("component", "density", "mean importance", "strongest example"), rows, title="components")
    alive = found.density[found.density > 0]
    figure = Histogram.of(alive.log10().tolist(), title="density of live components", x_title="log10 share of rows")
    scalars = {"n_rows": found.n_rows, "n_alive": len(records), "n_components": len(found.names)}
    return Result(scalars=scalars, tables=[table], figures=[figure], artifacts=[file, arrays])


def run_cluster(config: ClusterConfig, ctx: RunContext) -> Result:
    """Merge components that fire together, by description length."""
    stored = load_decomposition(config.decomposition, ctx)
    evaluation = stored.evaluation(ctx.seed, config.n_batches, config.batch_size)
    found = harvest(evaluation, config.threshold)
    alive = [c for c in found.density.argsort(descending=True).tolist() if found.density[c] > 0][
        : config.max_components
    ]
    if not alive:
        raise UsageError("no component fires", "lower --threshold, or decompose for longer")
    fires = torch.cat([step.lower.flatten(0, -2) for step in evaluation.steps])[:, alive] > config.threshold
    weights = torch.cat([
        step.row_weights if step.row_weights is not None else torch.ones(step.lower.flatten(0, -2).shape[0])
        for step in evaluation.steps
    ])  # fmt: skip
    history = merge_groups(fires, weights, tuple(alive), config.alpha)
    n_merges = history.best if config.n_groups is None else max(0, len(alive) - config.n_groups)
    groups = history.groups_after(n_merges)
    bits = (history.start_bits, *(merge.bits for merge in history.merges))
    named = [[found.names[c] for c in group] for group in groups]
    file = ctx.run.artifact("cluster/groups.json")
    merges = [{"left": list(m.left), "right": list(m.right), "bits": m.bits} for m in history.merges]
    replace_record(file, {"groups": named, "bits": list(bits), "merges": merges, "names": list(found.names)})
    table = Table(
        ("group", "size", "members"), tuple((i, len(g), ", ".join(g)) for i, g in enumerate(named)), title="groups"
    )
    figure = Lines((Series("description length", tuple(range(len(bits))), bits),), "merges", "bits per row",
                   title="description length")  # fmt: skip
    scalars = {"n_groups": len(groups), "bits": bits[n_merges], "bits_before": history.start_bits}
    return Result(scalars=scalars, tables=[table], figures=[figure], artifacts=[file])


def run_attribute(config: AttributeConfig, ctx: RunContext) -> Result:
    """Attribute later components to earlier ones, over data."""
    stored = load_decomposition(config.decomposition, ctx)
    evaluation = stored.evaluation(ctx.seed, config.n_batches, config.batch_size)
    names = list(stored.model.index)
    pairs = [tuple(pair.split(">")) for pair in config.pairs] or list(pairwise(names))
    result, tensors = Result(), {}
    counts: dict[str, float] = {}
    for source, target in pairs:
        for name in (source, target):
            if name not in names:
                raise UsageError(f"{name!r} is not decomposed", f"decomposed: {', '.join(names)}")
        alive = {name: _alive(evaluation, name, config.threshold) for name in (source, target)}
        total = sum(attribute(step, source, target, alive[target]) for step in evaluation.steps)
        matrix = torch.as_tensor(total)[alive[source]] / len(evaluation.steps)
        tensors[f"{source}>{target}"] = matrix.contiguous()
        result.figures.append(
            HeatMap(
                matrix.tolist(), rows=tuple(map(str, alive[source])), columns=tuple(map(str, alive[target])),
                row_title=f"component of {source}", column_title=f"component of {target}", units="mean |gradient x activation|",
                title=f"attribution from {source} to {target}",
            )
        )  # fmt: skip
        counts[f"n_edges/{source}>{target}"] = int((matrix > 0.1 * matrix.max()).sum()) if matrix.numel() else 0
    file = ctx.run.artifact("attributions.safetensors")
    replace_file(file, lambda out: write_shard(out, tensors, {"kind": "spd attributions"}))
    result.artifacts.append(file)
    result.scalars = dict(counts)
    return result


def _alive(evaluation: Evaluation, name: str, threshold: float) -> list[int]:
    i = evaluation.model.index[name]
    largest = torch.stack([step.lower_parts[i].flatten(0, -2).amax(0) for step in evaluation.steps]).amax(0)
    return (largest > threshold).nonzero().flatten().tolist()


def run_edit(config: EditConfig, ctx: RunContext) -> Result:
    """Scale components, measure what changes, and store the edited matrices."""
    stored = load_decomposition(config.decomposition, ctx)
    chosen = parse_components(config.components, stored.model)
    evaluation = stored.evaluation(ctx.seed, config.n_batches, config.batch_size)
    effect = measure_edit(evaluation, chosen, config.factor, config.threshold)
    weights: dict[str, Tensor] = {
        f"{name}.weight": edited_weight(stored.model, name, numbers, config.factor).T.contiguous()
        for name, numbers in chosen.items()
    }
    file = ctx.run.artifact("edited.safetensors")
    replace_file(file, lambda out: write_shard(out, weights, {"kind": "spd edit", "factor": config.factor}))
    rows = tuple(effect.items())
    return Result(scalars=dict(effect), tables=[Table(("measure", "value"), rows, title="effect")], artifacts=[file])


def run_compare(config: CompareConfig, ctx: RunContext) -> Result:
    """Compare the rank-one matrices of two decompositions of the same modules."""
    first, second = (load_decomposition(name, ctx) for name in (config.first, config.second))
    shared = [name for name in first.model.index if name in second.model.index]
    if not shared:
        raise UsageError("the two decompositions have no module in common", f"first: {', '.join(first.model.index)}")
    evaluation = first.evaluation(ctx.seed)
    fired = {i: (step.lower > config.threshold).to(step.lower.dtype) for i, step in enumerate(evaluation.steps)}
    density = evaluation.mean_per_component(fired)
    result, rows, every = Result(), [], []
    means: dict[str, float] = {}
    for name in shared:
        a, b = first.model, second.model
        if a.weight(name).shape != b.weight(name).shape:
            raise UsageError(f"{name} differs in shape: {tuple(a.weight(name).shape)}, {tuple(b.weight(name).shape)}")
        cosines = component_cosines(a.v(name), a.u(name), b.v(name), b.u(name))
        alive = density[name] > config.density
        found = similarity(cosines, alive)
        every.append(cosines[alive].max(1).values)
        rows.append((name, found.n_alive, found.mean, found.std, found.least, found.largest))
        means[f"mean_max_abs_cosine_sim/{name}"] = found.mean
    together = torch.cat(every)
    means["mean_max_abs_cosine_sim/all_layers"] = float(together.mean()) if len(together) else 0.0
    columns = ("module", "live components", "mean", "std", "least", "largest")
    result.tables.append(Table(columns, tuple(rows), title="best |cosine| of each live component"))
    result.scalars = dict(means)
    return result


def run_show(config: ShowConfig, ctx: RunContext) -> Result:
    """Write a page to browse the components."""
    stored = load_decomposition(config.decomposition, ctx)
    _, found, records = _gather(stored, ctx, config)
    page = components_page(stored.name, records, found.n_rows)
    file = ctx.run.artifact("components.html")
    replace_file(file, lambda out: out.write(page.encode()))
    return Result(scalars={"n_components": len(records)}, artifacts=[file])

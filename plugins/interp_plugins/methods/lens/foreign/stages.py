"""What ``interp lens import`` and ``interp lens export`` do for each format of another tool."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from interp_plugins.methods.lens.config import ExportConfig, ImportConfig
from interp_plugins.methods.lens.dumped import Dump
from interp_plugins.methods.lens.foreign.config import (
    ConsistencyDumpImport,
    ConsistencySettingsImport,
    NlaExport,
    NlaImport,
    NlaParquetImport,
)
from interp_plugins.methods.lens.foreign.consistency_config import DIFFERENCES, translate
from interp_plugins.methods.lens.foreign.consistency_dump import read_consistency
from interp_plugins.methods.lens.foreign.nla_parquet import read_nla_parquet
from interp_plugins.methods.lens.foreign.samples import Samples, check_against, store_samples
from interp_plugins.methods.lens.loading import load_frozen
from interp_plugins.methods.lens.nla.config import NlaConfig
from interp_plugins.methods.lens.nla.lens import NlaLens
from interp_plugins.methods.lens.nla.lens import build as build_nla
from interp_plugins.methods.lens.stored import find_lens, load_lens, save_lens
from interp_plugins.models.language import CausalLanguageModel
from interp_registry.config_io import dump_yaml, read_yaml
from interp_registry.contracts.method import Result, RunContext
from interp_registry.errors import UsageError
from interp_registry.figures import Table
from interp_registry.stores.artifact import replace as replace_file
from interp_registry.stores.records import read_record

__all__ = ["export_checkpoints", "import_checkpoints", "import_dump", "import_parquet", "import_settings"]


def import_parquet(_choice: NlaParquetImport, config: ImportConfig, ctx: RunContext) -> Result:
    """Activations of a parquet file into the activation store.

    Raises:
        DataError: File, sidecar and model do not go together.
    """
    model = _model(config, ctx)
    samples, left_out = read_nla_parquet(config.path, None if model is None else model.tokenizer)
    return _stored(samples, left_out, "nla-parquet", model, config, ctx)


def import_dump(_choice: ConsistencyDumpImport, config: ImportConfig, ctx: RunContext) -> Result:
    """Activations of Consistency Lens into the activation store.

    Raises:
        DataError: The files hold no such samples, or those of another model or layer.
    """
    return _stored(read_consistency(config.path), 0, "consistency-dump", _model(config, ctx), config, ctx)


def _model(config: ImportConfig, ctx: RunContext) -> CausalLanguageModel | None:
    return load_frozen(config.model, config.loading, config.kind, ctx.device) if config.model else None


def _stored(
    samples: Samples,
    left_out: int,
    kind: str,
    model: CausalLanguageModel | None,
    config: ImportConfig,
    ctx: RunContext,
) -> Result:
    with_text = int((samples.lengths > 0).sum())
    scalars: dict[str, Any] = {"layer": samples.layer, "rows_left_out": left_out, "rows_with_text": with_text}
    if model is not None:
        difference = check_against(samples, model, str(config.path))
        samples = replace(samples, model=model.info.name)
        scalars |= {"largest_difference": difference} if with_text else {}
    revision = model.info.revision if model is not None else None
    dump = store_samples(samples, ctx.activations, {"imported": kind}, revision)
    documents = len(samples.documents.unique())
    scalars |= {"key": dump.entry.key, "model": samples.model, "rows": dump.n_rows, "documents": documents}
    return Result(scalars=scalars, artifacts=[dump.entry.path])


def import_settings(choice: ConsistencySettingsImport, config: ImportConfig, ctx: RunContext) -> Result:
    """Settings of Consistency Lens as a configuration file.

    Raises:
        ConfigError: A key cannot be translated.
    """
    made = translate(read_yaml(config.path), choice.steps)
    target = ctx.run.artifact("consistency.yaml")
    notes = [f"# From {config.path.name}, settings of Consistency Lens. What differs:"]
    notes += [f"# - {text}" for text in DIFFERENCES]
    if made.left_out:
        notes.append(f"# Without effect here: {', '.join(made.left_out)}")
    text = "\n".join(notes) + "\n" + dump_yaml(made.settings)
    replace_file(target, lambda file: file.write(text.encode()))
    table = Table(("difference",), tuple((text,) for text in DIFFERENCES), title="What differs")
    return Result(scalars={"steps": made.settings["training"]["steps"]}, tables=[table], artifacts=[target])


def import_checkpoints(choice: NlaImport, config: ImportConfig, ctx: RunContext) -> Result:
    """A lens of two released checkpoints: their folders are named in it, their weights stay where they are.

    Raises:
        UsageError: The model or its activations are not named.
        DataError: A checkpoint does not fit itself, the other one or the model.
    """
    model = _model(config, ctx)
    if model is None or not choice.dump:
        raise UsageError(
            "released checkpoints need the model and its activations",
            "give --model, and as --format.dump the key that `interp lens dump` printed for it",
        )
    reading = Path(choice.reconstructor).expanduser() if choice.reconstructor else config.path.parent / "ar"
    dump = Dump.open(ctx.activations, choice.dump)
    method = NlaConfig(
        verbaliser=str(config.path.resolve()),
        reconstructor=str(reading.resolve()),
        injection_scale=choice.injection_scale,
        max_tokens=choice.max_tokens,
        sft_steps=0,
    )
    lens = build_nla(method, model, dump)
    files = save_lens(ctx.run.artifact("lens/lens.json").parent, lens, method, model, dump, {"dump": dump.entry.key})
    described = dict(lens.describe())
    return Result(scalars={"layer": lens.layer}, artifacts=[files[0].parent], data={"lens": described})


def export_checkpoints(_choice: NlaExport, config: ExportConfig, ctx: RunContext) -> Result:
    """Both halves of a lens as released checkpoints.

    Raises:
        UsageError: The lens is no natural-language autoencoder.
    """
    folder = find_lens(config.lens, ctx)
    name = config.model or str(read_record(folder / "lens.json")["model"])
    stored = load_lens(folder, load_frozen(name, config.loading, config.kind, ctx.device), ctx)
    if not isinstance(stored.lens, NlaLens):
        raise UsageError(f"{config.lens} is a lens `{stored.method}`", "nla writes those of `interp lens train nla`")
    target = config.to or ctx.run.artifact("nla/av").parent
    return Result(scalars={"layer": stored.lens.layer}, artifacts=stored.lens.save(target))

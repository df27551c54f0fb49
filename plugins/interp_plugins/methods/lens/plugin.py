"""``interp lens``: its stages and the kind of choice ``lens``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from interp_registry import Method, Stage, hookimpl

if TYPE_CHECKING:
    from interp_registry.choices import Registry

__all__ = ["methods", "register"]

_LENS = "interp_plugins.methods.lens"
_LOADING = {
    name: f"loading.{name.replace('-', '_')}"
    for name in ("quantize", "device-map", "compile", "tokenizer", "trust-remote-code")
}
_BELROSE = """@article{belrose2023tuned,
  title={Eliciting Latent Predictions from Transformers with the Tuned Lens},
  author={Belrose, Nora and Ostrovsky, Igor and McKinney, Lev and Furman, Zach and Smith, Logan and Halawi, Danny and Biderman, Stella
    and Steinhardt, Jacob}, journal={arXiv:2303.08112}, year={2023}
}"""


@hookimpl
def methods() -> Sequence[Method]:
    """The method and its stages."""
    dump = Stage(
        "dump",
        "Store activations of chosen layers and tokens of a language model.\n\n"
        "One forward pass per text. What is stored already is not computed again, so the same command goes on after an interruption.",
        f"{_LENS}.config:DumpConfig",
        f"{_LENS}.dump:run",
        flags=_LOADING,
        examples=(
            "lens dump lm-d128 --layers 2,4 --positions random:4,min:8",
            "lens dump ./my-model --dataset captions.jsonl --layers all --positions last --dtype fp32",
        ),
    )
    train = Stage(
        "train",
        "Train a lens on dumped activations.\n\nActivations that are not stored yet are dumped first.",
        f"{_LENS}.config:LensTrainConfig",
        f"{_LENS}.train:run",
        flags={**_LOADING, "steps": "training.steps"},
        examples=("lens train tuned lm-d128 --steps 250",),
    )
    show = Stage(
        "show",
        "Show what a lens reads in a text: predictions at every layer and token, explanations, patchscopes.",
        f"{_LENS}.config:ShowConfig",
        f"{_LENS}.show:run",
        flags=_LOADING,
        examples=(
            'lens show logit lm-d128 --text "a red circle is above"',
            'lens show RUN lm-d128 --text "a red circle is above" --layers 1-3 --patchscope --patch.prompt "a red circle is above a"',
        ),
    )
    bring = Stage(
        "import",
        "Bring in a lens, or activations, of another tool.\n\nNothing in a file is executed.",
        f"{_LENS}.config:ImportConfig",
        f"{_LENS}.exchange:run_import",
        flags=_LOADING,
        examples=(
            "lens import tuned ./my-lens --model lm-d128",
            "lens import nla-parquet acts/rl.parquet --model Qwen/Qwen2.5-7B-Instruct",
            "lens import consistency-dump dumps/layer_5/train",
            "lens import nla release/av --model Qwen/Qwen2.5-7B-Instruct --format.dump KEY",
        ),
    )
    write = Stage(
        "export",
        "Write a lens for another tool.",
        f"{_LENS}.config:ExportConfig",
        f"{_LENS}.exchange:run_export",
        flags=_LOADING,
        examples=("lens export tuned RUN --to ./my-lens", "lens export nla RUN --to release"),
    )
    judge = Stage(
        "eval",
        "Put lenses to the test: swaps, predictions, words, against baselines.\n\n"
        "Every lens gets the same suite by what it can do. Evaluated are documents that no lens was trained on.",
        f"{_LENS}.evaluation.config:EvalConfig",
        f"{_LENS}.evaluation.run:run",
        flags=_LOADING,
        examples=("lens eval RUN", "lens eval RUN OTHER logit --suite swap,text"),
    )
    demo = Stage(
        "demo",
        "Dump, train a tuned lens and a text bottleneck, evaluate both.\n\nOn an embedded model; nothing is downloaded.",
        f"{_LENS}.evaluation.config:LensDemoConfig",
        f"{_LENS}.demo:run",
        estimate=f"{_LENS}.demo:estimate",
        examples=("lens demo", "lens demo --steps 120 --json"),
    )
    api = {
        "load_lens": f"{_LENS}.stored:load_lens",
        "open_activations": f"{_LENS}.dumped:Dump",
    }
    return [
        Method(
            "lens",
            "Read activations, in words and in predictions.",
            (dump, train, judge, show, demo, bring, write),
            api=api,
            choices={
                "lens": f"{_LENS}.choices:LensConfig",
                "lens_import": f"{_LENS}.choices:LensImportConfig",
                "lens_export": f"{_LENS}.choices:LensExportConfig",
            },
            cite=(_BELROSE,),
        )
    ]


@hookimpl
def register(registry: "Registry") -> None:
    """Add the lenses and formats."""
    from interp_plugins.methods.lens.baselines import config as baselines
    from interp_plugins.methods.lens.consistency.config import ConsistencyConfig
    from interp_plugins.methods.lens.foreign import config as foreign
    from interp_plugins.methods.lens.nla.config import NlaConfig
    from interp_plugins.methods.lens.readout import config as readout

    registry.add("lens", "logit", readout.LogitLensConfig)
    registry.add("lens", "tuned", readout.TunedLensConfig)
    registry.add("lens", "mean", baselines.MeanLensConfig)
    registry.add("lens", "linear", baselines.LinearLensConfig)
    registry.add("lens", "consistency", ConsistencyConfig)
    registry.add("lens", "nla", NlaConfig)
    for name, choice in (
        ("nla-parquet", foreign.NlaParquetImport),
        ("consistency-dump", foreign.ConsistencyDumpImport),
        ("consistency-config", foreign.ConsistencySettingsImport),
        ("nla", foreign.NlaImport),
    ):
        registry.add("lens_import", name, choice)
    registry.add("lens_export", "nla", foreign.NlaExport)
    registry.add("lens_import", "tuned", readout.TunedImportConfig)
    registry.add("lens_export", "tuned", readout.TunedExportConfig)

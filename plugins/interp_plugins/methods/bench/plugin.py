"""Hooks of `interp bench`."""

from collections.abc import Sequence

from interp_registry import Method, Stage, hookimpl

__all__ = ["methods"]

_CLIP = """@inproceedings{radford2021clip,
  title={Learning Transferable Visual Models From Natural Language Supervision},
  author={Radford, Alec and Kim, Jong Wook and Hallacy, Chris and others},
  booktitle={ICML}, year={2021}
}"""
_WINOGROUND = """@inproceedings{thrush2022winoground,
  title={Winoground: Probing Vision and Language Models for Visio-Linguistic Compositionality},
  author={Thrush, Tristan and Jiang, Ryan and Bartolo, Max and Singh, Amanpreet and Williams, Adina and Kiela, Douwe and Ross, Candace},
  booktitle={CVPR}, year={2022}
}"""


@hookimpl
def methods() -> Sequence[Method]:
    """The method `bench`."""
    stage = Stage(
        name="bench",
        help="Score image-text models: classification, retrieval, Winoground, choices.\n\n"
        "Chance level and 95 % interval stand beside every score; ties never count as right.",
        config="interp_plugins.methods.bench.config:BenchConfig",
        run="interp_plugins.methods.bench.run:bench",
        examples=(
            "bench clip-bow clip-comp",
            "bench clip-comp --datasets world_twins,world_pairs",
            "bench openai/clip-vit-base-patch32 --suite clip",
            "bench clip-bow --datasets photos:captions=texts.jsonl",
        ),
    )
    api = {
        "bench_metrics": "interp_plugins.methods.bench.api:bench_metrics",
        "loss": "interp_plugins.losses.api:loss",
    }
    return [
        Method("bench", "benchmarks of image-text models", (stage,), api=api, cite=(_CLIP, _WINOGROUND)),
    ]

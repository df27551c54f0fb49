"""The method ``extract``."""

from collections.abc import Sequence

from interp_registry import Method, Stage, hookimpl

INTERP_API = 1

_PRH = """@inproceedings{huh2024platonic,
  title={Position: The Platonic Representation Hypothesis},
  author={Huh, Minyoung and Cheung, Brian and Wang, Tongzhou and Isola, Phillip},
  booktitle={International Conference on Machine Learning},
  year={2024}
}"""

_HELP = """Pool the activations of models at every layer over a data set, and store them.

What is stored already is not computed again, so the same command goes on after an interruption. A model that fails is
reported and the others go on (exit code 3)."""


_LOADING = ("dtype", "quantize", "device-map", "compile", "tokenizer", "max-length", "untrained", "trust-remote-code")


@hookimpl
def methods() -> Sequence[Method]:
    """The method and its only stage."""
    stage = Stage(
        "extract",
        _HELP,
        "interp_plugins.methods.extract.config:ExtractConfig",
        "interp_plugins.methods.extract.run:run",
        estimate="interp_plugins.methods.extract.estimate:estimate",
        flags={name: f"model.{name.replace('-', '_')}" for name in _LOADING},
        legacy_flags={"num-samples": "limit", "caption-idx": "caption", "qlora": "model.quantize"},
        examples=(
            "extract lm-d64 vit-d64 --dataset shapes",
            "extract bigscience/bloomz-560m vit_tiny_patch16_224.augreg_in21k --dataset prh --pool language=avg,vision=cls",
            "extract --modelset val --modality vision --dataset prh --pool cls --batch-size 32",
            "extract ./my-model --dataset captions.jsonl --pool avg+last --loss",
        ),
    )
    api = {
        "extract": "interp_plugins.methods.extract.api:extract",
        "load_model": "interp_plugins.models.resolve:load_model",
        "check_models": "interp_plugins.models.sizes:check_models",
    }
    return [
        Method("extract", "Pool activations at every layer and store them", (stage,), api=api, cite=(_PRH,)),
    ]

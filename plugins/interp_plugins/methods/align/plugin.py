"""Registers `interp align`."""

from collections.abc import Sequence
from pathlib import Path

import interp_registry
from interp_registry.contracts.method import Method, Stage

__all__ = ["configs", "methods"]

_HELP = """Measure how much models agree on which samples are alike.

Every layer of one model is compared with every layer of the other, and the best pair is set against a null in which the samples of
one model are shuffled. Give model names, model sets, stored keys or feature files (npy, npz, safetensors, pt, parquet)."""

_LAYERS_HELP = """Describe the layers of models: dimensionality, spectrum, anisotropy, and change from layer to layer.

Effective rank, participation ratio, components for 95 % of the variance, spectral decay, intrinsic dimension, mean cosine, norm, linear
CKA with the layer before, drift and angle, and how far distances between samples have moved from those of the first layer."""

_CITE = (
    """@inproceedings{huh2024platonic,
  title={Position: The Platonic Representation Hypothesis},
  author={Huh, Minyoung and Cheung, Brian and Wang, Tongzhou and Isola, Phillip},
  booktitle={International Conference on Machine Learning},
  year={2024}
}""",
    """@inproceedings{groeger2026aristotelian,
  title={Revisiting the Platonic Representation Hypothesis: An Aristotelian View},
  author={Gr{\\"o}ger, Fabian and Wen, Shuo and Brbi{\\'c}, Maria},
  booktitle={International Conference on Machine Learning},
  year={2026}
}""",
    """@inproceedings{kornblith2019similarity,
  title={Similarity of Neural Network Representations Revisited},
  author={Kornblith, Simon and Norouzi, Mohammad and Lee, Honglak and Hinton, Geoffrey},
  booktitle={International Conference on Machine Learning},
  year={2019}
}""",
    """@inproceedings{raghu2017svcca,
  title={{SVCCA}: Singular Vector Canonical Correlation Analysis for Deep Learning Dynamics and Interpretability},
  author={Raghu, Maithra and Gilmer, Justin and Yosinski, Jason and Sohl-Dickstein, Jascha},
  booktitle={Advances in Neural Information Processing Systems},
  year={2017}
}""",
)


@interp_registry.hookimpl
def methods() -> Sequence[Method]:
    """The method, its stages and its library functions."""
    return [
        Method(
            name="align",
            help="Measure how much models agree.",
            stages=(
                Stage(
                    name="pairs",
                    help=_HELP,
                    config="interp_plugins.methods.align.config:AlignConfig",
                    run="interp_plugins.methods.align.run:align",
                    estimate="interp_plugins.methods.align.estimate:estimate",
                    default=True,
                    flags={"with": "against", "y": "against", "x": "models", "null": "permutations"},
                    legacy_flags={
                        "--modality_x": "--modality-x",
                        "--modality_y": "--modality-y",
                        "--pool_x": "--pool-x",
                        "--pool_y": "--pool-y",
                    },
                    examples=(
                        "align lm-d64 vit-d64",
                        "align lm-d32 lm-d64 --with vit-d64 --metric 'cka*',mutual_knn --ci",
                        "align a.npy b.safetensors --null off",
                        "align --modelset-x val --modelset-y val --no-extract",
                    ),
                ),
                Stage(
                    name="layers",
                    help=_LAYERS_HELP,
                    config="interp_plugins.methods.align.config:LayersConfig",
                    run="interp_plugins.methods.align.layers:layers",
                    examples=("align layers lm-d64 vit-d64", "align layers features.safetensors"),
                ),
            ),
            api={
                "Alignment": "interp_plugins.methods.align.reference:Alignment",
                "align": "interp_plugins.methods.align.api:align",
                "load_features": "interp_plugins.methods.align.reading:load_features",
                "metric": "interp_plugins.methods.align.metric_choice:metric",
            },
            cite=_CITE,
        )
    ]


@interp_registry.hookimpl
def configs() -> Sequence[Path]:
    """The catalog of published reference features."""
    return [Path(__file__).parent / "catalog"]

"""Hooks of `interp clip`."""

from collections.abc import Sequence

from interp_registry import Method, Stage, hookimpl

__all__ = ["methods"]

_KORNBLITH = """@inproceedings{kornblith2019similarity,
  title={Similarity of Neural Network Representations Revisited},
  author={Kornblith, Simon and Norouzi, Mohammad and Lee, Honglak and Hinton, Geoffrey},
  booktitle={International Conference on Machine Learning},
  year={2019}
}"""
_INFONCE = """@article{oord2018cpc,
  title={Representation Learning with Contrastive Predictive Coding},
  author={van den Oord, Aaron and Li, Yazhe and Vinyals, Oriol}, journal={arXiv:1807.03748}, year={2018}
}"""


@hookimpl
def methods() -> Sequence[Method]:
    """The method `clip` with its stages."""
    train = Stage(
        name="train",
        help="Train an image-text model with a combination of alignment losses.\n\n"
        "Early stopping and the collapse alarm look at validation pairs; the test pairs are used once, at the end.",
        config="interp_plugins.methods.clip.config:ClipTrainConfig",
        run="interp_plugins.methods.clip.run:train_clip",
        flags={"steps": "training.steps"},
        examples=(
            "clip train --steps 800",
            "clip train clip-bow --dataset captioned_files:file=pairs.jsonl --lr 1e-4 --steps 200",
            "clip train clip-bow --losses infonce,cka --weights 1,0.5 --lr 1e-3 --steps 200",
        ),
    )
    losses = Stage(
        name="losses",
        help="Draw the alignment losses over their settings on a model's embeddings.",
        config="interp_plugins.methods.clip.config:ClipLossesConfig",
        run="interp_plugins.methods.clip.losses_run:show_losses",
        examples=("clip losses clip-bow --k 3",),
    )
    api = {"clip": "interp_plugins.methods.clip.api:clip", "track": "interp_plugins.methods.clip.api:track"}
    return [
        Method(
            "clip",
            "Train image-text models, and look at alignment losses.",
            (train, losses),
            api=api,
            cite=(_KORNBLITH, _INFONCE),
        )
    ]

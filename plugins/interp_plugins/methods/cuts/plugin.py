"""Hooks of `interp cuts`."""

from collections.abc import Sequence

from interp_registry import Method, Stage, hookimpl

__all__ = ["methods"]

_SHI = """@article{shi2000normalized,
  title={Normalized Cuts and Image Segmentation},
  author={Shi, Jianbo and Malik, Jitendra},
  journal={IEEE Transactions on Pattern Analysis and Machine Intelligence}, volume={22}, number={8}, pages={888--905}, year={2000}
}"""
_DHILLON = """@inproceedings{dhillon2001coclustering,
  title={Co-clustering documents and words using bipartite spectral graph partitioning},
  author={Dhillon, Inderjit S.}, booktitle={KDD}, year={2001}
}"""


@hookimpl
def methods() -> Sequence[Method]:
    """The method `cuts`."""
    stage = Stage(
        name="cuts",
        help="Cut the patches and words of image-text models into clusters.\n\n"
        "The default graph joins patches to words; clusters hold both, so each comes with the words that name it.",
        config="interp_plugins.methods.cuts.config:CutsConfig",
        run="interp_plugins.methods.cuts.run:cuts",
        examples=(
            "cuts clip-bow clip-comp",
            "cuts clip-comp --n-clusters 8",
            "cuts clip-bow --graph features --affinity rbf",
            "cuts clip-bow --dataset photos:captions=texts.jsonl",
        ),
    )
    api = {"cuts": "interp_plugins.methods.cuts.api:cuts"}
    return [Method("cuts", "normalised cuts of image-text embeddings", (stage,), api=api, cite=(_SHI, _DHILLON))]

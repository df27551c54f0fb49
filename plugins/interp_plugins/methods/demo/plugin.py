"""Registers `interp demo`."""

from collections.abc import Sequence

import interp_registry
from interp_registry.contracts.method import Method, Stage

__all__ = ["methods"]

INTERP_API = 1

_HELP = """Extract and align the embedded models, and show what comes out.

Every language model of the zoo is compared with every vision model, on scenes that come with the package: the best pair of
layers by mutual nearest neighbours, against the null of shuffled scenes, beside untrained controls. At most three minutes on two
cores; nothing is downloaded."""

_CITE = (
    """@inproceedings{huh2024platonic,
  title={Position: The Platonic Representation Hypothesis},
  author={Huh, Minyoung and Cheung, Brian and Wang, Tongzhou and Isola, Phillip},
  booktitle={International Conference on Machine Learning},
  year={2024}
}""",
)


@interp_registry.hookimpl
def methods() -> Sequence[Method]:
    """The demonstration."""
    stage = Stage(
        name="demo",
        help=_HELP,
        config="interp_plugins.methods.demo.config:DemoConfig",
        run="interp_plugins.methods.demo.run:run",
        estimate="interp_plugins.methods.demo.run:estimate",
        examples=("demo", "demo --captions 1,3,5", "demo --json"),
    )
    return [Method(name="demo", help="Extract and align the embedded models.", stages=(stage,), cite=_CITE)]

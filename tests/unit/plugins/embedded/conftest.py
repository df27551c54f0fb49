"""A world of a few scenes, for tests that start a training; measurements that pass every threshold."""

import pytest
import torch
from small_world import shrink_world

from interp_plugins.embedded.zoo import INIT_SUFFIX, names
from interp_plugins.embedded.zoo.measuring import ClipScores
from interp_plugins.embedded.zoo.verifying import Alignment, Measurements


@pytest.fixture
def small_world(monkeypatch):
    """Training sets of 60 scenes in place of 12,000."""
    shrink_world(monkeypatch)


SIZES = {"lm-d32": 0.065, "lm-d64": 0.075, "lm-d96": 0.08, "lm-d128": 0.09}


@pytest.fixture
def zoo_that_passes() -> Measurements:
    """Measurements that pass: scores by language model, less for untrained ones, more with more captions."""
    found = Measurements(n_bytes=9_000_000, null={n: [0.011] * 20 for n in (1, 3, 5)})
    for n_captions, factor in ((1, 1.0), (3, 2.0), (5, 2.2)):
        for lm in names("language") + names("language", untrained=True):
            for vit in names("vision") + names("vision", untrained=True):
                score = SIZES[lm.removesuffix(INIT_SUFFIX)] * factor
                score *= 0.45 if lm.endswith(INIT_SUFFIX) else 1.0
                score *= 0.45 if vit.endswith(INIT_SUFFIX) else 0.75 if vit in ("vit-d32", "vit-d64-simclr") else 1.0
                contextual = score - (0.02 if lm == "lm-d32" else 0.0)
                found.alignment[lm, vit, n_captions] = Alignment(torch.tensor([[score], [contextual]]).double())
    found.nats_per_token = {(lm, n): 2.0 for lm, _, n in found.alignment}
    kinds = {"colour": 40.0, "shape": 30.0, "size": 90.0, "relation": 2.0}
    found.clip = {name: ClipScores(15.0, 15.0, 7.0, 20.0, 10.0, 40.0, kinds) for name in names("clip")}
    return found

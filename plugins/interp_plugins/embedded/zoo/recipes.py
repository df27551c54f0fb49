"""The recipes of the zoo: sizes, objectives and schedules, as data.

All models of one modality are trained on equal numbers of samples, so that size is the only axis between them.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Final, Literal

Objective = Literal["next-token", "labels", "simclr", "clip", "clip-compositional"]

VOCABULARY_SIZE = 512
LANGUAGE_POSITIONS = 160
CLIP_POSITIONS = 64
CLIP_PROJECTION = 64
PICTURE_SIZE, PATCH_SIZE = 64, 8


@dataclass(frozen=True)
class Recipe:
    """How one model of the zoo is made, completely."""

    name: str
    objective: Objective
    width: int
    n_layers: int
    n_heads: int
    peak_rate: float
    steps: int
    batch: int = 64
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    warmup: int = 30
    floor: float = 0.05
    seed: int = 0
    starts_from: str | None = None
    expected_seconds: int = 0
    """CPU seconds on one thread that the recorded run took; shown before a build, no part of the recipe's hash."""

    @property
    def modality(self) -> Literal["language", "vision", "clip"]:
        """What the model reads: text, pictures, or both."""
        if self.objective == "next-token":
            return "language"
        return "vision" if self.objective in ("labels", "simclr") else "clip"

    def digest(self) -> str:
        """Sixteen hexadecimal digits that change with anything that changes the trained weights."""
        from interp_plugins.embedded.world.tables import (
            WORLD_VERSION,
        )  # the world needs numpy, the recipes' names do not

        content = {key: value for key, value in asdict(self).items() if key != "expected_seconds"}
        text = json.dumps({**content, "world": WORLD_VERSION}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def with_seed(self, seed: int) -> "Recipe":
        """The same recipe under another training seed (initialisation and order of samples)."""
        return replace(self, seed=seed, name=f"{self.name}-seed{seed}")


def _language(width: int, n_layers: int, n_heads: int, peak_rate: float, seconds: int) -> Recipe:
    return Recipe(
        name=f"lm-d{width}",
        objective="next-token",
        width=width,
        n_layers=n_layers,
        n_heads=n_heads,
        peak_rate=peak_rate,
        steps=1_200,
        betas=(0.9, 0.95),
        expected_seconds=seconds,
    )


def _vision(width: int, n_layers: int, n_heads: int, peak_rate: float, seconds: int) -> Recipe:
    return Recipe(
        name=f"vit-d{width}",
        objective="labels",
        width=width,
        n_layers=n_layers,
        n_heads=n_heads,
        peak_rate=peak_rate,
        steps=600,
        expected_seconds=seconds,
    )


_CLIP_BOW = Recipe(
    name="clip-bow",
    objective="clip",
    width=96,
    n_layers=3,
    n_heads=3,
    peak_rate=2e-3,
    steps=800,
    batch=128,
    weight_decay=0.1,
    expected_seconds=380,
)

RECIPES: Final = MappingProxyType(
    {
        recipe.name: recipe
        for recipe in (
            _language(32, 2, 2, 5e-3, 60),
            _language(64, 3, 2, 3e-3, 120),
            _language(96, 3, 3, 2.5e-3, 190),
            _language(128, 4, 4, 2e-3, 350),
            _vision(32, 2, 2, 3e-3, 35),
            _vision(64, 3, 2, 2e-3, 65),
            _vision(96, 3, 3, 1.5e-3, 110),
            _vision(128, 4, 4, 1e-3, 210),
            replace(_vision(64, 3, 2, 2e-3, 120), name="vit-d64-simclr", objective="simclr"),
            _CLIP_BOW,
            replace(
                _CLIP_BOW,
                name="clip-comp",
                objective="clip-compositional",
                peak_rate=1e-3,
                steps=350,
                starts_from="clip-bow",
                expected_seconds=175,
            ),
        )
    }
)
"""Every model that is shipped, by name."""

"""A controller that holds a measured value at a target by the weight of a loss term."""

from dataclasses import dataclass

__all__ = ["Controller"]


@dataclass
class Controller:
    """Proportional-integral control of a weight in [0, ``largest``].

    The excess of a value over its target is smoothed, ``e <- s e + (1 - s) excess``, summed up, ``z <- clamp(z + integral * e)``, and the
    weight is ``clamp(z + proportional * e)``. Without the proportional part this is dual ascent on the multiplier of the constraint
    ``value <= target``. The sum is itself clamped, so that it does not wind up while the constraint is slack.
    """

    integral: float
    """How much one unit of excess adds to the weight at each step."""
    proportional: float = 0.0
    """Weight per unit of present excess."""
    largest: float = 1.0
    """Upper end of the weight."""
    smoothing: float = 0.9
    """Share of the old in the smoothed excess, in [0, 1)."""
    excess: float = 0.0
    """Smoothed excess so far."""
    total: float = 0.0
    """The integral part."""

    def update(self, excess: float) -> float:
        """Take in one measured excess over the target; the weight of the next step."""
        self.excess = self.smoothing * self.excess + (1 - self.smoothing) * excess
        self.total = self._clamped(self.total + self.integral * self.excess)
        return self.weight

    @property
    def weight(self) -> float:
        """The present weight."""
        return self._clamped(self.total + self.proportional * self.excess)

    def state(self) -> dict[str, float]:
        """What has to be stored to go on."""
        return {"excess": self.excess, "total": self.total}

    def load(self, state: dict[str, float]) -> None:
        """Go back to what :meth:`state` returned."""
        self.excess, self.total = state["excess"], state["total"]

    def _clamped(self, weight: float) -> float:
        return min(max(weight, 0.0), self.largest)

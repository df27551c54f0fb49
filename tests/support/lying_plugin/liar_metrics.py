"""A metric that lies."""

import torch
from liar_hanging import maybe

from interp_registry.contracts.metric import MetricInfo


class Metric:
    """The inner product of Grams."""

    def __init__(self, config):
        self.lie = config.lie
        if self.lie == "range":
            self.info = MetricInfo("Out of range.", "", range=(-1.0, 1.0))
        if self.lie == "null":
            self.null_pairs = lambda x, y, permutations: self.score_pairs(x, y)

    def prepare(self, layers):
        return {"x": torch.stack([layer.double() @ layer.double().T for layer in layers])}

    def score_pairs(self, x, y):
        maybe(self.lie)
        scores = torch.einsum("inm,jnm->ij", x["x"], y["x"])
        lies = {
            "shape": lambda: scores.T[:, :1],
            "rows": lambda: scores[:1],
            "nan": lambda: scores * float("nan"),
            "complex": lambda: scores * (1 + 2j),
            "words": lambda: [["high"] * scores.shape[1]] * scores.shape[0],
        }
        return lies.get(self.lie, lambda: scores)()

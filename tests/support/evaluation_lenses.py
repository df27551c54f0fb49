"""Lenses that need no training, and rows of random texts."""

import torch

from interp_plugins.methods.lens.contract import Explanation
from interp_plugins.methods.lens.dumped import Rows, Statistics
from interp_plugins.methods.lens.evaluation.effects import SwapMeter

LAYER = 2


class Codebook:
    """Explains an activation by the nearest of a few prototypes, whose number it writes as one token, and reads it back."""

    layers = (LAYER,)

    def __init__(self, prototypes, n_tokens=1):
        self.prototypes, self.n_tokens = prototypes, n_tokens

    def explain(self, activations, layer, *, samples=1, temperature=0.0, seed=0):
        nearest = torch.cdist(activations, self.prototypes).argsort(1)
        pick = (lambda k: k) if temperature else (lambda k: 0)
        return [[self._say(int(row[pick(k)])) for k in range(samples)] for row in nearest]

    def _say(self, number):
        tokens = (number + 3,) * self.n_tokens
        return Explanation(" ".join(f"w{number}" for _ in tokens), tokens)

    def read_text(self, explanations, layer):
        return self.read_tokens(torch.tensor([one.token_ids for one in explanations]), layer)

    def read_tokens(self, token_ids, layer):
        return self.prototypes[(token_ids[:, -1] - 3).clamp(0, len(self.prototypes) - 1)]

    def reconstruct(self, activations, layer):
        return self.read_text([said[0] for said in self.explain(activations, layer)], layer)

    def weights(self):
        return {}

    def load_weights(self, weights):
        pass

    def describe(self):
        return {"method": "codebook"}


class LogitLens:
    """Final norm and unembedding."""

    def __init__(self, model, layers=(LAYER,)):
        self.model, self.layers = model, layers

    def readout(self, activations, layer):
        return self.model.unembed(self.model.final_norm(activations))

    def weights(self):
        return {}

    def load_weights(self, weights):
        pass

    def describe(self):
        return {"method": "logit"}


def random_rows(n_texts=30, per_text=2, seed=0):
    """Rows of random texts of 8 to 16 tokens, without activations."""
    source = torch.Generator().manual_seed(seed)
    lengths = torch.randint(8, 17, (n_texts,), generator=source)
    ids = torch.randint(3, 60, (n_texts, 16), generator=source) * (torch.arange(16) < lengths[:, None])
    documents = torch.arange(n_texts).repeat_interleave(per_text)
    positions = (torch.rand(len(documents), generator=source) * (lengths[documents] - 1)).long() + 1
    positions = positions.minimum(lengths[documents] - 1)
    return Rows(torch.zeros(len(documents), 1), ids[documents], lengths[documents], positions, documents + 100 * seed)


def filled(model, rows, layer=LAYER):
    """The rows with the model's activations."""
    values = SwapMeter(model, rows, layer).activations()
    return Rows(values, rows.token_ids, rows.lengths, rows.positions, rows.documents)


def statistics_of(rows):
    values = rows.activations.double()
    unit = values / values.norm(dim=1, keepdim=True)
    return Statistics(
        rows.activations.mean(0),
        rows.activations.std(0),
        float(values.norm(dim=1).mean()),
        float(values.abs().max()),
        float(values.var(0, correction=0).sum()),
        float(unit.var(0, correction=0).sum()),
    )

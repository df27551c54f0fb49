"""One training step of stochastic parameter decomposition, written from the paper and nothing else: slow and obvious.

Every pass is a whole forward pass, every row is computed, the importance functions store their hidden layers, and each
module is treated on its own (Bushnaq, Braun and Sharkey 2025, sections 2 and 3). Toy targets only.
"""

import torch
import torch.nn.functional as F
from torch import nn

from interp_plugins.methods.spd.targets.toys import ResidualMlp, ToySuperposition


class NaiveSpd:
    """Components, gates and their optimiser for a toy target.

    Args:
        target: TMS or residual MLP without run dimensions.
        factors: Module -> (V, U).
        gates: Module -> (W1, b1, W2, b2) of shapes [C, 1, H], [C, H], [C, H, 1], [C, 1].
        coeffs: (minimality coefficient, exponent).
        tied: Whether linear2 shares storage with linear1.
    """

    def __init__(self, target, factors, gates, coeffs, *, tied=False, rate=1e-3):
        self.target, self.coeff, self.p = target, *coeffs
        self.factors = {name: [nn.Parameter(f.clone()) for f in pair] for name, pair in factors.items()}
        if tied:
            v, u = self.factors["linear1"]
            self.factors["linear2"] = [nn.Parameter(u.data.T), nn.Parameter(v.data.T)]
        self.gates = {name: [nn.Parameter(w.clone()) for w in ws] for name, ws in gates.items()}
        parameters = [
            *(f for pair in self.factors.values() for f in pair),
            *(w for ws in self.gates.values() for w in ws),
        ]
        self.optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0, foreach=False)

    def forward(self, x, masks):
        """The model with components under masks where one is given; also every module's input."""
        inputs = {}

        def linear(name, rows):
            inputs[name] = rows
            if name not in masks:
                out = rows @ self.target.weights[name]
            else:
                v, u = self.factors[name]
                out = ((rows @ v) * masks[name]) @ u
            return out + self.target.biases[name] if name in self.target.biases else out

        if isinstance(self.target, ToySuperposition):
            for name in self.target.weights:
                x = linear(name, x)
            return F.relu(x), inputs
        assert isinstance(self.target, ResidualMlp)
        stream = x @ self.target.embedding
        for layer in range(len(self.target.weights) // 2):
            hidden = F.relu(linear(f"layers.{layer}.mlp_in", stream))
            stream = stream + linear(f"layers.{layer}.mlp_out", hidden)
        return stream @ self.target.unembedding, inputs

    def importances(self, inputs):
        """Lower and upper importances of every module."""
        lower, upper = {}, {}
        for name, (w1, b1, w2, b2) in self.gates.items():
            h = (inputs[name] @ self.factors[name][0]).unsqueeze(-1)
            hidden = F.gelu(torch.einsum("ncd,cdh->nch", h, w1) + b1)
            z = (torch.einsum("nch,cho->nco", hidden, w2) + b2).squeeze(-1)
            below = torch.minimum(z, torch.zeros(()))
            lower[name] = z.clamp(0, 1) + 0.01 * (below - below.detach())
            upper[name] = torch.where(z > 1, 1 + 0.01 * (z - 1), F.relu(z.clamp(max=1)))
        return lower, upper

    def losses(self, x, sources):
        """Faithfulness, minimality, stochastic and layerwise reconstruction; ``sources`` has two draws per module."""
        with torch.no_grad():
            want, inputs = self.forward(x, {})
        lower, upper = self.importances(inputs)
        deltas = [self.target.weights[name] - v @ u for name, (v, u) in self.factors.items()]
        faithfulness = sum(d.square().sum() for d in deltas) / sum(d.numel() for d in deltas)
        minimality = sum(((u + 1e-12) ** self.p).sum(-1).mean() for u in upper.values())

        def masks(i):
            return {name: ci + (1 - ci) * sources[i][name] for name, ci in lower.items()}

        stochastic = F.mse_loss(self.forward(x, masks(0))[0], want)
        one_by_one = [F.mse_loss(self.forward(x, {name: mask})[0], want) for name, mask in masks(1).items()]
        return faithfulness, minimality, stochastic, sum(one_by_one) / len(one_by_one)

    def step(self, x, generator):
        """One update; the total loss."""
        shapes = {name: (x.shape[0], v.shape[1]) for name, (v, _) in self.factors.items()}
        sources = [{n: torch.rand(s, generator=generator) for n, s in shapes.items()} for _ in range(2)]
        faithfulness, minimality, stochastic, layerwise = self.losses(x, sources)
        total = faithfulness + self.coeff * minimality + stochastic + layerwise
        self.optimiser.zero_grad()
        total.backward()
        self.optimiser.step()
        return total.detach()


def naive_copy(model, target, coeffs, *, rate=1e-3):
    """The naive form of a decomposition: same target, components and scalar gates."""
    factors = {s.name: (model.v(s.name).detach(), model.u(s.name).detach()) for s in model.sites}
    gates = {}
    for i, site in enumerate(model.sites):
        span = model.spans[site.name]
        gates[site.name] = [w.detach() for w in model.importance.module_weights(span.start, span.stop, i)]
    return NaiveSpd(target, factors, gates, coeffs, tied=bool(model.transposed), rate=rate)

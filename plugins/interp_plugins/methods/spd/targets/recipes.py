"""How the toy targets are trained: the recipes of the papers, many seeds of TMS side by side.

TMS is fickle: with the published recipe only about one seed in four ends with all five features preserved (the published
default seed does not). So seeds are trained in one batch and the first that passes is taken and recorded.

Axis letters: ``r`` seeds, ``n`` rows, ``f`` features, ``h`` hidden, ``d`` residual width.
"""

import math
from collections.abc import Mapping
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from interp_plugins.methods.spd.config import ResidualMlpTargetConfig, TmsTargetConfig
from interp_plugins.methods.spd.optimiser import SequentialAdamW
from interp_plugins.methods.spd.sites import Target
from interp_plugins.methods.spd.sparse_data import SparseFeatures, nonzero_rows
from interp_plugins.methods.spd.targets.toys import ResidualMlp, ToySuperposition
from interp_registry.errors import InterpError
from interp_registry.tensors.seeding import generator
from interp_registry.training.schedules import ScheduleConfig

__all__ = ["Recipe", "ResidualMlpRecipe", "TmsRecipe"]

ONE_HOT = 0.75
"""Size of the one-hot inputs on which toys are judged."""


class Recipe(Protocol):
    """How one kind of toy is trained: a `Trainable` plus what to make of the result."""

    schedule: ScheduleConfig
    n_steps: int

    def data(self, feature_probability: float, generation: str = "at_least_zero_active") -> SparseFeatures:
        """Inputs of the toy."""
        ...

    def start(self, seed: int) -> None:
        """Draw initial weights."""
        ...

    def finish(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the weights to keep, under their published names, and what is worth recording."""
        ...

    def target(self, weights: Mapping[str, Tensor]) -> Target:
        """Return the model that stored weights describe."""
        ...


def _linear_init(shape: tuple[int, ...], fan_in: int, source: torch.Generator) -> Tensor:
    """Uniform on +-1/sqrt(fan_in): what ``nn.Linear`` starts with."""
    return (torch.rand(shape, generator=source) * 2 - 1) / math.sqrt(fan_in)


class TmsRecipe:
    """Batched training of toy models of superposition.

    A tied model holds two parameters on one storage, each with moments of its own, as the published trainer does.
    """

    def __init__(self, config: TmsTargetConfig) -> None:
        self.config = config
        self.schedule = ScheduleConfig()
        self.n_steps = config.steps
        self.seed = 0

    def data(self, feature_probability: float, generation: str = "at_least_zero_active") -> SparseFeatures:
        """Inputs in [0, 1]."""
        return SparseFeatures(self.config.n_features, feature_probability, 0.0, 1.0, generation)

    def start(self, seed: int) -> None:
        """Draw initial weights of all seeds."""
        c, source = self.config, generator(seed, "spd target init")
        self.seed = seed
        shape = (c.n_seeds, c.n_features, c.n_hidden)
        self.first = nn.Parameter(_linear_init(shape, c.n_features, source))
        self.second = nn.Parameter(self.first.data if c.tied else _linear_init(shape, c.n_hidden, source))
        bias = _linear_init((c.n_seeds, c.n_features), c.n_hidden, source)
        self.bias = nn.Parameter(torch.zeros_like(bias) if c.zero_bias else bias)
        self.optimiser = SequentialAdamW(
            [self.first, self.second, self.bias], c.learning_rate, weight_decay=c.weight_decay
        )

    def optimisers(self) -> dict[str, SequentialAdamW]:
        """The one optimiser."""
        return {"target": self.optimiser}

    def step(self, i: int) -> dict[str, Tensor]:
        """Return the sum over seeds of the mean squared error between output and input."""
        batch = self.data(self.config.feature_probability).batch(
            self.config.batch_size, generator(self.seed, "spd target data", i), (self.config.n_seeds,)
        )
        rows, weights = nonzero_rows(batch)
        out = F.relu(rows @ self.first @ self.second.mT + self.bias.unsqueeze(-2))
        squared = (rows - out).square().sum(-1) * weights
        return {"loss": squared.sum() / (batch.shape[-2] * batch.shape[-1])}

    def state(self) -> dict[str, Any]:
        """Weights for a checkpoint."""
        return {"weights": {"first": self.first.data, "second": self.second.data.clone(), "bias": self.bias.data}}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take weights back."""
        for name, value in state["weights"].items():
            getattr(self, name).data.copy_(value)

    @torch.no_grad()
    def preserved(self) -> Float[Tensor, "r f"]:
        """Return, per seed and feature, whether its one-hot input comes back within the tolerance."""
        hot = torch.eye(self.config.n_features) * ONE_HOT
        out = F.relu(hot @ self.first @ self.second.mT + self.bias.unsqueeze(-2))
        return (out.diagonal(dim1=-2, dim2=-1) - ONE_HOT).abs() < self.config.tolerance

    def finish(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the first seed that preserves every feature.

        Raises:
            InterpError: If none does.
        """
        preserved = self.preserved()
        passing = preserved.all(-1).nonzero().flatten().tolist()
        counts = preserved.sum(-1).tolist()
        if not passing:
            raise InterpError(
                f"none of {self.config.n_seeds} seeds preserves all {self.config.n_features} features; "
                f"the best preserves {max(counts)}",
                "train more seeds (--target.n-seeds), or start from a zero bias (--target.zero-bias)",
            )
        best = passing[0]
        weights = {
            "linear1.weight": self.first.data[best].T.contiguous(),
            "linear2.weight": self.second.data[best].contiguous(),
            "linear2.bias": self.bias.data[best].contiguous(),
        }
        for layer in range(self.config.n_hidden_layers):
            weights[f"hidden_layers.{layer}.weight"] = torch.eye(self.config.n_hidden)
        taken = {"seed": self.seed, "taken": best, "passing": passing, "preserved_features": counts}
        return {name: value.clone() for name, value in weights.items()}, taken

    def target(self, weights: Mapping[str, Tensor]) -> Target:
        """Return the model that stored weights describe."""
        hidden = sorted(name for name in weights if name.startswith("hidden_layers."))
        names = ["linear1.weight", *hidden, "linear2.weight"]
        matrices = {name.removesuffix(".weight"): weights[name].mT for name in names}
        biases = {"linear2": weights["linear2.bias"]}
        biases |= {
            n.removesuffix(".bias"): b for n, b in weights.items() if n.startswith("hidden") and n.endswith(".bias")
        }
        return ToySuperposition(matrices, biases, weights["linear1.weight"].dim() - 2)


class ResidualMlpRecipe:
    """Training of a residual MLP on ``relu(x) + x``, embedding and readout fixed."""

    def __init__(self, config: ResidualMlpTargetConfig) -> None:
        self.config = config
        self.schedule = ScheduleConfig(shape="cosine_quarter", reach="last")
        self.n_steps = config.steps
        self.seed = 0
        self.loss = math.nan

    def data(self, feature_probability: float, generation: str = "at_least_zero_active") -> SparseFeatures:
        """Inputs in [-1, 1]."""
        return SparseFeatures(self.config.n_features, feature_probability, -1.0, 1.0, generation)

    def start(self, seed: int) -> None:
        """Draw the embedding (unit rows) and initial MLPs."""
        c, source = self.config, generator(seed, "spd target init")
        self.seed = seed
        embedding = torch.randn(c.n_features, c.d_embed, generator=source)
        self.embedding = embedding / embedding.norm(dim=-1, keepdim=True)
        shapes = {"mlp_in": (c.d_embed, c.d_mlp), "mlp_out": (c.d_mlp, c.d_embed)}
        self.matrices = {
            f"layers.{layer}.{kind}": nn.Parameter(_linear_init(shape, shape[0], source))
            for layer in range(c.n_layers)
            for kind, shape in shapes.items()
        }
        self.optimiser = SequentialAdamW(self.matrices.values(), c.learning_rate, weight_decay=c.weight_decay)

    def optimisers(self) -> dict[str, SequentialAdamW]:
        """The one optimiser."""
        return {"target": self.optimiser}

    def step(self, i: int) -> dict[str, Tensor]:
        """Return the mean squared error of the readout; rows of zeros have none and are left out."""
        source = generator(self.seed, "spd target data", i)
        batch = self.data(self.config.feature_probability).batch(self.config.batch_size, source)
        rows, _ = nonzero_rows(batch)
        model = ResidualMlp(self.matrices, {}, embedding=self.embedding, unembedding=self.embedding.T)
        out = model.forward(model.prepare(rows), lambda _, x, original: original(x))
        loss = (out - (F.relu(rows) + rows)).square().sum() / batch.numel()
        self.loss = loss.detach()
        return {"loss": loss}

    def state(self) -> dict[str, Any]:
        """Weights for a checkpoint."""
        return {"weights": {name: value.data for name, value in self.matrices.items()}}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take weights back."""
        for name, value in state["weights"].items():
            self.matrices[name].data.copy_(value)

    def finish(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the trained weights."""
        weights = {f"{name}.weight": value.data.T.contiguous() for name, value in self.matrices.items()}
        weights |= {"W_E": self.embedding, "W_U": self.embedding.T.contiguous()}
        return weights, {"seed": self.seed, "final_loss": float(self.loss)}

    def target(self, weights: Mapping[str, Tensor]) -> Target:
        """Return the model that stored weights describe."""
        layers = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("layers."))
        names = [f"layers.{layer}.{kind}" for layer in range(layers) for kind in ("mlp_in", "mlp_out")]
        matrices = {name: weights[f"{name}.weight"].mT for name in names}
        biases = {name: weights[f"{name}.bias"] for name in names if f"{name}.bias" in weights}
        runs = weights["W_E"].dim() - 2
        return ResidualMlp(matrices, biases, runs, embedding=weights["W_E"], unembedding=weights["W_U"])

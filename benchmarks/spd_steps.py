"""Steps per second of a decomposition: ours, a naive step written from the paper, the bare matrix products.

    OMP_NUM_THREADS=1 python benchmarks/spd_steps.py [tms_5-2 tms_40-10 resid_mlp1 resid_mlp2] [--rounds 5]

All in one process, interleaved, processor time, the median of the rounds; milliseconds per step. The last line is the batched-seeds
factor: a step of TMS targets, eight seeds in a batch against one seed at a time.
"""

import argparse
import importlib.util
import json
import statistics
import time
from pathlib import Path

import torch

from interp_plugins.methods.spd.building import build_decomposition
from interp_plugins.methods.spd.config import TmsTargetConfig
from interp_plugins.methods.spd.experiments import load_experiment
from interp_plugins.methods.spd.inputs import toy_problem
from interp_plugins.methods.spd.training import DecompositionTraining
from interp_registry.catalog import Catalog
from interp_registry.discovery import discover

ROOT = Path(__file__).resolve().parents[1]


def naive_module():
    path = ROOT / "tests" / "reference" / "spd" / "naive_spd.py"
    spec = importlib.util.spec_from_file_location("naive_spd", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def random_weights(config, g):
    """Weights of the right shapes; the cost of a step does not depend on their values."""
    t = config.target
    if hasattr(t, "n_hidden"):
        w = 0.5 * torch.randn(t.n_features, t.n_hidden, generator=g)
        return {"linear1.weight": w.T.contiguous(), "linear2.weight": w, "linear2.bias": torch.zeros(t.n_features)}
    e = torch.randn(t.n_features, t.d_embed, generator=g)
    weights = {"W_E": e / e.norm(dim=1, keepdim=True)}
    weights["W_U"] = weights["W_E"].T.contiguous()
    for layer in range(t.n_layers):
        weights[f"layers.{layer}.mlp_in.weight"] = 0.03 * torch.randn(t.d_mlp, t.d_embed, generator=g)
        weights[f"layers.{layer}.mlp_out.weight"] = 0.1 * torch.randn(t.d_embed, t.d_mlp, generator=g)
    return weights


class Ours:
    """The training of `interp spd run`."""

    def __init__(self, config, problem):
        self.training = DecompositionTraining(
            build_decomposition(config, problem.target, torch.Generator().manual_seed(0)), config, problem.batches, 0
        )
        self.i = 0

    def step(self):
        """Make one update."""
        self.training.optimiser.zero_grad(set_to_none=True)
        self.training.step(self.i)["loss"].backward()
        self.training.optimiser.step()
        self.i += 1


class Naive:
    """The step written from the paper."""

    def __init__(self, config, problem):
        model = build_decomposition(config, problem.target, torch.Generator().manual_seed(0))
        minimality = config.losses["importance_minimality"]
        self.naive = naive_module().naive_copy(model, problem.target, (minimality.coeff, minimality.p))
        self.problem, self.config, self.g = problem, config, torch.Generator().manual_seed(0)

    def step(self):
        """Make one update."""
        self.naive.step(self.problem.batches(self.config.batch_size, self.g), self.g)


class Products:
    """Forward and backward cost of the matrix products alone: every module's x V and h U in every pass, all rows."""

    def __init__(self, config, problem):
        model = build_decomposition(config, problem.target, torch.Generator().manual_seed(0))
        n, self.pairs = config.batch_size, []
        for site in model.sites:
            v, u = model.v(site.name).detach(), model.u(site.name).detach()
            self.pairs.append((torch.randn(n, v.shape[0]), v, torch.randn(n, u.shape[0]), u))

    def step(self):
        """Make one update."""
        for x, v, h, u in self.pairs:
            for _ in range(2):  # the stochastic and the layerwise pass
                y, z = x @ v, h @ u
                _ = (y @ v.T, x.T @ y, z @ u.T, h.T @ z)


def time_steps(runners, n_steps, rounds):
    times = {name: [] for name in runners}
    for runner in runners.values():
        runner.step()
    for _ in range(rounds):
        for name, runner in runners.items():
            start = time.process_time()
            for _ in range(n_steps):
                runner.step()
            times[name].append(1000 * (time.process_time() - start) / n_steps)
    return {name: statistics.median(values) for name, values in times.items()}


def seeds_factor(n_steps, rounds):
    """Processor time of a target step for one seed alone, over that of one of eight in a batch."""
    times = {}
    for n_seeds in (1, 8):
        recipe = TmsTargetConfig(n_seeds=n_seeds).build()
        recipe.start(0)
        measured = []
        for round_ in range(rounds):
            start = time.process_time()
            for i in range(n_steps):
                recipe.optimiser.zero_grad(set_to_none=True)
                recipe.step(round_ * n_steps + i)["loss"].backward()
                recipe.optimiser.step()
            measured.append(1000 * (time.process_time() - start) / n_steps / n_seeds)
        times[n_seeds] = statistics.median(measured)
    return {"one": times[1], "of_eight": times[8], "factor": times[1] / times[8]}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiments", nargs="*", default=["tms_5-2", "tms_40-10", "resid_mlp1", "resid_mlp2"])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    discover()
    catalog = Catalog((ROOT / "configs",))
    for name in options.experiments:
        config = load_experiment(name, catalog)
        problem = toy_problem(config, random_weights(config, torch.Generator().manual_seed(0)))
        runners = {
            "ours": Ours(config, problem),
            "naive": Naive(config, problem),
            "products": Products(config, problem),
        }
        times = time_steps(runners, 20 if name.startswith("tms_5") else 2, options.rounds)
        print(json.dumps({"experiment": name, **times, "speed_up": times["naive"] / times["ours"]}), flush=True)
    print(json.dumps({"target_seeds": seeds_factor(50, options.rounds)}))


if __name__ == "__main__":
    main()

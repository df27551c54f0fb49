"""Steps per second of a decomposition: ours, a naive step written from the paper, the bare matrix products.

    OMP_NUM_THREADS=1 python benchmarks/spd_steps.py [tms_5-2 tms_40-10 resid_mlp1 resid_mlp2 lm] [--rounds 5]

All in one process, interleaved, processor time, the median of the rounds; milliseconds per step. ``lm`` is a random Llama. The
last lines are the batched-seeds factors: a step of TMS targets, and of decompositions, eight in a batch against one at a time.

With INTERP_SPD_REFERENCE=FOLDER, a checkout of the published code (September 2025, commit adb5f849), its own training of the
same experiment takes part, in a child process; INTERP_SPD_REFERENCE_PYTHON names an interpreter (3.12 or later) that has its requirements.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from interp_plugins.methods.spd import loss_config as losses
from interp_plugins.methods.spd.building import build_decomposition
from interp_plugins.methods.spd.config import DecomposeConfig, TmsTargetConfig
from interp_plugins.methods.spd.experiments import load_experiment
from interp_plugins.methods.spd.inputs import Problem, toy_problem
from interp_plugins.methods.spd.targets.toys import ToySuperposition
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


class Reference:
    """The published code's own training, in a child process that takes turns with ours."""

    def __init__(self, problem, name):
        checkout = Path(os.environ["INTERP_SPD_REFERENCE"]).resolve()
        python = os.environ.get("INTERP_SPD_REFERENCE_PYTHON", sys.executable)
        self.folder = tempfile.TemporaryDirectory()
        weights = Path(self.folder.name) / "weights.safetensors"
        save_file({key: value.contiguous() for key, value in problem.weights.items()}, weights)
        self.child = subprocess.Popen(  # noqa: S603 - the checkout and interpreter that the user named
            [python, str(Path(__file__).with_name("spd_reference.py")), name, str(weights)],
            cwd=checkout, env={**os.environ, "PYTHONPATH": str(checkout)}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def seconds(self, n_steps):
        """Processor time of so many updates."""
        self.child.stdin.write(f"{n_steps}\n")
        self.child.stdin.flush()
        answer = self.child.stdout.readline()
        if not answer:
            sys.exit(f"the reference ended with exit code {self.child.wait()}; run benchmarks/spd_reference.py by hand")
        return float(answer)

    def close(self):
        """End the child."""
        self.child.stdin.close()
        self.child.wait()
        self.folder.cleanup()


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


def language_problem():
    """A small random Llama and tokens; the cost of a step does not depend on their values."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from interp_plugins.methods.spd.targets.language import LanguageTarget

    torch.manual_seed(0)
    shape = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4}
    target = LanguageTarget(LlamaForCausalLM(LlamaConfig(vocab_size=512, **shape)))
    config = DecomposeConfig(
        components={"*.mlp.up_proj": 128, "*.mlp.down_proj": 128},
        distance="kl",
        losses={
            "faithfulness": losses.FaithfulnessConfig(),
            "importance_minimality": losses.ImportanceMinimalityConfig(coeff=1e-4),
            "stochastic_recon": losses.StochasticReconConfig(),
            "stochastic_recon_layerwise": losses.StochasticReconConfig(over="layerwise"),
        },
        batch_size=8,
    )
    return config, Problem(target, lambda n, g: torch.randint(0, 512, (n, 64), generator=g))


class NaiveLanguage:
    """The step written from the paper for a language model: a whole forward pass for every mask, hidden layers stored."""

    def __init__(self, config, problem):
        self.config, self.problem, self.g = config, problem, torch.Generator().manual_seed(0)
        model = build_decomposition(config, problem.target, torch.Generator().manual_seed(0))
        self.network = problem.target.network
        self.modules = {site.name: self.network.get_submodule(site.name) for site in model.sites}
        self.factors = {s.name: [nn.Parameter(f.detach().clone()) for f in (model.v(s.name), model.u(s.name))]
                        for s in model.sites}  # fmt: skip
        self.gates = {}
        for i, site in enumerate(model.sites):
            span = model.spans[site.name]
            weights = model.importance.module_weights(span.start, span.stop, i)
            self.gates[site.name] = [nn.Parameter(w.detach().clone()) for w in weights]
        parameters = [p for group in (*self.factors.values(), *self.gates.values()) for p in group]
        self.optimiser = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.0, foreach=False)

    def forward(self, ids, masks):
        """The logits with components where there is a mask, and every module's input."""
        seen = {}

        def replaced(name, x):
            seen[name] = x
            if name not in masks:
                return F.linear(x, self.modules[name].weight)
            v, u = self.factors[name]
            return ((x @ v) * masks[name]) @ u

        for name, module in self.modules.items():
            module.forward = lambda x, name=name: replaced(name, x)
        logits = self.network(ids).logits
        for module in self.modules.values():
            del module.forward
        return logits, seen

    def step(self):
        """Make one update."""
        ids = self.problem.batches(self.config.batch_size, self.g)
        with torch.no_grad():
            want, inputs = self.forward(ids, {})
        lower, upper = {}, {}
        for name, (w1, b1, w2, b2) in self.gates.items():
            h = (inputs[name] @ self.factors[name][0]).unsqueeze(-1)
            z = (torch.einsum("bsch,cho->bsco", F.gelu(torch.einsum("bscd,cdh->bsch", h, w1) + b1), w2) + b2).squeeze(
                -1
            )
            below = z.clamp(max=0)
            lower[name] = z.clamp(0, 1) + 0.01 * (below - below.detach())
            upper[name] = torch.where(z > 1, 1 + 0.01 * (z - 1), z.clamp(0, 1))

        def distance(masks):
            log_q, log_p = self.forward(ids, masks)[0].log_softmax(-1), want.log_softmax(-1)
            return (log_p.exp() * (log_p - log_q)).sum(-1).mean()

        def draw():
            return {name: ci + (1 - ci) * torch.rand(ci.shape, generator=self.g) for name, ci in lower.items()}

        deltas = [self.modules[name].weight.T - v @ u for name, (v, u) in self.factors.items()]
        total = sum(d.square().sum() for d in deltas) / sum(d.numel() for d in deltas) + distance(draw())
        total = total + 1e-4 * sum(u.sum(-1).mean() for u in upper.values())
        each = [distance({name: mask}) for name, mask in draw().items()]
        self.optimiser.zero_grad()
        (total + sum(each) / len(each)).backward()
        self.optimiser.step()


class LanguageProducts:
    """The products of every module's x V and h U in the masked passes, and of the model's own modules in one pass each."""

    def __init__(self, config, problem):
        model = build_decomposition(config, problem.target, torch.Generator().manual_seed(0))
        n, self.pairs = config.batch_size * 64, []
        for site in model.sites:
            v, u = model.v(site.name).detach(), model.u(site.name).detach()
            self.pairs.append((torch.randn(n, v.shape[0]), v, torch.randn(n, u.shape[0]), u))

    step = Products.step


def decomposition_seeds_factor(catalog, n_steps, rounds):
    """Processor time of a step of tms_5-2 for one decomposition alone, over that of one of eight in a batch."""
    config = load_experiment("tms_5-2", catalog)
    weights = random_weights(config, torch.Generator().manual_seed(0))
    w, b = weights["linear2.weight"], weights["linear2.bias"]
    times = {}
    for runs in (1, 8):
        wide, bias = w.expand(runs, -1, -1).contiguous(), b.expand(runs, -1).contiguous()
        target = ToySuperposition({"linear1": wide, "linear2": wide.mT}, {"linear2": bias}, run_dims=1)
        data = config.target.build().data(config.feature_probability)
        problem = Problem(target, lambda n, g, data=data, runs=runs: data.batch(n, g, (runs,)))
        times[runs] = time_steps({"ours": Ours(config, problem)}, n_steps, rounds)["ours"] / runs
    return {"one": times[1], "of_eight": times[8], "factor": times[1] / times[8]}


def time_steps(runners, n_steps, rounds):
    times = {name: [] for name in runners}
    for runner in runners.values():
        seconds(runner, 1)
    for _ in range(rounds):
        for name, runner in runners.items():
            times[name].append(1000 * seconds(runner, n_steps) / n_steps)
    return {name: statistics.median(values) for name, values in times.items()}


def seconds(runner, n_steps):
    """Processor time of so many steps."""
    if isinstance(runner, Reference):
        return runner.seconds(n_steps)
    start = time.process_time()
    for _ in range(n_steps):
        runner.step()
    return time.process_time() - start


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
    parser.add_argument("experiments", nargs="*", default=["tms_5-2", "tms_40-10", "resid_mlp1", "resid_mlp2", "lm"])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    discover()
    catalog = Catalog((ROOT / "configs",))
    for name in options.experiments:
        if name == "lm":
            config, problem = language_problem()
            kinds = {"ours": Ours, "naive": NaiveLanguage, "products": LanguageProducts}
        else:
            config = load_experiment(name, catalog)
            problem = toy_problem(config, random_weights(config, torch.Generator().manual_seed(0)))
            kinds = {"ours": Ours, "naive": Naive, "products": Products}
        runners = {label: kind(config, problem) for label, kind in kinds.items()}
        if "INTERP_SPD_REFERENCE" in os.environ and name != "lm":
            runners["reference"] = Reference(problem, name)
        times = time_steps(runners, 20 if name.startswith("tms_5") else 2, options.rounds)
        ratios = {f"over_{label}": times[label] / times["ours"] for label in ("naive", "reference") if label in times}
        print(json.dumps({"experiment": name, **times, **ratios}), flush=True)
        if "reference" in runners:
            runners["reference"].close()
    print(json.dumps({"target_seeds": seeds_factor(50, options.rounds)}))
    print(json.dumps({"decomposition_seeds": decomposition_seeds_factor(catalog, 5, options.rounds)}))


if __name__ == "__main__":
    main()

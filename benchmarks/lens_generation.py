"""Text bottlenecks: cached against uncached writing, the cost of a training step against its bare passes, memory.

    OMP_NUM_THREADS=1 python benchmarks/lens_generation.py [--rounds 5]

The embedded d = 128 model, batches of 64, one process, interleaved, processor time, the median of the rounds, in milliseconds. "Passes"
are those that a step cannot do without, each forward and backward: the explanation written token by token, the encoder over it, the
frozen model's tail where there is a KL term. "Known text" is the least that a step could cost if the explanation were known beforehand:
the decoder reads it in one pass. Memory is what a process of its own, which does the work once, takes beyond what it began with.
"""

import argparse
import ctypes
import os
import statistics
import time
from pathlib import Path

import torch

from interp_plugins.methods.lens.consistency.bottleneck import Bottleneck
from interp_plugins.methods.lens.consistency.config import ConsistencyConfig
from interp_plugins.methods.lens.consistency.generation import Sampling
from interp_plugins.methods.lens.consistency.objective import Behaviour, Objective, Weights
from interp_plugins.methods.lens.dumped import Rows, Statistics
from interp_plugins.methods.lens.parts import Parts, mask_of
from interp_plugins.models.resolve import load_model
from interp_registry.discovery import discover
from interp_registry.training.schedules import ScheduleConfig

LAYER, BATCH, WIDTH = 2, 64, 40


def batch(parts):
    """Activations of random texts of 40 tokens; the cost does not depend on what they say."""
    source = torch.Generator().manual_seed(0)
    ids = torch.randint(5, 500, (BATCH, WIDTH), generator=source)
    lengths = torch.full((BATCH,), WIDTH)
    positions = torch.randint(8, WIDTH - 1, (BATCH,), generator=source)
    with torch.no_grad():
        hidden = parts.activations(ids, mask_of(lengths, WIDTH), LAYER)
    return Rows(hidden[torch.arange(BATCH), positions], ids, lengths, positions, torch.arange(BATCH))


def bottleneck(parts, rows, **settings):
    straight = {"through_words": True, "order": "forward", "kl": ScheduleConfig(start=0.0)}
    config = ConsistencyConfig(**(straight | settings))
    a = rows.activations
    moments = Statistics(
        a.mean(0), a.std(0), float(a.norm(dim=1).mean()), float(a.abs().max()), float(a.var(0).sum()), 1.0
    )
    return config, Bottleneck(parts, moments, config, LAYER)


def writing(parts, rows, tokens, gradient, **how):
    _, both = bottleneck(parts, rows, tokens=tokens)
    source = torch.Generator()

    def run():
        with torch.set_grad_enabled(gradient):
            written = both.decoder.write(rows.activations, Sampling(tokens, generator=source, **how))
        if gradient:
            written.embeddings.sum().backward()

    return run


def step(parts, rows, tokens, **settings):
    """One update: loss, backward, clip, AdamW."""
    config, both = bottleneck(parts, rows, tokens=tokens, **settings)
    objective = Objective(both, 1.0, Weights.of(config, 100))
    trained = [value for value in both.parameters() if value.requires_grad]
    optimiser, source = torch.optim.AdamW(trained, lr=1e-6), torch.Generator()

    def run():
        optimiser.zero_grad(set_to_none=True)
        objective(rows, 0, Sampling(tokens, generator=source), 0.0, None)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()

    return run


def bare(parts, rows, tokens, *, known, **settings):
    """The passes of a step; with ``known``, of one whose explanations are known beforehand."""
    config, both = bottleneck(parts, rows, tokens=tokens, **settings)
    ids = torch.randint(5, 500, (BATCH, tokens), generator=torch.Generator().manual_seed(1))
    with_kl, source = config.kl.start > 0, torch.Generator()

    def run():
        both.zero_grad(set_to_none=True)
        if known:
            both.decoder.logits(rows.activations, ids).sum().backward()
        else:
            both.decoder.write(rows.activations, Sampling(tokens, generator=source)).embeddings.sum().backward()
        both.encoder.read(both.vocabulary.table[ids]).sum().backward()
        if with_kl:
            tail = Behaviour(parts, rows, LAYER)
            with torch.no_grad():
                tail.logits(rows.activations)
            tail.logits(rows.activations.clone().requires_grad_()).sum().backward()

    return run


def measure(runners, rounds):
    """Median processor time of each runner in milliseconds."""
    times = {name: [] for name in runners}
    for run in runners.values():
        run()
    for _ in range(rounds):
        for name, run in runners.items():
            start = time.process_time()
            run()
            times[name].append(1000 * (time.process_time() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def memory(run):
    """MiB that one call takes at most, in a process of its own."""

    def of(name):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024

    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        ctypes.CDLL(None).mallopt(-3, 8192)  # M_MMAP_THRESHOLD: what is freed goes back to the system at once
        before = of("VmRSS")
        run()
        os.write(writing, f"{of('VmHWM') - before:.0f}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        return float(answer.read())


def table(title, rows):
    print(f"\n{title}")
    for name, ours, other in rows:
        print(f"{name:42s} {ours:9.1f} {other:9.1f} {other / ours:7.2f}x")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    discover()
    parts = Parts(load_model("lm-d128"))
    rows = batch(parts)
    runners = {}
    for tokens in (6, 32):
        for gradient in (False, True):
            for cached in (True, False):
                runners["write", tokens, gradient, cached] = writing(parts, rows, tokens, gradient, cached=cached)
    runners["write", 32, True, "checkpointed"] = writing(parts, rows, 32, True, checkpointing=True)
    kl = {"kl": ScheduleConfig(start=1.0)}
    for tokens in (6, 32):
        for name, settings in (("MSE", {}), ("MSE + KL", kl)):
            runners["step", tokens, name] = step(parts, rows, tokens, **settings)
            for known in (True, False):
                runners["bare", tokens, name, known] = bare(parts, rows, tokens, known=known, **settings)
    takes = {key: memory(runners[key]) for key in runners if key[0] == "step" or key[1:3] == (32, True)}
    took = measure(runners, rounds)
    words = {False: "no gradient", True: "forward and backward"}
    table(
        "writing, ms: cached, uncached, ratio",
        [
            (f"T = {tokens}, {words[gradient]}", *(took["write", tokens, gradient, cached] for cached in (True, False)))
            for tokens in (6, 32)
            for gradient in (False, True)
        ],
    )
    for unit, found in (("ms", took), ("MiB", takes)):
        cached, others = found["write", 32, True, True], (("uncached", False), ("checkpointed", "checkpointed"))
        table(
            f"T = 32, forward and backward, {unit}: cached, other, ratio",
            [(name, cached, found["write", 32, True, key]) for name, key in others],
        )
    for title, known in (("passes", False), ("known text", True)):
        table(
            f"training, ms: {title}, step, ratio",
            [
                (f"T = {tokens}, {name}", took["bare", tokens, name, known], took["step", tokens, name])
                for tokens in (6, 32)
                for name in ("MSE", "MSE + KL")
            ],
        )
    print("\na step's memory, MiB")
    for (_, tokens, name), value in ((key, value) for key, value in takes.items() if key[0] == "step"):
        print(f"T = {tokens}, {name:35s} {value:9.0f}")


if __name__ == "__main__":
    main()

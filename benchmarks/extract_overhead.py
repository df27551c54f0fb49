"""What extraction costs beyond the bare forward pass, and against padding to the longest and stacking all hidden states.

    python benchmarks/extract_overhead.py [--device cuda] [--repeats 5] [--skip-memory]

Everything is timed in one process, the ways interleaved, on the same random model and texts (log-normal lengths,
median 20, at most 90 tokens). On a CPU the time is CPU time of the whole process, so that other work on the machine
counts little; on a GPU it is wall time. Memory is the peak of a process of its own, beyond that of the loaded model.
"""

import argparse
import atexit
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import torch
from tokenizers import Tokenizer, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from interp_plugins.datasets.resolve import select_dataset
from interp_plugins.methods.extract.config import ExtractConfig
from interp_plugins.methods.extract.losses import text_nats
from interp_plugins.methods.extract.passes import PassPlan, run_shard
from interp_plugins.methods.extract.planning import BatchPlan, batches_of, padding_ratio
from interp_plugins.methods.extract.shard_writer import Loaded, write
from interp_plugins.methods.extract.sources import EncodedSource, ImageSource, Source
from interp_plugins.models.timm import wrap_timm_model
from interp_plugins.models.wrapping import wrap_module
from interp_registry.contracts.model import Encoded, Model
from interp_registry.discovery import discover
from interp_registry.events import MemorySink
from interp_registry.stores.features import FeatureRequest, FeatureStore

VOCABULARY = 8000
SHARD_ROWS = 64


def language_model(device: str, n_layers: int, width: int, quantize: str | None = None) -> Model:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=n_layers,
        num_attention_heads=max(width // 64, 2),
        max_position_embeddings=2048,
    )
    core = Tokenizer(models.WordLevel({"<pad>": 0, "<unk>": 1}, unk_token="<unk>"))  # noqa: S106
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>")  # noqa: S106
    network = LlamaForCausalLM(config)
    if quantize is not None:
        from interp_plugins.models.hardware import quantization_config

        with tempfile.TemporaryDirectory() as folder:
            network.save_pretrained(folder)
            settings = quantization_config(quantize, torch.device(device))
            network = LlamaForCausalLM.from_pretrained(folder, quantization_config=settings, device_map={"": device})
        return wrap_module(network, tokenizer)
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    return wrap_module(network.to(device, dtype), tokenizer)


def texts(n: int) -> list[Encoded]:
    source = random.Random(0)  # noqa: S311
    lengths = [min(90, max(2, round(source.lognormvariate(3, 0.7)))) for _ in range(n)]
    return [Encoded({"input_ids": [source.randrange(2, VOCABULARY) for _ in range(k)]}, k, 4 * k) for k in lengths]


def ours(model: Model, items: list[Encoded], budget: int, loss: bool = False) -> None:
    source = EncodedSource(items, [""] * len(items))
    batches = batches_of([item.length for item in items], BatchPlan(budget))
    plan = PassPlan(model.info.default_layers, ("avg",), loss=loss)
    run_shard(model, source, range(len(items)), batches, plan)


@torch.inference_mode()
def bare(model: Model, items: list[Encoded], budget: int, loss: bool = False) -> None:
    """The forward pass of the same batches, and with ``loss`` the logits at the same positions; nothing is kept."""
    for batch in batches_of([item.length for item in items], BatchPlan(budget)):
        inputs = model.collate([items[row] for row in batch]).to(model.device)
        output = model.forward(inputs)
        if loss:
            text_nats(output.last_hidden, inputs, model.unembed)
    synchronise(model)


@torch.inference_mode()
def pad_and_stack(model: Model, items: list[Encoded], batch_size: int, loss: bool = False) -> None:
    """The straightforward way: pad all to the longest, keep every hidden state, stack, then average over the mask."""
    longest = max(item.length for item in items)
    features = []
    for first in range(0, len(items), batch_size):
        batch = model.collate(items[first : first + batch_size], padding="left", width=longest).to(model.device)
        output = model.module(**batch.inputs, output_hidden_states=True, logits_to_keep=0 if loss else 1)
        hidden = torch.stack(output.hidden_states).permute(1, 0, 2, 3)
        mask = batch.mask[:, None, :, None]
        features.append(((hidden * mask).sum(2) / mask.sum(2)).cpu())
        if loss:
            logits, targets = output.logits[:, :-1].float(), batch.inputs["input_ids"][:, 1:]
            torch.nn.functional.cross_entropy(logits.permute(0, 2, 1), targets, reduction="none").cpu()
    torch.cat(features)


def synchronise(model: Model) -> None:
    if model.device.type == "cuda":
        torch.cuda.synchronize()


def timed(ways: dict[str, Callable[[], None]], repeats: int, device: str) -> dict[str, float]:
    """Least time of each way, the ways taking turns after one warm-up round: other work can only add."""
    clock = time.perf_counter if device.startswith("cuda") else time.process_time
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, way in ways.items():
            start = clock()
            way()
            if turn:
                times[name].append(clock() - start)
    return {name: min(values) for name, values in times.items()}


def language(arguments: argparse.Namespace) -> None:
    model = language_model(arguments.device, arguments.layers, arguments.width, arguments.quantize)
    items = texts(arguments.texts)
    tokens = sum(item.length for item in items)
    budget = arguments.budget
    batches = batches_of([item.length for item in items], BatchPlan(budget))
    seconds = timed(
        {
            "bare forward": lambda: bare(model, items, budget),
            "ours": lambda: ours(model, items, budget),
            "bare forward + scored logits": lambda: bare(model, items, budget, loss=True),
            "ours with loss": lambda: ours(model, items, budget, loss=True),
            "pad and stack, batch 4": lambda: pad_and_stack(model, items, 4),
            "pad and stack, batch 16": lambda: pad_and_stack(model, items, 16),
            "pad and stack, batch 16, with loss": lambda: pad_and_stack(model, items, 16, loss=True),
        },
        arguments.repeats,
        arguments.device,
    )
    print(f"\ntext: {arguments.texts} texts, {tokens} tokens, {arguments.layers} layers of {arguments.width}")
    print(f"padded / real tokens {padding_ratio([item.length for item in items], batches):.3f} (budget {budget})")
    for name, value in seconds.items():
        print(f"  {name:36s} {value:7.3f} s  {tokens / value:10.0f} tokens/s")
    print(f"  ours / bare forward                  {seconds['ours'] / seconds['bare forward']:.3f}  (aim <= 1.05)")
    with_loss = seconds["ours with loss"] / seconds["bare forward + scored logits"]
    print(f"  ours / bare, with loss               {with_loss:.3f}  (aim <= 1.05)")
    for size in (4, 16):
        ratio = seconds["ours"] / seconds[f"pad and stack, batch {size}"]
        print(f"  ours / pad and stack, batch {size:<2d}       {ratio:.3f}  (aim <= 0.5)")


def vision_model(device: str, depth: int) -> Model:
    import timm

    torch.manual_seed(0)
    network = timm.create_model("vit_tiny_patch16_224", depth=depth).eval().to(device)
    return wrap_timm_model(network, {"name": "vit", "revision": "0"})


def write_images(folder: Path, number: int) -> None:
    """JPEG files of 500 x 400 with blurred noise."""
    from PIL import Image

    noise = torch.Generator().manual_seed(0)
    for index in range(number):
        pixels = torch.randint(0, 256, (32, 40, 3), generator=noise, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).resize((500, 400)).save(folder / f"{index:04d}.jpg", quality=90)


def vision(arguments: argparse.Namespace) -> None:
    """Image files included: ours overlaps decoding with the forward pass; wall time."""
    model = vision_model(arguments.device, 4)
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), arguments.images)
        source = ImageSource(model, select_dataset(folder))
        rows = range(len(source))
        batches = batches_of(source.lengths(rows), BatchPlan(16))
        decoded = EncodedSource(source.load(rows), source.keys(rows))
        plan = PassPlan(model.info.default_layers, ("cls",), workers=arguments.workers)
        clock_all = {
            "decode alone": lambda: source.load(rows),
            "forward alone": lambda: run_shard(model, decoded, rows, batches, plan),
            "ours, both": lambda: run_shard(model, source, rows, batches, plan),
        }
        seconds = timed(clock_all, arguments.repeats, "cuda")
    decode, forward, both = seconds.values()
    hidden = (decode + forward - both) / min(decode, forward)
    cores = os.cpu_count() or 1
    print(
        f"\nimages: {arguments.images} JPEG files of 500 x 400, 4 blocks, {arguments.workers} decoding threads, wall time"
    )
    for name, value in seconds.items():
        print(f"  {name:36s} {value:7.3f} s  {arguments.images / value:10.0f} images/s")
    print(f"  share of the shorter part that is hidden behind the longer: {hidden:.2f}")
    floor = max(decode, forward, (decode + forward) / cores)
    print(f"  both / the least that {cores} cores allow        {both / floor:.3f}  (aim <= 1.05)")


def stored(model: Model, source: Source, plan: PassPlan, budget: int, rows: int = SHARD_ROWS) -> None:
    """What the command does with a loaded model: several shards, pooled, written while the next one is computed."""
    with tempfile.TemporaryDirectory() as folder:
        request = FeatureRequest("model", "data", "0", plan.poolings)
        job = SimpleNamespace(request=request, tokens=False, model=SimpleNamespace(name="model"))
        stores = {"features": FeatureStore(Path(folder)), "activations": None, "events": MemorySink()}
        config = ExtractConfig(max_tokens=budget, shard_rows=rows)
        write(Loaded(job, model, source, plan), config, SimpleNamespace(**stores))


def peak_beyond_model(arguments: argparse.Namespace) -> None:
    """Run in a process of its own: one JSON line with the peak memory beyond the loaded model (and the encoded texts)."""
    work = peak_of_images(arguments) if arguments.way == "images" else peak_of_texts(arguments)
    if arguments.device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        peak = torch.cuda.max_memory_allocated() - before
    else:
        peak = peak_resident(work)
    print(json.dumps({"bytes": peak}))


def peak_of_texts(arguments: argparse.Namespace) -> Callable[[], None]:
    model = language_model(arguments.device, arguments.layers, arguments.width)
    items = texts(arguments.texts)
    plan = PassPlan(model.info.default_layers, ("avg",))

    def run(some: list[Encoded]) -> None:
        if arguments.way == "stack":
            pad_and_stack(model, some, 16)
        else:
            stored(model, EncodedSource(some, [str(row) for row in range(len(some))]), plan, arguments.budget)

    run(items[:4])  # what is loaded at the first use does not count
    return lambda: run(items)


def peak_of_images(arguments: argparse.Namespace) -> Callable[[], None]:
    model = vision_model(arguments.device, arguments.layers)
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    write_images(Path(folder), arguments.images)
    plan = PassPlan(model.info.default_layers, ("cls",), workers=arguments.workers)

    def run(limit: int) -> None:
        stored(model, ImageSource(model, select_dataset(folder, limit)), plan, 16)

    run(4)
    return lambda: run(arguments.images)


def peak_resident(work: Callable[[], None]) -> int:
    """Largest growth of the resident set while ``work`` runs, sampled every 2 ms."""
    page, ended, seen = resource.getpagesize(), threading.Event(), []

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * page

    def watch() -> None:
        while not ended.wait(0.002):
            seen.append(resident())

    before = resident()
    watcher = threading.Thread(target=watch)
    watcher.start()
    work()
    ended.set()
    watcher.join()
    return max([*seen, resident()]) - before


def memory(arguments: argparse.Namespace) -> None:
    print(f"\npeak memory beyond the loaded model, MiB (ours: written to the store, {SHARD_ROWS} samples a shard)")
    for way in ("ours", "stack"):
        for n_texts, n_layers in ((512, 6), (2048, 6), (512, 12)):
            peak = peak_of([way, "--texts", str(n_texts), "--layers", str(n_layers)], arguments)
            print(f"  {way:6s} {n_texts:4d} texts, {n_layers:2d} layers  {peak:8.1f}")
    for n_images, depth in ((128, 2), (512, 2), (128, 4)):
        peak = peak_of(["images", "--images", str(n_images), "--layers", str(depth)], arguments)
        print(f"  ours   {n_images:4d} images, {depth:2d} layers {peak:8.1f}")


def peak_of(words: list[str], arguments: argparse.Namespace) -> float:
    """MiB; the largest of ``--processes`` processes."""
    command = [
        sys.executable,
        __file__,
        "--device",
        arguments.device,
        "--width",
        str(arguments.width),
        "--peak",
        *words,
    ]
    env = {**os.environ, "MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1"}
    peaks: list[int] = []
    for _ in range(arguments.processes):
        run = subprocess.run(command, capture_output=True, text=True, check=True, env=env)  # noqa: S603
        peaks.append(json.loads(run.stdout.splitlines()[-1])["bytes"])
    return max(peaks) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--texts", type=int, default=192)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--budget", type=int, default=1024)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--quantize", choices=["4bit", "8bit"])
    parser.add_argument("--skip-memory", action="store_true")
    parser.add_argument("--only-memory", action="store_true")
    parser.add_argument("--processes", type=int, default=1, help="for each measurement of memory; the largest counts")
    parser.add_argument("--peak", dest="way", choices=["ours", "stack", "images"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way is not None:
        peak_beyond_model(arguments)
        return
    discover()
    name = torch.cuda.get_device_name() if arguments.device.startswith("cuda") else "cpu"
    print(f"torch {torch.__version__}, {name}, {torch.get_num_threads()} threads")
    if not arguments.only_memory:
        language(arguments)
        vision(arguments)
    if not arguments.skip_memory:
        memory(arguments)


if __name__ == "__main__":
    main()

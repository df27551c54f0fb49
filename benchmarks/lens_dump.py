"""What a dump costs beyond the bare forward pass, and what the single-token tail saves.

    python benchmarks/lens_dump.py                  # CPU, about a minute
    python benchmarks/lens_dump.py --device cuda --width 1024 --layers 12 --batch 256

One random Llama and one set of texts; everything is timed in one process, the ways interleaved, best of --repeats. On a CPU the time is
CPU time of the process, so that other work on the machine counts little; on a GPU it is wall time. The swap is forward and backward to
the swapped vectors, at the middle layer, texts of 48 tokens: one token through the upper blocks behind stored keys and values, against
the same pass over the whole text.
"""

import argparse
import json
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from tokenizers import Tokenizer, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from interp_plugins.datasets.resolve import select_dataset
from interp_plugins.methods.extract.planning import BatchPlan, batches_of
from interp_plugins.methods.lens.config import DumpSettings
from interp_plugins.methods.lens.dump import Dumper
from interp_plugins.methods.lens.parts import Parts
from interp_plugins.methods.lens.positions import Positions
from interp_plugins.models.wrapping import wrap_module
from interp_registry.discovery import discover
from interp_registry.stores.features import FeatureRequest
from interp_registry.testing import FakeContext

VOCABULARY = 512
TOKENS = 48


def language_model(options: argparse.Namespace) -> Parts:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=options.width,
        intermediate_size=3 * options.width,
        num_hidden_layers=options.layers,
        num_attention_heads=max(options.width // 32, 2),
        max_position_embeddings=256,
    )
    words = {"<pad>": 0, "<unk>": 1} | {f"w{i}": i for i in range(2, VOCABULARY)}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="<unk>")),  # noqa: S106
        pad_token="<pad>",  # noqa: S106
    )
    from tokenizers import pre_tokenizers

    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    network = LlamaForCausalLM(config).eval().requires_grad_(requires_grad=False).to(options.device)
    return Parts(wrap_module(network, tokenizer))


def texts(n: int) -> list[str]:
    source = torch.Generator().manual_seed(0)
    lengths = torch.randint(24, 97, (n,), generator=source).tolist()
    return [" ".join(f"w{i}" for i in torch.randint(2, VOCABULARY, (k,), generator=source).tolist()) for k in lengths]


def seconds(run: Callable[[], object], device: str) -> float:
    clock = time.process_time if device == "cpu" else time.perf_counter
    if device != "cpu":
        torch.cuda.synchronize()
    start = clock()
    run()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - start


def best(ways: dict[str, Callable[[], object]], options: argparse.Namespace) -> dict[str, float]:
    for way in ways.values():
        way()
    rounds = [{name: seconds(way, options.device) for name, way in ways.items()} for _ in range(options.repeats)]
    return {name: min(one[name] for one in rounds) for name in ways}


def dumps(parts: Parts, options: argparse.Namespace, folder: Path) -> dict[str, float]:
    file = folder / "texts.jsonl"
    file.write_text("".join(json.dumps({"id": str(i), "text": t}) + "\n" for i, t in enumerate(texts(options.texts))))
    dataset = select_dataset(str(file))
    layers = f"{parts.n_layers // 2},{parts.n_layers}"
    ways: dict[str, Callable[[], object]] = {}
    for spec in ("random:4", "all"):
        settings = DumpSettings(layers=layers, positions=spec, batch_tokens=2048)
        dumper = Dumper(parts, dataset, settings, Positions.parse(spec), seed=0)

        def dump(dumper: Dumper = dumper, spec: str = spec) -> None:
            place = folder / spec.replace(":", "")
            shutil.rmtree(place, ignore_errors=True)
            ctx = FakeContext(place)
            request = FeatureRequest("bench", "texts", spec, ("none",), layers, "bfloat16")
            dumper.write(ctx.activations.open(request, dumper.plan()), ctx)

        ways[f"dump, {spec}"] = dump
    batches = batches_of([place.encoded.length for place in dumper.places], BatchPlan(2048))

    @torch.inference_mode()
    def forward() -> None:
        for batch in batches:
            parts.model.forward(parts.model.collate([dumper.places[one].encoded for one in batch]))

    return best({"bare forward": forward, **ways}, options)


def swaps(parts: Parts, options: argparse.Namespace) -> dict[str, float]:
    ids = torch.randint(2, VOCABULARY, (options.batch, TOKENS), device=parts.device)
    mask = torch.ones_like(ids, dtype=torch.bool)
    positions = torch.full((options.batch,), TOKENS - 1, device=parts.device)
    layer = parts.n_layers // 2
    start = torch.randn(options.batch, parts.width, device=parts.device)
    prefix = parts.prefix(ids, mask, layer)

    def backward(run: Callable[[torch.Tensor], torch.Tensor]) -> None:
        values = start.clone().requires_grad_()
        torch.autograd.grad(run(values).logsumexp(-1).sum(), values)

    batch = parts.batch(ids, mask)
    ways: dict[str, Callable[[], object]] = {
        "full pass": lambda: backward(lambda v: parts.from_layer(batch, layer, positions, v)),
        "tail, prefix computed": lambda: backward(lambda v: parts.tail(parts.prefix(ids, mask, layer), positions, v)),
        "tail, prefix stored": lambda: backward(lambda v: parts.tail(prefix, positions, v)),
    }
    return best(ways, options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    discover()
    parts = language_model(options)
    with tempfile.TemporaryDirectory() as folder:
        for title, found in (("dump", dumps(parts, options, Path(folder))), ("swap", swaps(parts, options))):
            reference = next(iter(found.values()))
            print(title)
            for name, value in found.items():
                print(f"  {name:24} {1000 * value:9.1f} ms   {value / reference:6.3f} of the first")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"peak memory {peak:.0f} MiB"
        if options.device == "cpu"
        else f"peak on the GPU {torch.cuda.max_memory_allocated() >> 20} MiB"
    )


if __name__ == "__main__":
    main()

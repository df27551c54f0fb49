"""Causal language models as targets: linear, embedding and Conv1D modules, replaced in place during a forward pass.

Axis letters: ``b`` batch, ``s`` positions, ``i`` inputs, ``o`` outputs, ``v`` vocabulary.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from interp_plugins.datasets.resolve import select_dataset
from interp_plugins.methods.spd.config import LanguageTargetConfig
from interp_plugins.methods.spd.inputs import Problem
from interp_plugins.methods.spd.sites import AtSite
from interp_plugins.models.config import LoadOptions
from interp_plugins.models.resolve import load_model
from interp_registry.contracts.method import RunContext
from interp_registry.errors import DataError, UsageError

__all__ = ["LanguageTarget", "build_language_target", "token_rows"]

_HELD_OUT = 0.1


class LanguageTarget:
    """A frozen causal language model.

    Args:
        network: A model whose output has ``logits`` (or a tensor as first entry).
        output: Attribute of the model's output that holds the logits.
    """

    run_dims = 0

    def __init__(self, network: nn.Module, output: str = "logits") -> None:
        self.network, self.output = network.eval().requires_grad_(requires_grad=False), output
        kinds = (nn.Linear, nn.Embedding, Conv1D)
        self._modules = {name: module for name, module in network.named_modules() if isinstance(module, kinds)}

    def module_names(self) -> Sequence[str]:
        """Names of the linear, embedding and Conv1D modules."""
        return list(self._modules)

    def weight(self, name: str) -> Float[Tensor, "i o"]:
        """Matrix of a module, input by output."""
        weight = self._modules[name].weight
        assert isinstance(weight, Tensor)  # noqa: S101 - a type narrowing
        return weight.T if isinstance(self._modules[name], nn.Linear) else weight

    def bias(self, name: str) -> Float[Tensor, "o"] | None:
        """Bias of a module, if it has one."""
        bias = getattr(self._modules[name], "bias", None)
        return bias if isinstance(bias, Tensor) else None

    def is_embedding(self, name: str) -> bool:
        """Whether a module maps token ids to vectors."""
        return isinstance(self._modules[name], nn.Embedding)

    def prepare(self, batch: Int[Tensor, "b s"]) -> Int[Tensor, "b s"]:
        """Return the token ids."""
        return batch

    def forward(self, batch: Int[Tensor, "b s"], at_site: AtSite) -> Float[Tensor, "b s v"]:
        """Return the logits, asking at every module."""
        with self._asking(at_site):
            out = self.network(batch)
        return out if isinstance(out, Tensor) else getattr(out, self.output)

    def unembed(self, rows: Float[Tensor, "... d"]) -> Float[Tensor, "... v"]:
        """Return the logits that the output embedding makes of rows.

        Raises:
            UsageError: The model has none.
        """
        find: Any = getattr(self.network, "get_output_embeddings", None)
        head = find() if find is not None else None
        if head is None:
            raise UsageError("the model has no output embedding", "leave unembed out")
        logits: Tensor = head(rows)
        return logits

    @contextmanager
    def _asking(self, at_site: AtSite) -> Iterator[None]:
        """Put a question in front of every module's own forward function, for one pass."""
        try:
            for name, module in self._modules.items():
                original = module.forward

                def ask(x: Tensor, name: str = name, original: Any = original) -> Any:
                    return at_site(name, x, original)

                module.forward = ask  # type: ignore[method-assign]
            yield
        finally:
            for module in self._modules.values():
                module.__dict__.pop("forward", None)


def token_rows(ids: Sequence[Sequence[int]], length: int) -> Int[Tensor, "n s"]:
    """Return texts joined end to end and cut into rows of one length; what is left over is dropped.

    Raises:
        DataError: There are fewer tokens than one row takes.
    """
    stream = torch.tensor([token for text in ids for token in text])
    n_rows = len(stream) // length
    if n_rows < 2:
        raise DataError(f"{len(stream)} tokens do not fill two rows of {length}", "take more texts or shorter rows")
    return stream[: n_rows * length].view(n_rows, length)


def build_language_target(config: LanguageTargetConfig, ctx: RunContext) -> Problem:
    """Load a model and tokens to decompose it on; the last tenth of the tokens is kept for evaluation.

    Raises:
        UsageError: The model is no causal language model.
    """
    model: Any = load_model(config.model, LoadOptions(device=ctx.device, dtype="fp32"))
    if not hasattr(model, "unembed") or not hasattr(model, "tokenizer"):
        raise UsageError(f"{config.model!r} is no causal language model", "give a model that predicts the next token")
    dataset = select_dataset(config.data, config.n_texts)
    texts = [dataset.text(i) for i in range(len(dataset))]
    rows = token_rows([encoded.inputs["input_ids"] for encoded in model.preprocess(texts)], config.sequence_length).to(
        ctx.device
    )
    n_train = max(1, int(len(rows) * (1 - _HELD_OUT)))
    parts = {"train": rows[:n_train], "held out": rows[n_train:]}

    def batches(part: str) -> Any:
        def draw(n_rows: int, source: torch.Generator) -> Tensor:
            taken = torch.randint(0, len(parts[part]), (n_rows,), generator=source, device=source.device)
            return parts[part][taken]

        return draw

    record = {"model": config.model, "revision": model.info.revision, "data": dataset.fingerprint, "rows": len(rows)}
    return Problem(
        LanguageTarget(model.module),
        batches("train"),
        record=record,
        tokens=model.tokenizer,
        held_out=batches("held out"),
    )

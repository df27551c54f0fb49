"""The verbaliser: activation -> text. A causal language model with its prompt.

Axes: n rows, d width.
"""

import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from jaxtyping import Float
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging
from transformers.utils.logging import disable_progress_bar

from interp_plugins.methods.lens.contract import Explanation
from interp_plugins.methods.lens.nla.injection import Answers, Injector
from interp_plugins.methods.lens.nla.prompts import VerbaliserPrompt
from interp_plugins.methods.lens.nla.sidecar import CheckpointSidecar, dump_sidecar
from interp_plugins.models.blocks import after_blocks
from interp_registry.errors import DataError, MissingDependencyError
from interp_registry.tensors.seeding import generator

__all__ = ["Verbaliser", "cjk_share", "extract", "load_network", "save_network"]

_TAGS = re.compile(r"<explanation>\s*(.*?)\s*</explanation>", re.DOTALL)
_CJK = re.compile(
    "[\u2e80-\u2fdf\u3000-\u30ff\u3200-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]"
)
_CHUNK = 64


def cjk_share(texts: list[str]) -> float:
    """Share of Chinese, Japanese and Korean characters among all that are no white space, in [0, 1].

    A verbaliser whose injection failed sees its marker, an enclosed ideograph, and writes about that: a share near 1 for activations of
    other texts says so.
    """
    characters = "".join("".join(text.split()) for text in texts)
    return len(_CJK.findall(characters)) / len(characters) if characters else 0.0


def extract(answer: str, *, plain: bool, finished: bool) -> tuple[str, bool]:
    """The explanation in an answer, and whether it has the form that was trained.

    Args:
        answer: What was written.
        plain: Whether the whole answer is the explanation; else it stands in ``<explanation>`` tags.
        finished: Whether the answer ended by itself.
    """
    if plain:
        text = answer.strip()
        return text, finished and bool(text)
    found = _TAGS.search(answer)
    return (found[1], True) if found else (answer, False)


@dataclass(frozen=True)
class Verbaliser:
    """Writes about activations."""

    injector: Injector
    """The network and its prompt."""
    tokenizer: PreTrainedTokenizerBase
    """Its tokenizer."""
    sidecar: CheckpointSidecar
    """What the checkpoint says about itself."""

    @classmethod
    def load(cls, folder: Path, *, scale: float | None = None, **options: Any) -> "Verbaliser":
        """Load a released checkpoint with its sidecar; every statement of the sidecar is checked.

        Args:
            folder: With ``config.json``, weights as safetensors, tokenizer and ``nla_meta.yaml``.
            scale: Length of injected activations where the sidecar states none, or another is wanted.
            options: For ``from_pretrained``, e.g. ``dtype``.

        Raises:
            DataError: Sidecar, tokenizer and weights do not fit together; the message says which statement is wrong.
        """
        sidecar = CheckpointSidecar.read(folder)
        sidecar.check_role("verbaliser")
        if scale is not None:
            sidecar = replace(sidecar, injection_scale=scale)
        if sidecar.injection_scale is None:
            raise DataError(
                f"{sidecar.path}: extraction.injection_scale is missing",
                "give one with --format.injection_scale or --method.injection_scale",
            )
        network, tokenizer = load_network(folder, sidecar, **options)
        return cls.build(network, tokenizer, sidecar)

    @classmethod
    def build(
        cls, network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, sidecar: CheckpointSidecar
    ) -> "Verbaliser":
        """Put a network, its tokenizer and a sidecar together.

        Raises:
            DataError: They do not fit.
        """
        sidecar.check_role("verbaliser")
        sidecar.check_width(network.config.get_text_config().hidden_size)
        if sidecar.tokens is None or sidecar.prompt is None or sidecar.injection_scale is None:
            raise DataError(f"{sidecar.path}: the marker, its prompt and injection_scale are needed")
        prompt = VerbaliserPrompt.build(tokenizer, sidecar.prompt, sidecar.tokens, sidecar.path)
        return cls(
            Injector(network, prompt, sidecar.injection_scale, _end_tokens(network, tokenizer)), tokenizer, sidecar
        )

    @cached_property
    def network(self) -> PreTrainedModel:
        """The causal language model."""
        return self.injector.network

    def explain(
        self,
        activations: Float[Tensor, "n d"],
        length: int,
        *,
        samples: int = 1,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[list[Explanation]]:
        """Explanations of each row; see `interp_plugins.methods.lens.contract.Explains`."""
        found: list[list[Explanation]] = [[] for _ in range(len(activations))]
        for draw in range(samples):
            for first in range(0, len(activations), _CHUNK):
                rows = activations[first : first + _CHUNK]
                source = generator(seed, f"nla answers {draw}", first)
                answers = self.injector.answer(rows, length, temperature=temperature, generator=source)
                for place, explanation in enumerate(self.explanations(answers, sampled=temperature > 0)):
                    found[first + place].append(explanation)
        return found

    def explanations(self, answers: Answers, *, sampled: bool = True) -> list[Explanation]:
        """What answers say."""
        ends = set(self.injector.ends)
        found: list[Explanation] = []
        rows = zip(answers.token_ids.tolist(), answers.mask.tolist(), answers.logprobs.tolist(), strict=True)
        for place, (ids, mask, chances) in enumerate(rows):
            chosen = [token for token, real in zip(ids, mask, strict=True) if real]
            kept = chosen[:-1] if chosen and chosen[-1] in ends else chosen
            answer = str(self.tokenizer.decode(kept, skip_special_tokens=True))
            text, parsed = extract(answer, plain=self.sidecar.plain, finished=bool(answers.finished[place]))
            scores = tuple(chances[: len(kept)]) if sampled else ()
            found.append(Explanation(text, tuple(kept), scores, parsed))
        return found

    def save(self, folder: Path) -> None:
        """Write a checkpoint that :meth:`load` reads back."""
        save_network(self.network, self.tokenizer, folder)
        dump_sidecar(self.sidecar, folder)


def _end_tokens(network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Tokens that end an answer: those of the generation settings, and the tokenizer's own."""
    stated: Any = getattr(network.generation_config, "eos_token_id", None)
    several: list[Any] = [*stated] if isinstance(stated, list | tuple) else [stated]
    own: Any = tokenizer.eos_token_id
    return tuple(dict.fromkeys(int(token) for token in (*several, own) if token is not None))


def load_network(
    folder: Path, sidecar: CheckpointSidecar, *, headless: bool = False, **options: Any
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Weights and tokenizer of a local checkpoint folder; nothing in it is executed.

    Args:
        folder: Where they lie.
        sidecar: What they must agree with.
        headless: Whether the output head and the final norm may be missing.
        options: For ``from_pretrained``.

    Raises:
        DataError: The folder holds no such network, weights are missing, or it is of another width than the sidecar states.
    """
    disable_progress_bar()
    shown = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        network, told = cast("Any", AutoModelForCausalLM).from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            **options,
        )
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except ImportError as err:
        raise MissingDependencyError(f"{folder} needs a package that is not here: {_first_line(err)}") from err
    except (OSError, ValueError, KeyError, RuntimeError) as err:
        raise DataError(f"{folder} holds no causal language model with safetensors: {_first_line(err)}") from err
    finally:
        transformers_logging.set_verbosity(shown)
    sidecar.check_width(network.config.get_text_config().hidden_size)
    missing = sorted(name for name in told["missing_keys"] if not (headless and _is_head(name, network)))
    if missing:
        more = ", ..." if len(missing) > 3 else ""
        raise DataError(f"{folder} lacks the weights {', '.join(missing[:3])}{more}", "the copy is not complete")
    return network.eval(), tokenizer


def _is_head(name: str, network: PreTrainedModel) -> bool:
    """Whether a weight belongs to the output head or stands behind the last block."""
    body: Any = network.get_decoder()
    behind = after_blocks(body, network.config.get_text_config().num_hidden_layers)
    return name.startswith("lm_head.") or any(f".{name}".find(f".{part}.") >= 0 for part in behind)


def save_network(network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write weights as safetensors, settings and tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _first_line(err: BaseException) -> str:
    text = str(err).strip()
    return text.splitlines()[0][:200] if text else type(err).__name__

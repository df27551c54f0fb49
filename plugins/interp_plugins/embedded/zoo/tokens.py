"""The zoo's tokenizer: a byte-level BPE of 512 tokens, trained once on the training captions and shipped as a file."""

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from interp_plugins.embedded.world import captions
from interp_plugins.embedded.zoo.recipes import CLIP_POSITIONS, LANGUAGE_POSITIONS, VOCABULARY_SIZE

SPECIAL_TOKENS = ("<pad>", "<bos>", "<eos>", "<unk>", "<eot>")
PAD, BOS, EOS, UNK, END_OF_TEXT = range(5)
"""``<eot>`` ends a text for CLIP: transformers pools at the wrong place when the end id of CLIP is 2."""

TOKENIZER_FILE = Path(__file__).parent / "tokenizer.json"


def train_tokenizer() -> Tokenizer:
    """A byte-level BPE without normaliser, trained on the 48,000 single training captions."""
    tokenizer = Tokenizer(models.BPE(unk_token=SPECIAL_TOKENS[UNK]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE, special_tokens=list(SPECIAL_TOKENS), initial_alphabet=[], show_progress=False
    )
    tokenizer.train_from_iterator((text for of_item in captions("train") for text in of_item), trainer)
    return tokenizer


def language_tokenizer() -> PreTrainedTokenizerFast:
    """The shipped tokenizer as the language models use it: ``<bos> text <eos>``."""
    return _wrapped("<eos>", LANGUAGE_POSITIONS)


def clip_tokenizer() -> PreTrainedTokenizerFast:
    """The shipped tokenizer as the CLIPs use it: ``<bos> text <eot>``, at most 64 tokens."""
    return _wrapped("<eot>", CLIP_POSITIONS)


def _wrapped(end: str, max_length: int) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer.from_file(str(TOKENIZER_FILE))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"<bos> $A {end}",
        pair=f"<bos> $A $B:1 {end}:1",
        special_tokens=[("<bos>", BOS), (end, SPECIAL_TOKENS.index(end))],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",  # noqa: S106
        bos_token="<bos>",  # noqa: S106
        eos_token=end,
        unk_token="<unk>",  # noqa: S106
        model_max_length=max_length,
        padding_side="right",
    )

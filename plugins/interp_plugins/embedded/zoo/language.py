"""Tiny Llama language models, trained on captions alone: no picture is read here.

Axis letters: b documents, t positions, r real targets.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from transformers import LlamaConfig, LlamaForCausalLM

from interp_plugins.embedded.world import captions, documents
from interp_plugins.embedded.zoo.recipes import LANGUAGE_POSITIONS, VOCABULARY_SIZE, Recipe
from interp_plugins.embedded.zoo.sources import sample_rows, seeded, step_generator
from interp_plugins.embedded.zoo.tokens import BOS, EOS, PAD, language_tokenizer

_INIT_GAIN = 0.8


def initial_language_model(recipe: Recipe) -> LlamaForCausalLM:
    """The untrained model of a recipe, from its seed: every weight normal with standard deviation .8/sqrt(d)."""
    config = LlamaConfig(
        vocab_size=VOCABULARY_SIZE,
        hidden_size=recipe.width,
        intermediate_size=8 * recipe.width // 3 // 8 * 8,
        num_hidden_layers=recipe.n_layers,
        num_attention_heads=recipe.n_heads,
        num_key_value_heads=recipe.n_heads,
        max_position_embeddings=LANGUAGE_POSITIONS,
        initializer_range=_INIT_GAIN / math.sqrt(recipe.width),
        tie_word_embeddings=False,
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=PAD,
    )
    with seeded(recipe.seed):
        return LlamaForCausalLM(config)


class LanguageTraining:
    """Next-token prediction on documents of two paraphrases of one scene.

    Args:
        recipe: a recipe whose objective is ``next-token``.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.model = initial_language_model(recipe)
        self.modules: dict[str, torch.nn.Module] = {"model": self.model}
        encoded = language_tokenizer()(documents(captions("train")))["input_ids"]
        self._documents = [torch.tensor(ids) for ids in encoded]

    def losses(self, i: int) -> dict[str, Float[Tensor, ""]]:
        """Mean next-token cross-entropy of step i over all real targets, ``<eos>`` included, in nats."""
        rows = sample_rows(len(self._documents), self.recipe.batch, step_generator(self.recipe.seed, i))
        tokens = pad_sequence([self._documents[row] for row in rows], batch_first=True, padding_value=PAD)
        return {"loss": next_token_loss(self.model, tokens)}


def next_token_loss(model: LlamaForCausalLM, tokens: Int[Tensor, "b t"]) -> Float[Tensor, ""]:
    """Mean cross-entropy in nats over the real targets of right-padded documents [b, t].

    No attention mask is needed: padding lies to the right, where a causal model does not look.
    """
    hidden = model.model(input_ids=tokens[:, :-1]).last_hidden_state
    targets = tokens[:, 1:]
    real = targets != PAD
    return functional.cross_entropy(model.lm_head(hidden[real]), targets[real])

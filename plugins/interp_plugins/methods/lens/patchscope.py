"""Patchscopes: an activation of one text put into another prompt, and what the model goes on to say (Ghandeharioun et al. 2024).

With the prompt "cat->cat; 1135->1135; hello->hello; ?" the model is led to repeat the token that the activation stands for.

Axes: d width.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from interp_plugins.methods.lens.parts import Parts
from interp_registry.errors import DataError

__all__ = ["patchscope"]


@torch.no_grad()
def patchscope(parts: Parts, activation: Float[Tensor, "d"], layer: int, prompt: str, n_tokens: int) -> str:
    """Greedy continuation of a prompt whose last token's activation at a layer is replaced.

    Args:
        parts: The model.
        activation: What to put in.
        layer: Where to, in the prompt's pass.
        prompt: The target prompt; without the end token that some tokenizers add.
        n_tokens: How many tokens to generate; fewer when the end token comes.

    Raises:
        DataError: The prompt has no tokens.
    """
    tokenizer = parts.model.tokenizer
    ids = list(parts.model.preprocess([prompt])[0].inputs["input_ids"])
    end = tokenizer.eos_token_id
    if len(ids) > 1 and ids[-1] == end:
        ids = ids[:-1]
    if not ids:
        raise DataError("the target prompt has no tokens")
    place, n_given = torch.tensor([len(ids) - 1]), len(ids)
    for _ in range(n_tokens):
        batch = parts.batch(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.bool))
        last = torch.tensor([[len(ids) - 1]])
        chosen = int(parts.from_layer(batch, layer, place, activation[None], last)[0, 0].argmax())
        if chosen == end:
            break
        ids.append(chosen)
    return str(tokenizer.decode(ids[n_given:], skip_special_tokens=True))

"""Poolings against their definitions, one sample at a time, with padding on either side (default tier)."""

import pytest
import torch

from interp_registry.errors import UnknownNameError, UsageError
from interp_registry.tensors.pooling import PoolPlan, as_tokens, parse_pooling, pool_tokens

DEFINITIONS = {
    "avg": lambda tokens: tokens.mean(0),
    "last": lambda tokens: tokens[-1],
    "first": lambda tokens: tokens[0],
    "cls": lambda tokens: tokens[0],
    "max": lambda tokens: tokens.max(0).values,
    "patch-avg": lambda tokens: tokens[2:].mean(0),
}


def padded(lengths, side):
    generator = torch.Generator().manual_seed(0)
    longest = max(lengths)
    hidden = 100 * torch.randn(len(lengths), longest, 5, generator=generator)
    mask = torch.zeros(len(lengths), longest, dtype=torch.bool)
    for row, length in enumerate(lengths):
        mask[row, :length] = True
    return hidden, mask if side == "right" else mask.flip(1)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("pooling", ["avg", "last", "first", "cls", "max"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_padding_takes_no_part_on_either_side(side, pooling, dtype) -> None:
    hidden, mask = padded([3, 7, 1, 4], side)
    hidden = hidden.to(dtype)
    found = pool_tokens(hidden, pooling, PoolPlan(mask))
    assert found.dtype == torch.float32
    for row in range(len(mask)):
        torch.testing.assert_close(found[row], DEFINITIONS[pooling](hidden[row][mask[row]].float()))


@pytest.mark.parametrize("pooling", list(DEFINITIONS))
def test_without_padding_every_pooling_is_its_definition(pooling) -> None:
    hidden, _ = padded([6, 6], "right")
    found = pool_tokens(hidden, pooling, PoolPlan(None, n_prefix_tokens=2))
    for row in range(2):
        torch.testing.assert_close(found[row], DEFINITIONS[pooling](hidden[row]))


def test_sums_of_half_precision_run_in_fp32() -> None:
    hidden = torch.full((1, 4096, 1), 1.0, dtype=torch.bfloat16)
    hidden[0, ::2] = 1.0078125
    assert pool_tokens(hidden, "avg", PoolPlan()).item() == pytest.approx(1.00390625, abs=1e-7)


def test_patches_of_a_model_without_any_are_refused() -> None:
    with pytest.raises(UsageError, match="patch"):
        pool_tokens(torch.zeros(1, 2, 3), "patch-avg", PoolPlan(None, n_prefix_tokens=2))


def test_a_map_becomes_one_token_per_place() -> None:
    feature_map = torch.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
    tokens = as_tokens(feature_map, spatial=True)
    assert tokens.shape == (2, 20, 3)
    torch.testing.assert_close(pool_tokens(tokens, "avg", PoolPlan()), feature_map.mean((2, 3)))
    assert as_tokens(torch.zeros(2, 4, 5, 3), spatial=False).shape == (2, 20, 3)
    assert as_tokens(torch.zeros(2, 3), spatial=False).shape == (2, 1, 3)


@pytest.mark.parametrize(
    ("text", "language", "vision"),
    [
        ("avg", ("avg",), ("avg",)),
        ("avg+last", ("avg", "last"), ("avg", "last")),
        ("language=avg,vision=cls", ("avg",), ("cls",)),
        ("vision=cls+patch-avg", ("avg",), ("cls", "patch-avg")),
        ("language=none", ("none",), ("avg",)),
    ],
)
def test_poolings_are_read_per_modality(text, language, vision) -> None:
    assert parse_pooling(text) == {"language": language, "vision": vision}


def test_misspelt_poolings_get_a_suggestion() -> None:
    with pytest.raises(UnknownNameError, match="did you mean avg"):
        parse_pooling("avgg")
    with pytest.raises(UnknownNameError, match="did you mean language"):
        parse_pooling("langauge=avg")
    with pytest.raises(UsageError, match="twice"):
        parse_pooling("avg,last")

"""Generators derived from one seed."""

import random

import numpy as np
import torch

from interp_registry.tensors.seeding import derive_seed, generator, global_seed, numpy_generator


def test_the_same_arguments_give_the_same_numbers():
    assert torch.equal(torch.rand(5, generator=generator(1, "x", 2)), torch.rand(5, generator=generator(1, "x", 2)))
    assert np.array_equal(numpy_generator(1, "x", 2).random(5), numpy_generator(1, "x", 2).random(5))


def test_every_argument_changes_the_seed():
    seeds = {
        derive_seed(seed, purpose, step, rank)
        for seed in (0, 1, -1, 12)
        for purpose in ("a", "b", "1|a", "")
        for step in (0, 1, 2)
        for rank in (0, 1)
    }
    assert len(seeds) == 4 * 4 * 3 * 2


def test_a_derived_seed_is_fixed_for_all_time_and_fits_every_generator():
    assert derive_seed(0, "shuffle") == 3799493454403685224
    assert all(0 <= derive_seed(0, "x", step) < 2**63 for step in range(1000))


def test_no_global_state_is_touched():
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    torch.rand(3, generator=generator(0, "x"))
    numpy_generator(0, "x").random()
    with global_seed(3, "dropout"):
        torch.rand(3)
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_the_global_seed_holds_inside_its_block():
    with global_seed(3, "dropout", step=1):
        first = torch.rand(3)
    with global_seed(3, "dropout", step=1):
        again = torch.rand(3)
    with global_seed(3, "dropout", step=2):
        other = torch.rand(3)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)

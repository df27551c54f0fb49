"""Cutting rows into shards and batches (default tier)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp_plugins.methods.extract.budget import grow
from interp_plugins.methods.extract.planning import BatchPlan, batches_of, padding_ratio, shards_of

LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=200)


@given(LENGTHS, st.integers(1, 2000), st.one_of(st.none(), st.integers(1, 50)), st.booleans())
def test_every_row_is_in_exactly_one_batch_within_the_limits(lengths, max_tokens, batch_size, bucket) -> None:
    batches = batches_of(lengths, BatchPlan(max_tokens, batch_size, bucket))
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) * max(lengths[row] for row in batch) <= max_tokens or len(batch) == 1
        assert batch_size is None or len(batch) <= batch_size


@given(LENGTHS)
def test_the_longest_come_first_so_that_memory_runs_out_at_once(lengths) -> None:
    rows = [row for batch in batches_of(lengths, BatchPlan(512)) for row in batch]
    assert [lengths[row] for row in rows] == sorted(lengths, reverse=True)


@given(LENGTHS, st.integers(1, 2000))
def test_the_plan_is_a_function_of_its_arguments(lengths, max_tokens) -> None:
    plan = BatchPlan(max_tokens)
    assert batches_of(lengths, plan) == batches_of(list(lengths), plan)


def test_without_buckets_rows_keep_their_order() -> None:
    assert batches_of([5, 1, 3, 2, 4], BatchPlan(100, 2, bucket=False)) == [[0, 1], [2, 3], [4]]


def test_padding_of_mixed_lengths_stays_below_a_fifth() -> None:
    import random

    source = random.Random(0)
    lengths = [min(90, max(2, round(source.lognormvariate(3, 0.7)))) for _ in range(512)]
    assert padding_ratio(lengths, batches_of(lengths, BatchPlan(2048))) < 1.2


@pytest.mark.parametrize(("n_rows", "expected"), [(10, [4, 4, 2]), (8, [4, 4]), (1, [1])])
def test_shards_cover_all_rows(n_rows, expected) -> None:
    shards = shards_of(n_rows, 4)
    assert [len(shard) for shard in shards] == expected
    assert [row for shard in shards for row in shard] == list(range(n_rows))


@pytest.mark.parametrize(
    ("memory_per_token", "expected"),
    [(0.001, 1024), (0.0001, 8192), (1.0, 64), (0.0, 1 << 16)],
)
def test_a_budget_grows_until_memory_is_used_well(memory_per_token, expected) -> None:
    tried: list[int] = []

    def used(budget: int) -> float:
        tried.append(budget)
        return budget * memory_per_token

    budget = grow(64, 1 << 16, used)
    assert budget == tried[0] if memory_per_token == 1.0 else budget <= expected
    assert budget * memory_per_token <= 1 or budget == 64

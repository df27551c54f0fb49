import pytest
import torch

from interp_plugins.metrics import neighbours
from interp_plugins.metrics.gram import full_precision, gram, require_precise
from interp_plugins.metrics.layer_bank import LayerBank
from interp_plugins.metrics.neighbours import ListIndex, nearest, neighbour_table, permuted_lists
from interp_registry.errors import DataError, UsageError


def rows(n, d, seed=0, dtype=torch.float32):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_gram_is_the_product_and_exactly_symmetric():
    for n in (5, 191, 192, 193, 400):
        x = rows(n, 13)
        found = gram(x)
        torch.testing.assert_close(found, x @ x.T, rtol=1e-5, atol=1e-5)
        assert torch.equal(found, found.T)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_grams_are_refused(dtype):
    with pytest.raises(UsageError, match="cannot be trusted"):
        require_precise(rows(4, 2).to(dtype))


def test_full_precision_is_set_inside_and_restored_outside():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with full_precision():
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


def test_equal_similarities_are_ordered_by_index():
    similarities = torch.tensor([[0.0, 3, 1, 1, 1, 3], [2, 0, 2, 2, 2, 2]])
    found, values = nearest(similarities.clone(), 3, first_row=0)
    assert found.tolist() == [[1, 5, 2], [0, 2, 3]]
    assert values.tolist() == [[3, 3, 1], [2, 2, 2]]


def test_duplicated_samples_do_not_make_the_result_depend_on_chance():
    x = torch.nn.functional.normalize(rows(30, 4)).repeat(3, 1)
    first, again = (neighbour_table(x, 4)[0] for _ in range(2))
    assert torch.equal(first, again)
    copies = torch.arange(90) % 30
    assert (copies[first[:, :2].long()] == copies[:, None]).all()  # the two other copies come first ...
    assert (first[:, 0] < first[:, 1]).all()  # ... the one of lower index before the other


def test_row_blocks_find_the_neighbours_that_one_gram_finds(monkeypatch):
    x = rows(300, 16, dtype=torch.float64)
    whole = neighbour_table(x, 7)
    monkeypatch.setattr(neighbours, "_ONE_GRAM", 64)
    monkeypatch.setattr(neighbours, "_BLOCK_ENTRIES", 300 * 37)
    blocked = neighbour_table(x, 7)
    assert torch.equal(whole[0], blocked[0])
    torch.testing.assert_close(whole[1], blocked[1])
    with_self = neighbour_table(x / x.norm(dim=1, keepdim=True), 3, include_self=True)[0]
    assert torch.equal(with_self[:, 0].long(), torch.arange(300))


def test_comparing_lists_directly_equals_looking_them_up(monkeypatch):
    tables = [
        torch.stack([neighbour_table(rows(90, 5, seed=s), 6)[0] for s in side]) for side in (range(3), range(5, 15))
    ]
    x, y = tables
    fast = [ListIndex(y).counts(x), ListIndex(x).returns(y), ListIndex(y, mark_slots=True).slots(x)]
    monkeypatch.setattr(neighbours, "_ONE_GRAM", 8)
    slow = [ListIndex(y).counts(x), ListIndex(x).returns(y), ListIndex(y, mark_slots=True).slots(x)]
    for a, b in zip(fast, slow, strict=True):
        assert torch.equal(a.long(), b.long())
    assert fast[0].max() > 0


def test_more_neighbours_than_fit_in_a_byte_are_counted():
    lists = torch.stack([neighbour_table(rows(320, 3, seed=s), 300)[0] for s in (0, 1)])
    counts = ListIndex(lists).counts(lists)
    assert (counts[0, :, 0] == 300).all()
    expected = len(set(lists[0, 5].tolist()) & set(lists[1, 5].tolist()))
    assert counts[0, 5, 1] == expected


def test_permuted_lists_are_the_lists_of_permuted_samples():
    x = rows(50, 4, dtype=torch.float64)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(2))
    moved = permuted_lists(neighbour_table(x, 5)[0][None], order)[0]
    assert torch.equal(moved, neighbour_table(x[order], 5)[0].long())


def test_a_bank_slices_deeper_tables_and_refuses_too_many_neighbours():
    bank = LayerBank([rows(20, 3), rows(20, 4, seed=1)])
    deep = bank.neighbours(8)[0]
    assert torch.equal(bank.neighbours(3)[0], deep[..., :3])
    assert LayerBank.of(bank) is bank
    with pytest.raises(DataError, match="topk=20 needs more than 20 samples"):
        bank.neighbours(20)
    bank.neighbours(20, include_self=True)


def test_shared_grams_give_the_same_neighbours():
    layers = [rows(40, 6, dtype=torch.float64) + 3]
    shared = LayerBank(layers, keep_grams=True)
    assert torch.equal(next(iter(shared.centred_grams())), next(iter(shared.centred_grams())))
    assert torch.equal(shared.neighbours(5)[0], LayerBank(layers).neighbours(5)[0])

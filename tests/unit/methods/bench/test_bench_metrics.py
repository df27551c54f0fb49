"""Benchmark scores: chance, intervals, ties, refusals."""

import math

import pytest
import torch

from interp_plugins.methods.bench import metrics
from interp_plugins.methods.bench.intervals import bootstrap_interval, design_effect
from interp_plugins.methods.bench.retrieval import chance_levels
from interp_registry.errors import DataError


def benchmark_recall(image, text, owner, k):
    """Recall as CLIP_benchmark defines it: the share of queries with a positive among the top k, written out slowly."""
    image, text = image / image.norm(dim=1, keepdim=True), text / text.norm(dim=1, keepdim=True)
    scores = text @ image.T
    t2i = [owner[t].item() in scores[t].topk(k).indices.tolist() for t in range(len(text))]
    i2t = [any(owner[t] == i for t in scores[:, i].topk(k).indices.tolist()) for i in range(len(image))]
    return sum(i2t) / len(i2t), sum(t2i) / len(t2i)


@pytest.mark.parametrize("seed", range(5))
def test_recall_is_that_of_the_plain_definition_with_uneven_numbers_of_captions(seed):
    generator = torch.Generator().manual_seed(seed)
    owner = torch.cat([torch.arange(30), torch.randint(30, (45,), generator=generator)])
    image = torch.randn(30, 8, generator=generator, dtype=torch.float64)
    text = image[owner] + 1.5 * torch.randn(75, 8, generator=generator, dtype=torch.float64)
    ours = metrics.retrieval(image, text, owner)
    for k in (1, 5, 10):
        i2t, t2i = benchmark_recall(image, text, owner, k)
        assert ours["i2t"][f"recall@{k}"] == pytest.approx(i2t, abs=1e-12)
        assert ours["t2i"][f"recall@{k}"] == pytest.approx(t2i, abs=1e-12)


def test_chance_is_what_random_embeddings_score_and_lies_in_the_interval():
    generator = torch.Generator().manual_seed(0)
    owner = torch.arange(400).repeat_interleave(3)
    ours = metrics.retrieval(
        torch.randn(400, 16, generator=generator), torch.randn(1200, 16, generator=generator), owner
    )
    for way in ("i2t", "t2i"):
        for key, chance in ours["chance"][way].items():
            low, high = ours["interval"][way][key]
            assert low <= chance <= high, (way, key)
            assert low <= ours[way][key] <= high


def test_chance_of_one_positive_is_k_over_n_and_the_middle_rank():
    levels = chance_levels(1000, torch.ones(7, dtype=torch.long))
    assert levels["recall@1"] == pytest.approx(0.001)
    assert levels["recall@10"] == pytest.approx(0.01)
    assert levels["median_rank"] == 500.5
    assert levels["mean_rank"] == 500.5


def test_constant_embeddings_score_nothing():
    ours = metrics.retrieval(torch.ones(20, 4), torch.ones(20, 4))
    assert ours["i2t"]["recall@10"] == 0
    assert ours["t2i"]["mean_rank"] == 20
    logits = torch.zeros(20, 10)
    assert metrics.classification(logits, torch.zeros(20, dtype=torch.long))["top5_accuracy"] == 0
    assert metrics.choice(torch.zeros(5, 2), [0] * 5)["accuracy"] == 0


def test_rsum_is_the_sum_of_the_recalls_in_per_cent():
    eye = torch.eye(12)
    assert metrics.retrieval(eye, eye)["rsum"] == pytest.approx(600)


def test_permuted_owners_score_about_chance():
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(500, 32, generator=generator)
    ours = metrics.retrieval(image, image[torch.randperm(500, generator=generator)])
    assert ours["t2i"]["recall@1"] < 0.02


def test_choice_ignores_padding_and_chance_is_the_mean_over_items():
    scores = torch.tensor([[0.9, 0.1, 9.0], [0.2, 0.3, 0.1]])
    ours = metrics.choice(scores, [0, 1], torch.tensor([2, 3]))
    assert ours["accuracy"] == 1
    assert ours["chance"]["accuracy"] == pytest.approx((1 / 2 + 1 / 3) / 2)


def test_a_group_is_right_when_all_its_items_are_and_items_without_key_are_left_out():
    right, keys = metrics.groups_right(torch.tensor([True, False, True, True, False]), ["a", "a", "b", "b", ""])
    assert keys == ["a", "b"]
    assert right.tolist() == [False, True]


def test_class_weights_are_unit_means_of_unit_prompts():
    prompts = torch.tensor([[2.0, 0.0], [0.0, 5.0], [0.0, 3.0]])
    weights = metrics.class_weights(prompts, torch.tensor([0, 0, 1]))
    torch.testing.assert_close(weights, torch.tensor([[0.5**0.5, 0.5**0.5], [0.0, 1.0]]))


def test_wilson_interval_covers_the_share_and_is_not_empty_at_the_ends():
    assert metrics.wilson_interval(0.0, 50) == (0.0, pytest.approx(0.0713, abs=1e-3))
    low, high = metrics.wilson_interval(0.5, 100)
    assert (low, high) == (pytest.approx(0.4038, abs=1e-3), pytest.approx(0.5962, abs=1e-3))
    assert math.isnan(metrics.wilson_interval(math.nan, 10)[0])


def test_captions_that_always_agree_count_as_one():
    hits = torch.tensor([True, False] * 50).repeat_interleave(5)
    groups = torch.arange(100).repeat_interleave(5)
    assert design_effect(hits, groups) == pytest.approx(5, rel=0.02)
    assert design_effect(torch.ones(10, dtype=torch.bool), torch.arange(10)) == 1


def test_items_without_companions_are_worth_their_number():
    hits = torch.arange(100) < 55
    assert design_effect(hits, torch.arange(100)) == pytest.approx(1, abs=1e-12)


def test_the_bootstrap_is_the_same_for_the_same_seed():
    ranks, groups = torch.arange(1, 101).double(), torch.arange(100)
    first = bootstrap_interval(ranks, groups, seed=3)
    assert first == bootstrap_interval(ranks, groups, seed=3)
    assert first["mean_rank"][0] < 50.5 < first["mean_rank"][1]


@pytest.mark.parametrize(
    ("image", "text", "owner", "message"),
    [
        (torch.ones(3, 2), torch.ones(4, 2), None, "4 texts for 3 images"),
        (torch.ones(3, 2), torch.ones(3, 5), None, "same width"),
        (torch.ones(3, 2), torch.ones(3, 2), torch.tensor([0, 1, 3]), r"0 \.\. 2"),
        (torch.ones(3, 2), torch.ones(3, 2), torch.tensor([0, 1, 1]), "image 2 has no text"),
        (torch.full((3, 2), math.nan), torch.ones(3, 2), None, "not finite"),
    ],
)
def test_embeddings_that_do_not_fit_are_refused(image, text, owner, message):
    with pytest.raises(DataError, match=message):
        metrics.retrieval(image, text, owner)


def test_scores_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="reach from 0 to 3"):
        metrics.classification(torch.zeros(2, 3), torch.tensor([0, 3]))
    with pytest.raises(DataError, match="same length"):
        metrics.winoground(torch.zeros(2), torch.zeros(2), torch.zeros(2), torch.zeros(3))
    with pytest.raises(DataError, match="not finite"):
        metrics.winoground(*[torch.full((2,), math.inf)] * 4)
    with pytest.raises(DataError, match="class 0 has no prompt"):
        metrics.class_weights(torch.ones(1, 2), torch.tensor([1]))

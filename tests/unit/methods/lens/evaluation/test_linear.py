"""Closed-form baselines."""

import torch

from interp_plugins.methods.lens.evaluation.linear import (
    LinearBottleneck,
    Ridge,
    comparable_rank,
    fit_probe,
    token_features,
)
from interp_plugins.methods.lens.evaluation.measures import fve


def _random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_ridge_without_penalty_finds_the_map_and_with_a_large_one_says_the_mean():
    x, true = _random(200, 5) + 2, _random(5, 3, seed=1)
    y = x @ true + 7
    assert torch.allclose(Ridge.fit(x, y, 0.0)(x), y.double(), atol=1e-5)
    assert torch.allclose(Ridge.fit(x, y, 1e12)(x), y.double().mean(0).expand(200, 3), atol=1e-6)


def test_a_bottleneck_of_full_rank_loses_only_what_sixteen_bits_lose():
    x = _random(300, 6)
    assert fve(x, LinearBottleneck.fit(x, 6)(x), x.mean(0)) > 0.9999
    losses = [fve(x, LinearBottleneck.fit(x, rank)(x), x.mean(0)) for rank in (1, 3, 5)]
    assert losses == sorted(losses)
    assert losses[0] > 0


def test_the_rank_holds_as_many_bits_as_the_tokens():
    assert comparable_rank(6, 512) == 3  # 54 bits
    assert comparable_rank(32, 2**16) == 32
    assert comparable_rank(1, 2) == 1


def test_a_probe_finds_a_linear_fact_on_documents_it_has_not_seen():
    x = _random(600, 8)
    facts = torch.stack([x[:, 0] > 0, _random(600, seed=5) > 0], 1)
    probe = fit_probe(x[:500], facts[:500], torch.arange(500))
    right = ((probe(x[500:]) > 0.5) == facts[500:]).double().mean(0)
    assert right[0] > 0.9
    assert right[1] < 0.7


def test_token_features_are_the_mean_unembedding_of_the_best_tokens():
    unembedding = _random(5, 3)
    logits = torch.tensor([[0.0, 5.0, 1.0, 4.0, 2.0]])
    assert torch.allclose(token_features(logits, unembedding, 2), unembedding[[1, 3]].mean(0)[None])

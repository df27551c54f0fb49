"""Decompositions side by side end where each would have ended alone."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from interp_plugins.methods.spd import loss_config as losses
from interp_plugins.methods.spd.batched import BatchedTraining, Point, separate
from interp_plugins.methods.spd.run import decompose, training_config
from interp_plugins.methods.spd.training import export_weights
from interp_registry.errors import UsageError
from interp_registry.training.loop import train


@pytest.mark.parametrize("skip", [True, False])
def test_runs_side_by_side_equal_runs_alone(tiny, skip):
    config, problem = tiny
    config.skip_zero_rows, config.steps, config.delta = skip, 12, True
    config.losses["subset"] = losses.StochasticReconConfig(over="subset", coeff=0.3)
    config.losses["adversary"] = losses.PgdReconConfig(coeff=0.2, n_steps=1)
    points = [Point(3), Point(5, rate=0.5), Point(8, coeffs={"importance_minimality": 0.02})]
    training = BatchedTraining(config, problem, points)
    assert training.skips_zero_rows == skip
    train(training, training_config(config), 0)
    for point, together in zip(points, separate(training), strict=True):
        changed = {
            label: replace(loss, coeff=point.coeffs.get(label, loss.coeff)) for label, loss in config.losses.items()
        }
        own = replace(config, losses=changed, learning_rate=config.learning_rate * point.rate)
        alone = decompose(own, problem, point.seed).model
        for name, value in export_weights(alone).items():
            assert_close(export_weights(together)[name], value, rtol=1e-3, atol=2e-4)
    first, second, third = (export_weights(model)["components.linear1.V"] for model in training.singles)
    assert not torch.allclose(first, second, atol=0.1)
    assert not torch.allclose(second, third, atol=0.1)


def test_what_cannot_be_done_side_by_side_is_refused(tiny):
    config, problem = tiny
    with pytest.raises(UsageError, match=r"\['typo'\] are not in the configuration"):
        BatchedTraining(config, problem, [Point(0, coeffs={"typo": 1.0})])
    with pytest.raises(UsageError, match="only toy targets"):
        BatchedTraining(config, replace(problem, weights={}), [Point(0)])

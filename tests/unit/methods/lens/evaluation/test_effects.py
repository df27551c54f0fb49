"""What swaps do to predictions: the identity does nothing, and everything else is what a plain pass says it is."""

import math

import pytest
import torch

from interp_plugins.methods.lens.evaluation.effects import SwapMeter
from interp_plugins.methods.lens.evaluation.measures import kl_divergence
from interp_registry.tensors.layers import Layer


@pytest.mark.parametrize("layer", range(5))
def test_putting_an_activation_in_its_own_place_changes_no_bit(causal, rows, layer):
    meter = SwapMeter(causal, rows, layer, batch_size=7)
    found = meter.measure({"identity": meter.activations()})["identity"]
    assert found.logit_change.tolist() == [0.0] * len(rows)
    assert found.kl.tolist() == [0.0] * len(rows)
    assert found.kl_after.nan_to_num(0).tolist() == [0.0] * len(rows)
    assert found.agrees.tolist() == [1.0] * len(rows)
    assert found.loss_change.nan_to_num(0).tolist() == [0.0] * len(rows)


def test_effects_are_those_of_single_passes_over_each_text(llama, rows):
    """Row by row, without padding: KL at the position, over the window, loss changes."""
    window = 3
    meter = SwapMeter(llama, rows, 2, window=window, batch_size=16)
    values = meter.activations().roll(1, 0)
    found = meter.measure({"other": values})["other"]
    for row in (0, 7, 31, 58):
        length, position = int(rows.lengths[row]), int(rows.positions[row])
        ids = rows.token_ids[row : row + 1, :length]
        network = llama.module
        with torch.no_grad():
            before = network(input_ids=ids).logits[0]
            with llama.swap(Layer(2), torch.tensor([position]), values[row : row + 1]):
                after = network(input_ids=ids).logits[0]
        kl = kl_divergence(before, after)
        later = [p for p in range(position + 1, position + 1 + window) if p < length - 1]
        assert float(found.kl[row]) == pytest.approx(float(kl[position]), rel=1e-4, abs=1e-9)
        assert bool(found.agrees[row]) == bool(before[position].argmax() == after[position].argmax())
        if later:
            assert float(found.kl_after[row]) == pytest.approx(float(kl[later].mean()), rel=1e-4, abs=1e-9)
        else:
            assert math.isnan(found.kl_after[row])
        if position < length - 1:
            target = ids[0, position + 1]
            change = before.log_softmax(-1)[position, target] - after.log_softmax(-1)[position, target]
            assert float(found.loss_change[row]) == pytest.approx(float(change), rel=1e-3, abs=1e-5)
        else:
            assert math.isnan(found.loss_change[row])


def test_the_hooks_are_gone_and_the_model_is_as_before(llama, rows):
    meter = SwapMeter(llama, rows, 2)
    before = meter.activations()
    meter.measure({"zero": torch.zeros_like(before)})
    assert torch.equal(meter.activations(), before)

"""On a device without float64, Apple's MPS as `emulated_mps` has it, metrics, losses and measures give the numbers of the CPU."""

from collections.abc import Iterator

import pytest
import torch
from emulated_mps import Emulation, emulated_mps
from torch import Tensor

import interp_cli as interp
from interp_plugins.methods.extract.losses import text_nats
from interp_plugins.methods.lens.evaluation import measures
from interp_registry.choices import LossConfig, MetricConfig, choice_names
from interp_registry.contracts.model import Batch
from interp_registry.discovery import discover

discover()


def drawn(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


X, Y = ([drawn(24, 11, seed), drawn(24, 14, seed + 1)] for seed in (0, 2))


@pytest.fixture(autouse=True)
def mps() -> Iterator[Emulation]:
    with emulated_mps() as emulation:
        yield emulation


def there(layers: list[Tensor]) -> list[Tensor]:
    return [layer.to("mps") for layer in layers]


@pytest.mark.parametrize("name", choice_names(MetricConfig))
def test_every_metric_scores_tensors_of_the_device_as_those_of_the_cpu(name: str):
    settings = {"metric": name, "topk": 5, "null": 3, "clamp": "quantile", "keep_null_scores": True}
    here = interp.align(X, Y, **settings)
    for found in (interp.align(there(X), there(Y), **settings), interp.align(X, Y, device="mps", **settings)):
        assert found.scores.tolist() == here.scores.tolist()
        assert found.null_scores.tolist() == here.null_scores.tolist()
    assert interp.metric(name)(X[0].to("mps"), Y[0].to("mps")) == interp.metric(name)(X[0], Y[0])


@pytest.mark.parametrize("ci", ["jackknife", "subsample"])
def test_intervals_are_those_of_the_cpu(ci: str):
    settings = {"metric": "cka", "ci": ci, "ids_x": list(range(24)), "ids_y": list(range(24))}
    assert interp.align(there(X), there(Y), **settings).interval == interp.align(X, Y, **settings).interval


@pytest.mark.parametrize("name", choice_names(LossConfig))
def test_every_loss_has_the_value_and_the_gradient_of_the_cpu_and_stays_on_the_device(name: str):
    found = {}
    for device in ("cpu", "mps"):
        x, y = (side.to(device).requires_grad_() for side in (drawn(12, 6, 0), drawn(12, 6, 1)))
        value = LossConfig.get_known_choices()[name]().build()(x, y)
        assert value.device.type == device
        value.backward()
        found[device] = torch.stack([x.grad.cpu(), y.grad.cpu()]), value.item()
    assert found["mps"][1] == pytest.approx(found["cpu"][1], rel=1e-6)
    assert torch.allclose(found["mps"][0], found["cpu"][0])


def test_measures_of_lenses_are_those_of_the_cpu():
    a, b, targets = drawn(8, 5, 0), drawn(8, 5, 1), torch.arange(8) % 5
    moved = a.to("mps"), b.to("mps"), targets.to("mps")
    for measure in (measures.kl_divergence, measures.squared_errors, measures.normalised_errors, measures.cosine):
        assert torch.equal(measure(*moved[:2]).cpu(), measure(a, b)), measure.__name__
    assert torch.equal(measures.cross_entropy(moved[0], moved[2]).cpu(), measures.cross_entropy(a, targets))
    assert torch.equal(measures.entropy(moved[0]).cpu(), measures.entropy(a))
    assert measures.fve(*moved[:2], a.mean(0).to("mps")) == measures.fve(a, b, a.mean(0))


def test_benchmarks_score_tensors_of_the_device_as_those_of_the_cpu():
    score, labels = interp.bench_metrics, torch.arange(24) % 6
    x, y = (torch.nn.functional.normalize(layer[:, :6]) for layer in (X[0], Y[0]))
    found = []
    for device in ("cpu", "mps"):
        images, texts, owner = x.to(device), y.to(device), labels.to(device)
        weights = score.class_weights(texts, owner)
        assert weights.device.type == device
        found.append([
            score.retrieval(images, texts),
            score.classification(images @ weights.T, owner),
            score.choice(images, owner, owner + 1),
            score.winoground(*images.T[:4]),
        ])  # fmt: skip
    assert found[0] == found[1]


def test_cuts_of_tensors_of_the_device_are_those_of_the_cpu():
    found = []
    for device in ("cpu", "mps"):
        nodes = X[0].to(device)
        affinity = interp.cuts.to_affinity(torch.nn.functional.normalize(nodes) @ nodes.T, "cosine")
        spectrum = interp.cuts.solve(interp.cuts.FeatureGraph(nodes), 3)
        labels = interp.cuts.k_way_labels(spectrum.eigenvectors.float().to(device), spectrum.degrees.float().to(device))
        found.append(
            [labels.tolist(), spectrum.eigenvalues.tolist(), interp.cuts.bipartite(affinity, 2).sigma.tolist()]
        )
    assert found[0] == found[1]


def test_losses_of_texts_are_those_of_the_cpu():
    hidden, unembedding = drawn(3 * 7, 4, 0).reshape(3, 7, 4), drawn(4, 11, 1)
    ids, mask = torch.arange(21).reshape(3, 7) % 11, torch.arange(7) < torch.tensor([7, 4, 2])[:, None]
    found = []
    for device in ("cpu", "mps"):
        weight = unembedding.to(device)
        batch = Batch({"input_ids": ids}, mask).to(torch.device(device))
        nats, n_scored = text_nats(hidden.to(device), batch, lambda states, weight=weight: states @ weight)
        assert nats.dtype == torch.float64
        found.append((nats.tolist(), n_scored.tolist()))
    assert found[0] == found[1]

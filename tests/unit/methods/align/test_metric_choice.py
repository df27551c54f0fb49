import numpy as np
import pytest
import torch

from interp_plugins.methods.align.api import align
from interp_plugins.methods.align.metric_choice import metric, resolve
from interp_plugins.metrics.config import CkaConfig, MutualKnnConfig
from interp_registry.contracts.metric import MetricInfo
from interp_registry.errors import PluginError, UnknownNameError, UsageError


class Overlap:
    """A stranger's metric: prepare and score_pairs, nothing else."""

    info = MetricInfo(summary="first feature's correlation", source="test", range=(-1.0, 1.0))

    def prepare(self, layers):
        return {str(i): layer[:, 0] for i, layer in enumerate(layers)}

    def score_pairs(self, x, y):
        rows = [[torch.corrcoef(torch.stack([a, b]))[0, 1] for b in y.values()] for a in x.values()]
        return torch.tensor(rows)


def test_unknown_names_and_options_are_met_with_suggestions():
    with pytest.raises(UnknownNameError, match="did you mean"):
        metric("ckaa")
    with pytest.raises(UnknownNameError, match="did you mean kernel"):
        metric("cka", kernl="rbf")
    with pytest.raises(UsageError, match="sigma"):
        metric("cka", sigma=-1.0)


def test_a_configuration_is_a_metric_and_topk_is_set_where_it_has_one():
    assert resolve(CkaConfig(kernel="rbf", sigma=2.5), topk=5).options["sigma"] == 2.5
    assert resolve(MutualKnnConfig(), topk=5).options["topk"] == 5
    assert resolve(MutualKnnConfig(topk=3)).options["topk"] == 3
    assert resolve(MutualKnnConfig()).name == "mutual_knn"


def test_a_metric_scores_two_matrices(make_layers):
    x, y = make_layers(2)
    assert metric("cka")(x, x) == pytest.approx(1.0)
    assert metric("mutual_knn", topk=5)(x, y) == align([x], [y], topk=5, normalize=False).scores[0, 0]
    with pytest.raises(UsageError, match="one pair"):
        metric("cka")([x, y], y)


def test_functions_and_objects_of_strangers_are_metrics(make_layers):
    x, y = make_layers(3), make_layers(2, seed=5)

    def first(a, b):
        return float((a[:, 0] * b[:, 0]).mean())

    by_function = align(x, y, metric=first, null=20)
    assert by_function.metric == "first"
    assert by_function.scores[2, 1] == pytest.approx(first(*(torch.nn.functional.normalize(m) for m in (x[2], y[1]))))
    by_object = align(x, y, metric=Overlap(), null=20)
    assert by_object.scores.shape == (3, 2)
    assert by_object.null.shape == (20,)
    assert np.isfinite(by_object.null).all()


def test_a_metric_that_breaks_its_contract_is_named():
    class Wrong(Overlap):
        name = "wrong"

        def score_pairs(self, x, y):
            return torch.zeros(3)

    with pytest.raises(PluginError, match=r"'wrong' returned .* of shape"):
        align(torch.randn(9, 3), torch.randn(9, 3), metric=Wrong())


def test_what_is_no_metric_is_refused():
    with pytest.raises(UsageError, match="is no metric"):
        resolve(3)
    with pytest.raises(UsageError, match="compat"):
        resolve("cka", compat="plato")

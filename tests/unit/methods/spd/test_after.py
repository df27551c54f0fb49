"""Statistics, clustering, attribution, editing and comparison of a decomposition."""

import json

import pytest
import torch
from torch.testing import assert_close

from interp_plugins.methods.spd.after.attribution import attribute
from interp_plugins.methods.spd.after.clustering import description_length, merge_groups, perm_invariant_distance
from interp_plugins.methods.spd.after.editing import edited_weight, measure_edit, parse_components
from interp_plugins.methods.spd.after.page import components_page
from interp_plugins.methods.spd.after.similarity import component_cosines, similarity
from interp_plugins.methods.spd.after.statistics import harvest, precision_recall_pmi
from interp_plugins.methods.spd.building import build_decomposition
from interp_plugins.methods.spd.evaluation import Evaluation
from interp_plugins.methods.spd.inputs import toy_problem
from interp_registry.errors import UsageError


@pytest.fixture
def evaluation(tiny):
    config, problem = tiny
    config.n_eval_batches, config.eval_batch_size = 2, 50
    model = build_decomposition(config, problem.target, torch.Generator().manual_seed(0)).requires_grad_(False)
    return Evaluation(model, config, problem.batches, 0, 5)


def test_a_harvest_counts_rows_left_out_as_zero(evaluation):
    found = harvest(evaluation, 0.1)
    assert found.n_rows == 100
    assert_close(found.together.diagonal() / 100, found.density)
    fired = {i: (step.lower > 0.1).float() for i, step in enumerate(evaluation.steps)}
    per_module = evaluation.mean_per_component(fired)
    assert_close(torch.cat(list(per_module.values())), found.density)
    assert all(value > 0.1 for example in found.examples for value, _ in example)


def test_precision_recall_and_mutual_information_of_two_that_always_fire_together():
    together = torch.tensor([[10.0, 10.0, 0.0], [10.0, 10.0, 0.0], [0.0, 0.0, 50.0]])
    precision, recall, pmi = precision_recall_pmi(together, 100)
    assert precision[0, 1] == recall[0, 1] == 1
    assert_close(pmi[0, 1], torch.tensor(10.0).log())  # 0.1 / (0.1 * 0.1)
    assert pmi[0, 2] == -torch.inf


def test_what_always_fires_together_is_merged_first_and_the_shortest_description_keeps_it():
    g = torch.Generator().manual_seed(0)
    base = torch.rand(400, 3, generator=g) < 0.2
    fires = torch.stack([base[:, 0], base[:, 1], base[:, 0], base[:, 2], base[:, 1]], -1)
    history = merge_groups(fires, torch.ones(400), (10, 11, 12, 13, 14))
    assert {m.left + m.right for m in history.merges[:2]} == {(10, 12), (11, 14)}
    assert history.groups_after(history.best) == [(10, 12), (11, 14), (13,)]
    assert history.groups_after(4) == [(10, 11, 12, 13, 14)]


def test_the_description_after_a_merge_is_the_one_computed_afresh():
    fires = torch.rand(200, 4, generator=torch.Generator().manual_seed(1)) < 0.3
    history = merge_groups(fires, torch.ones(200), (0, 1, 2, 3), alpha=0.7)
    for n, merge in enumerate(history.merges, 1):
        groups = history.groups_after(n)
        frequency = torch.stack([fires[:, list(group)].any(1).float().mean() for group in groups])
        rank = torch.tensor([float(len(group)) for group in groups])
        assert merge.bits == pytest.approx(description_length(frequency, rank, 0.7), abs=1e-5)


def test_the_distance_of_groupings_does_not_depend_on_their_order():
    a = [(0, 1), (2, 3), (4,)]
    assert perm_invariant_distance(a, [(4,), (2, 3), (0, 1)]) == 0
    assert perm_invariant_distance(a, [(0, 1, 2), (3,), (4,)]) == 1
    with pytest.raises(ValueError, match="same items"):
        perm_invariant_distance(a, [(0,)])


def test_attribution_through_one_linear_map_is_the_closed_form(evaluation):
    model, step = evaluation.model, evaluation.steps[0]
    got = attribute(step, "linear1", "linear2", [0, 3])
    path = model.u("linear1") @ model.v("linear2")[:, [0, 3]]
    want = (step.inner[0].unsqueeze(-1) * path).abs() * step.row_weights[:, None, None]
    assert_close(got, want.sum(0) / step.n_rows)


def test_an_edit_of_factor_one_changes_nothing_and_ablating_equals_the_edited_weights(evaluation, tiny):
    config, problem = tiny
    model = evaluation.model
    chosen = parse_components(["linear1:0,linear1:2"], model)
    assert measure_edit(evaluation, chosen, 1.0, 0.1)["change"] == 0
    weights = {**problem.weights, "linear1.weight": edited_weight(model, "linear1", [0, 2], 0.0).T}
    edited = toy_problem(config, weights).target
    step = evaluation.steps[0]
    batch = step.known.batch
    out = edited.forward(batch, lambda _, x, original: original(x))
    change = ((out - step.known.output).square().mean(-1) * step.row_weights).sum() / step.n_rows
    evaluation.steps[1:] = []
    assert measure_edit(evaluation, chosen, 0.0, 0.1)["change"] == pytest.approx(float(change), rel=1e-4)


@pytest.mark.parametrize("names", [[], ["linear9:0"], ["linear1:6"], ["linear1"]])
def test_components_that_do_not_exist_are_named(names, evaluation):
    with pytest.raises(UsageError, match="component"):
        parse_components(names, evaluation.model)


def test_cosines_equal_those_of_the_matrices_written_out():
    g = torch.Generator().manual_seed(0)
    v, u, w, x = (torch.randn(s, generator=g) for s in ((4, 3), (3, 5), (4, 2), (2, 5)))
    a = torch.stack([torch.outer(v[:, i], u[i]).flatten() for i in range(3)])
    b = torch.stack([torch.outer(w[:, i], x[i]).flatten() for i in range(2)])
    assert_close(
        component_cosines(v, u, w, x), torch.nn.functional.cosine_similarity(a[:, None], b[None], dim=-1).abs()
    )
    assert component_cosines(v, u, v, u).diagonal().min() > 0.999
    assert similarity(component_cosines(v, u, v, u), torch.tensor([True, False, True])).n_alive == 2
    assert similarity(component_cosines(v, u, v, u), torch.zeros(3, dtype=torch.bool)).mean == 0


def test_the_page_escapes_what_it_shows():
    record = {"component": "a:0", "density": 0.5, "mean_importance": 0.1, "related": [],
              "examples": [{"importance": 1.0, "text": "<script>alert(1)</script>"}]}  # fmt: skip
    page = components_page("x<y", [record], 10)
    assert "<script>alert" not in page
    assert "x&lt;y" in page
    assert json.dumps(record)  # records are plain data

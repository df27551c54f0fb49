"""The suite over fake lenses on a tiny model: who is scored, what it must give, and what it refuses."""

import dataclasses

import pytest
import torch
from evaluation_lenses import LAYER, Codebook, LogitLens, filled, random_rows, statistics_of

from interp_plugins.methods.lens.evaluation import interventions as put
from interp_plugins.methods.lens.evaluation.suite import LayerData, Settings, evaluate_layer
from interp_registry.errors import DataError, InterpError


class Stations:
    """A data set whose texts are about the parity of their number."""

    @property
    def fact_words(self):
        return {"even": ("w0", "w1"), "odd": ("w2",)}

    def facts(self, index):
        return frozenset({"odd" if index % 2 else "even"})


@pytest.fixture(scope="module")
def data(llama):
    rows, training = filled(llama, random_rows()), filled(llama, random_rows(60, 2, seed=1))
    return LayerData(rows, training, statistics_of(training), Stations())


@pytest.fixture(scope="module")
def lenses(llama, data):
    mean = data.statistics.mean
    return {"codebook": Codebook(mean + 0.5 * (data.training.activations[:40] - mean)), "logit": LogitLens(llama)}


@pytest.fixture(scope="module")
def found(llama, lenses, data):
    return evaluate_layer(llama, lenses, LAYER, data, Settings(samples=4))


def test_every_ability_has_its_interventions(found):
    assert {name for lens, name in found.swaps if not lens} == {put.IDENTITY, put.ZERO, put.MEAN, put.OTHER, put.LINEAR}
    assert {name for lens, name in found.swaps if lens == "logit"} == {put.TOKEN_SET}
    assert {name for lens, name in found.swaps if lens == "codebook"} == {
        put.RECONSTRUCTION, put.CONTEXT, put.SHUFFLED, put.OTHER_EXPLANATION, "best of 4",
    }  # fmt: skip
    assert set(found.readouts) == {"logit"}
    assert set(found.texts) == set(found.best_of) == {"codebook"}


def test_the_identity_loses_nothing_and_the_mean_explains_nothing(found):
    identity, mean = found.swaps["", put.IDENTITY], found.swaps["", put.MEAN]
    assert identity["kl"].value == 0.0
    assert identity["kl_recovered"].value == 1.0
    assert identity["fve"].value == 1.0
    assert identity["top1_agreement"].value == 1.0
    assert mean["fve"].value == 0.0
    assert mean["kl_over_mean"].value == 1.0
    assert mean["kl_recovered"].value == 0.0
    assert found.swaps["", put.OTHER]["fve"].value < 0


def test_a_code_of_one_token_explains_more_than_the_mean_and_another_rows_explanation(found):
    own = found.swaps["codebook", put.RECONSTRUCTION]
    assert own["fve"].value > 0
    assert own["fve"].value > found.swaps["codebook", put.OTHER_EXPLANATION]["fve"].value
    assert found.swaps["codebook", put.SHUFFLED] == own  # there is one token only


def test_best_of_rises_from_a_mean_sample_to_the_nearest_prototype(found):
    curve = [value.value for value in found.best_of["codebook"]]
    assert curve == sorted(curve)
    assert curve[-1] == pytest.approx(found.swaps["codebook", "best of 4"]["fve"].value)
    assert curve[-1] == pytest.approx(found.swaps["codebook", put.RECONSTRUCTION]["fve"].value)


def test_the_logit_lens_is_scored_as_a_prediction(found):
    scores, own = found.readouts["logit"], found.model
    assert scores["kl"].value > 0
    assert own["kl"].value == 0
    assert own["loss"].value < scores["loss"].value or scores["top1_agreement"].value < 1
    assert scores["kl_bits_per_byte"].value < scores["kl"].value  # a byte is less than a token


def test_texts_are_judged_with_facts_and_their_chance_level(found):
    scores = found.texts["codebook"]
    assert {"recall", "other_recall", "probe_recall", "bound_recall"} <= set(scores.facts)
    assert scores.nll.value > 0
    assert 0 < scores.said.distinct <= 1
    assert len(scores.examples) == 8


def test_a_lens_that_fails_does_not_take_the_others_along(llama, lenses, data):
    class Broken(Codebook):
        def explain(self, *args, **kwargs):
            raise RuntimeError("out of\nprototypes")

    report = evaluate_layer(llama, {**lenses, "broken": Broken(None)}, LAYER, data, Settings(samples=1))
    assert [failure.item for failure in report.failures] == [f"broken at layer {LAYER}"]
    assert set(report.texts) == {"codebook"}
    with pytest.raises(RuntimeError, match="prototypes"):
        evaluate_layer(llama, {"broken": Broken(None)}, LAYER, data, Settings())


def test_a_reconstruction_that_is_not_finite_is_a_failure(llama, lenses, data):
    class Diverged(Codebook):
        def reconstruct(self, activations, layer):
            return activations * torch.nan

    report = evaluate_layer(
        llama, {**lenses, "diverged": Diverged(torch.zeros(1, 32))}, LAYER, data, Settings(samples=1)
    )
    assert "not finite" in report.failures[0].message


def test_a_dump_of_another_layer_or_model_is_refused(llama, lenses, data):
    moved = dataclasses.replace(data.rows, activations=data.rows.activations.flip(0))
    with pytest.raises(DataError, match="differ from the model's"):
        evaluate_layer(llama, lenses, LAYER, dataclasses.replace(data, rows=moved), Settings())


def test_a_swap_that_is_not_reproducible_is_an_error_not_a_number(llama, lenses, data, monkeypatch):
    from interp_plugins.methods.lens.evaluation.effects import SwapMeter

    real = SwapMeter.activations
    monkeypatch.setattr(SwapMeter, "activations", lambda self: real(self) * (1 + 1e-4))
    with pytest.raises(InterpError, match="own place changes logits"):
        evaluate_layer(llama, lenses, LAYER, data, Settings())


def test_parts_of_the_suite_can_be_left_out(llama, lenses, data):
    report = evaluate_layer(llama, lenses, LAYER, data, Settings(parts=frozenset({"readout"})))
    assert report.readouts
    assert not report.swaps
    assert not report.texts


def test_partners_are_a_permutation_across_documents():
    documents = torch.tensor([5, 5, 5, 1, 2, 2, 9, 7])
    partner = put.partners(documents, seed=0)
    assert sorted(partner.tolist()) == list(range(8))
    assert (documents[partner] != documents).all()
    with pytest.raises(DataError, match="cannot be paired"):
        put.partners(torch.tensor([1, 1, 2]), seed=0)


def test_the_expected_best_is_that_of_all_subsets():
    errors = torch.tensor([[4.0, 1.0, 3.0]])
    assert put.expected_best(errors)[0].tolist() == pytest.approx([8 / 3, (1 + 3 + 1) / 3, 1.0])


def test_the_report_prints_fluency_and_facts_beside_kl_and_fve(found):
    from interp_plugins.methods.lens.evaluation.report import figures, tables
    from interp_registry.figures import figure_from_json

    shown = tables([found])
    words = next(table for table in shown if table.title.startswith("Explanations"))
    for column in (
        "KL (nats)",
        "FVE",
        "NLL",
        "base NLL",
        "facts",
        "facts of others",
        "facts, probe",
        "facts, bound",
        "verdict",
    ):
        assert column in words.columns
    layer = next(table for table in shown if table.title.startswith("Layer 2"))
    assert len(layer.rows) == len(found.swaps)
    drawn = figures([found])
    assert {figure.kind for figure in drawn} == {"lines", "heat_map", "scatter"}
    for figure in [*shown, *drawn]:
        assert figure_from_json(figure.to_json()) == figure


def test_the_whole_report_is_json(found):
    import json

    told = json.loads(json.dumps(found.to_json()))
    assert told["swaps"]["baselines"]["identity"]["kl"] == [0.0, 0.0, 0.0]
    assert told["readouts"]["logit"]["kl"][0] == found.readouts["logit"]["kl"].value

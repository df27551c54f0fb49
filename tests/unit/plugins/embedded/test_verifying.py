"""Verification: what is measured, and that a zoo which does not show the effect is noticed."""

from dataclasses import replace

import pytest
import torch
import transformers

from interp_plugins.embedded.zoo import folder, verifying
from interp_plugins.embedded.zoo.manifest import read_manifest, record_metrics, write_manifest
from interp_plugins.embedded.zoo.measuring import EvaluationData, language_measurement, vision_features
from interp_plugins.embedded.zoo.verifying import Alignment, Check, checks, measure, metrics_of, prepared


def test_a_zoo_that_shows_the_effect_passes(zoo_that_passes):
    assert [check.name for check in checks(zoo_that_passes) if not check.passed] == []


@pytest.mark.parametrize(
    ("pair", "scale", "missed"),
    [
        (("lm-d128", "vit-d64", 1), 0.5, "lm-d128 x vit-d64"),
        (("lm-d64-init", "vit-d64", 1), 3.0, "lm-d64 over its untrained self"),
        (("lm-d96", "vit-d64-init", 1), 3.0, "lm-d96, vit-d64 over untrained"),
        (("lm-d128", "vit-d32", 3), 2.0, "vit-d64 minus vit-d32"),
        (("lm-d128", "vit-d64-simclr", 3), 0.2, "vit-d64-simclr"),
        (("lm-d32-init", "vit-d32-init", 1), 9.0, "untrained with untrained"),
        (("lm-d128", "vit-d64", 5), 0.5, "5 captions minus 3"),
    ],
)
def test_a_zoo_that_misses_one_effect_is_noticed(zoo_that_passes, pair, scale, missed):
    found = zoo_that_passes
    found.alignment[pair] = Alignment(found.alignment[pair].scores * scale)
    failed = [check.name for check in checks(found) if not check.passed]
    assert any(missed in name for name in failed), failed


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        ({"null": {n: [0.02] * 20 for n in (1, 3, 5)}}, "null"),
        ({"n_bytes": 16_000_000}, "size of the zoo"),
        ({"twin_mismatches": 1}, "twins whose captions"),
    ],
    ids=["null", "size", "twins"],
)
def test_other_thresholds_are_noticed(zoo_that_passes, changes, missed):
    failed = [check.name for check in checks(replace(zoo_that_passes, **changes)) if not check.passed]
    assert failed
    assert all(missed in name for name in failed)


def test_a_check_holds_its_bounds():
    assert Check("inside", 2.0, 1.0, 3.0).passed
    assert Check("at the bound", 1.0, 1.0).passed
    assert not Check("below", 0.9, 1.0).passed
    assert not Check("above", 3.1, high=3.0).passed


def test_an_alignment_tells_the_embedding_layer_apart():
    one = Alignment(torch.tensor([[0.1, 0.5], [0.4, 0.2], [0.3, 0.3]], dtype=torch.float64))
    assert (one.best, one.best_pair, one.contextual, one.lexical) == (0.5, (0, 1), 0.4, 0.5)


def test_evaluation_texts_are_joined_and_scenes_beyond_the_split_are_others():
    data, beyond = EvaluationData(4), EvaluationData(4, first=1_024)
    assert data.texts(1) != beyond.texts(1)
    assert data.texts(3)[0].startswith(data.texts(1)[0].removesuffix(" ."))
    assert data.pictures.shape == (4, 3, 64, 64)


def test_language_features_of_a_text_do_not_depend_on_the_padding_of_its_batch():
    texts = EvaluationData(20).texts(1)
    longest, shortest = max(texts, key=len), min(texts, key=len)
    alone = language_measurement(folder("lm-d64"), [shortest])
    together = language_measurement(folder("lm-d64"), [shortest, longest])
    assert alone.features.shape == (1, 4, 64)
    assert torch.allclose(together.features[0], alone.features[0], atol=1e-5)


def test_the_shipped_language_model_has_learnt_the_captions(tmp_path):
    texts = EvaluationData(64).texts(3)
    trained = language_measurement(folder("lm-d64"), texts).nats_per_token
    untrained = language_measurement(folder("lm-d64-init", tmp_path), texts).nats_per_token
    assert trained < 2.0
    assert untrained > 6.0


def test_vision_features_have_one_layer_per_block():
    features = vision_features(folder("vit-d64"), EvaluationData(5).pictures)
    assert features.shape == (5, 3, 64)
    norms = torch.stack(prepared(features)).norm(dim=-1)
    assert torch.allclose(norms, torch.ones_like(norms), atol=1e-5)


def test_measurements_are_recorded_beside_what_was_noted_of_the_training(zoo_that_passes, tmp_path):
    entries = {name: {"metrics": {"last_step": {"loss": 1.5}}} for name in ("lm-d64", "vit-d64", "clip-bow")}
    write_manifest(tmp_path, entries)
    record_metrics(tmp_path, {name: metrics_of(zoo_that_passes, name) for name in entries})
    found = {name: entry["metrics"] for name, entry in read_manifest(tmp_path).items()}
    assert all(metrics["last_step"] == {"loss": 1.5} for metrics in found.values())
    assert found["lm-d64"]["mutual_knn"]["vit-d64, 1"] == found["vit-d64"]["mutual_knn"]["lm-d64, 1"] == 0.075
    assert found["lm-d64"]["nats_per_token"] == {"1": 2.0, "3": 2.0, "5": 2.0}
    assert found["clip-bow"]["twins_group"] == 40.0


def test_no_bar_of_a_library_is_shown(monkeypatch, capfd):
    def names(modality=None, *, untrained=False):
        return ["lm-d32"] if modality in (None, "language") and not untrained else []

    monkeypatch.setattr(verifying, "names", names)
    transformers.utils.logging.enable_progress_bar()
    assert measure(data=EvaluationData(16)).nats_per_token["lm-d32", 1] < 3.0
    assert "Loading" not in capfd.readouterr().err

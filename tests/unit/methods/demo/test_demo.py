"""The demonstration's figures say what was measured, with controls, null and ceiling beside it."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from interp_plugins.embedded.world import captions, join, scenes
from interp_plugins.methods.align.run import chosen_metrics
from interp_plugins.methods.demo.ceiling import ceiling, scene_oracle, semantic_reading
from interp_plugins.methods.demo.config import DemoConfig
from interp_plugins.methods.demo.figures import against_loss, all_figures, lead, loss_correlation, matrix, pair_table
from interp_plugins.methods.demo.grid import Grid, shown_name
from interp_plugins.methods.demo.run import run
from interp_registry.errors import ConfigError
from interp_registry.events import MemorySink

LANGUAGE = ["lm-d32", "lm-d64", "lm-d32-init", "lm-d64-init"]
VISION = ["vit-d32", "vit-d64", "vit-d32-init"]


def record(i, j):
    score = 0.02 + 0.01 * (i == 0) + 0.03 * (i == 1) + 0.02 * (j == 1)
    scores = [[0.011, 0.012], [score, 0.02]]
    return {
        "score": score, "layer x": "1", "layer y": "1", "p": 0.005, "q": 0.006, "null mean": 0.011, "embedding": 0.012, "n": 1024,
        "layers_x": ["0", "1"], "layers_y": ["1", "2.pre_norm"], "scores": scores,
    }  # fmt: skip


def grid(n_captions=1):
    records = {(x, y): record(i, j) for i, x in enumerate(LANGUAGE) for j, y in enumerate(VISION)}
    losses = {"lm-d32": 2.2, "lm-d64": 2.0, "lm-d32-init": 6.5, "lm-d64-init": 6.6}
    return Grid(n_captions, records, LANGUAGE, VISION, losses, 0.27)


def test_the_matrix_has_controls_and_the_bag_of_tokens_and_marks_the_best_trained_pair():
    figure = matrix(grid(), 10)
    assert figure.rows == ("lm-d32", "lm-d64", "lm-d32 (untrained)", "lm-d64 (untrained)", "lm-d64, layer 0 only")
    assert figure.columns == ("vit-d32", "vit-d64", "vit-d32 (untrained)")
    assert figure.marked == ((1, 1),)
    assert figure.values[1][1] == pytest.approx(0.07)
    assert figure.values[4] == (0.012, 0.012, 0.012)
    assert "null): 0.011" in figure.caption
    assert "ceiling): 0.270" in figure.caption


def test_the_correlation_with_loss_is_stated_over_all_and_over_the_trained_models():
    figure = against_loss(grid(3))
    assert figure.x == (2.2, 2.0, 6.5, 6.6)
    assert figure.groups == ("trained", "trained", "untrained", "untrained")
    assert figure.regression
    assert loss_correlation(grid()) == "Pearson r = -1.00, Spearman rho = -1.00, n = 2"
    assert loss_correlation(grid()) in figure.caption


def test_there_is_a_matrix_for_each_number_of_captions_and_a_layer_map_for_each_trained_language_model():
    titles = [figure.title for figure in all_figures([grid(1), grid(3)], 10)]
    assert titles == [
        "Language against vision, 1 caption per scene",
        "Language against vision, 3 captions per scene",
        "Alignment against loss",
        "lm-d32 and vit-d64, 1 caption",
        "lm-d64 and vit-d64, 1 caption",
        "lm-d32 and vit-d64, 3 captions",
        "lm-d64 and vit-d64, 3 captions",
    ]
    layers = all_figures([grid()], 10)[2]
    assert (layers.rows, layers.columns, layers.marked) == (("0", "1"), ("1", "2.pre_norm"), ((1, 0),))


def test_the_lead_states_numbers_and_that_the_mechanism_is_designed_in():
    found, embedding, honest = lead([grid(1), grid(3)])
    assert "with 1 caption per scene 0.070 for lm-d64 and vit-d64, null 0.011, ceiling 0.270; with 3 captions" in found
    assert "a bag of tokens, reaches 0.012 with vit-d64" in embedding
    assert "mechanism, designed in" in honest
    assert "no evidence for the Platonic Representation Hypothesis on natural data" in honest


def test_the_table_has_every_pair_with_its_null_p_and_loss():
    table = pair_table([grid(1), grid(3)])
    assert len(table.rows) == 2 * 12
    assert table.rows[0] == (1, "lm-d32", "vit-d32", 0.03, "1", "1", 0.012, 0.011, 0.005, 0.006, 2.2)
    assert shown_name("lm-d32-init") == "lm-d32 (untrained)"


def test_a_perfect_reader_counts_concepts_and_not_words():
    red, crimson, nothing = semantic_reading(
        ["a red ball left of a tiny disc in deep water", "a crimson circle", "a thing"]
    )
    assert red.sum() == 6
    assert crimson.sum() == 2
    assert nothing.sum() == 0
    assert ((red > 0) & (crimson > 0)).sum() == 2


def test_the_oracle_counts_what_is_present_and_only_that():
    world = scenes("evaluation", 0, 200)
    oracle = scene_oracle(world).numpy()
    n_colours = oracle[:, 12 + 3 : 12 + 3 + 10].sum(axis=1)
    assert np.array_equal(n_colours, world.count)
    assert np.array_equal(oracle[:, :12].argmax(axis=1), world.theme)
    assert np.array_equal(oracle[:, 12:15].argmax(axis=1) + 1, world.count)


def test_the_ceiling_rises_with_captions_and_stands_above_chance():
    world, texts = scenes("evaluation", 0, 256), captions("evaluation", 0, 256)
    one, five = (ceiling(world, [join(of_scene[:n]) for of_scene in texts], 10) for n in (1, 5))
    assert 10 / 255 < one < five < 1


@pytest.mark.parametrize(
    "fields", [{"captions": []}, {"captions": [0]}, {"captions": [6]}, {"captions": [1, 1]}, {"permutations": 0}]
)
def test_impossible_settings_are_refused(fields):
    with pytest.raises(ConfigError):
        DemoConfig(**fields)


class FakeContext:
    """Answers as extract and align would, and remembers what it was asked."""

    def __init__(self):
        self.asked, self.events = [], MemorySink()
        self.features = SimpleNamespace(get=lambda _key: SimpleNamespace(totals={"loss": 2.0}))

    def run_stage(self, name, config):
        self.asked.append((name, config))
        if name == "extract":
            made = [{"model": model, "key": f"key-{model}"} for model in config.models]
            return SimpleNamespace(result={"features": made})
        names = [[key.removeprefix("key-") for key in side] for side in (config.models, config.against)]
        pairs = [{"x": x, "y": y, **record(i, j)} for i, x in enumerate(names[0]) for j, y in enumerate(names[1])]
        return SimpleNamespace(result={"pairs": pairs})


def test_the_stage_extracts_every_model_once_for_each_text_and_aligns_them_by_the_published_protocol():
    ctx = FakeContext()
    result = run(DemoConfig(captions=[1, 3], limit=64, topk=5), ctx)
    stages = [(name, getattr(config, "dataset", None)) for name, config in ctx.asked]
    texts = [("extract", f"shapes:captions_per_item={n}") for n in (1, 3)]
    assert stages == [("extract", "shapes"), texts[0], ("align", ""), texts[1], ("align", "")]
    assert all(config.loss for name, config in ctx.asked if name == "extract" and config.dataset != "shapes")
    aligned = ctx.asked[2][1]
    assert [metric.name for metric in chosen_metrics(aligned)] == ["mutual_knn"]
    assert (aligned.metric[0].topk, aligned.clamp, aligned.n_permutations) == (5, "quantile-exact", 200)
    assert result.data["matrix"]["3 captions"]["lm-d64"]["vit-d64"] == pytest.approx(0.07)
    assert set(result.data["correlations"]) == {"1 caption", "3 captions"}
    assert result.scalars["scenes"] == 1024
    json.dumps(result.to_json(), allow_nan=False)

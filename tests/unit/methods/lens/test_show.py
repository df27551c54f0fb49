"""``interp lens show``: predictions of every layer and token, explanations, patchscopes."""

import pytest
import torch

from interp_plugins.methods.lens.choices import LensConfig
from interp_plugins.methods.lens.config import PatchscopeOptions, ShowConfig
from interp_plugins.methods.lens.contract import Explanation
from interp_plugins.methods.lens.parts import Parts
from interp_plugins.methods.lens.patchscope import patchscope
from interp_plugins.methods.lens.show import chosen_positions, run
from interp_plugins.methods.lens.trajectory import read_text
from interp_plugins.models.resolve import load_model
from interp_registry.errors import UnknownNameError, UsageError
from interp_registry.testing import FakeContext

TEXT = "w5 w6 w7 w8 w5"


@torch.no_grad()
def test_predictions_of_the_last_layer_are_the_models_and_measures_follow_from_them(model_folder, tmp_path):
    result = run(ShowConfig(lens="logit", model=str(model_folder), text=TEXT, top=3), FakeContext(tmp_path))
    model = load_model(str(model_folder))
    ids = model.preprocess([TEXT])[0].inputs["input_ids"]
    parts = Parts(model)
    logits = parts.logits(parts.batch(torch.tensor([ids]), torch.ones(1, 5, dtype=torch.bool)), torch.arange(5)[None])[
        0
    ]
    last = result.data["predictions"][-1]
    best = [cell[0]["token"] for cell in last]
    assert best == [model.tokenizer.decode([number]) for number in logits.argmax(-1).tolist()]
    assert [cell[0]["probability"] for cell in last] == pytest.approx(logits.softmax(-1).amax(-1).tolist(), rel=1e-4)
    assert [len(cell) for cell in last] == [3] * 5
    measures = result.data["measures"]
    assert measures["kl"][-1] == pytest.approx([0] * 5, abs=1e-5)
    assert min(measures["kl"][0]) > 0
    loss = torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(ids[1:]), reduction="none")
    assert measures["cross_entropy"][-1][:-1] == pytest.approx(loss.tolist(), rel=1e-4)
    ranks = (logits[:-1] > logits[:-1].gather(1, torch.tensor(ids[1:])[:, None])).sum(1)
    assert measures["rank"][-1][:-1] == ranks.tolist()


def test_the_heat_map_has_the_last_layer_above_and_candidates_on_hover(model_folder, tmp_path):
    result = run(ShowConfig(lens="logit", model=str(model_folder), text=TEXT, layers="1-3"), FakeContext(tmp_path))
    figure = result.figures[0]
    figure.check()
    assert figure.rows == ("3", "2", "1")
    assert figure.columns[2] == "2 w7"
    cell = result.data["predictions"][2][4]
    assert figure.annotations[0][4] == cell[0]["token"]
    for candidate in cell:
        assert f"{candidate['token']} {candidate['probability']:.3f}" in figure.hover[0][4]
    assert [one.name for one in result.figures] == ["max_probability", "entropy", "rank", "cross_entropy", "kl"]


class Speaking:
    """Explains every activation by its position in the table, and reads nothing out."""

    layers = (1, 2)

    def weights(self):
        return {}

    def load_weights(self, weights):
        pass

    def describe(self):
        return {}

    def explain(self, activations, layer, *, samples=1, temperature=0.0, seed=0):
        return [
            [Explanation(f"{layer}/{row}/{n}/{temperature}", ()) for n in range(samples)]
            for row in range(len(activations))
        ]


def test_explanations_are_listed_for_chosen_positions(model_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("interp_plugins.methods.lens.show.open_lens", lambda *_: (Speaking(), "speaking"))
    config = ShowConfig(lens="x", model=str(model_folder), text=TEXT, positions="1,-1", samples=3)
    (table,) = run(config, FakeContext(tmp_path)).tables
    assert table.columns == ("layer", "position", "token", "sample", "explanation")
    assert len(table.rows) == 2 * 2 * 3
    assert table.rows[0] == (1, 1, "w6", "greedy", "1/0/0/0.0")
    assert table.rows[-1] == (2, 4, "w5", "2", "2/1/1/1.0")


def test_a_patchscope_into_its_own_place_continues_as_the_model_does(llama):
    parts, text = Parts(llama), "w5 w6 w7"
    own = read_text(parts, text, range(5))
    expected = llama.generate([text], 4)[0]
    for layer in range(5):
        assert patchscope(parts, own.activations[layer][-1], layer, text, 4) == expected
    assert patchscope(parts, 50 * torch.randn(32), 2, text, 4) != expected


def test_patchscopes_are_listed_by_source_and_target(model_folder, tmp_path):
    patch = PatchscopeOptions(prompt="w9 w9", layers="0,2", tokens=2)
    config = ShowConfig(model=str(model_folder), text=TEXT, layers="1,3", patchscope=True, patch=patch)
    table = run(config, FakeContext(tmp_path)).tables[-1]
    assert [row[2:4] for row in table.rows] == [(1, 0), (1, 2), (3, 0), (3, 2)]


def test_positions_count_from_both_ends():
    assert chosen_positions("0,-1,2", 5) == [0, 4, 2]
    assert chosen_positions("last", 5) == [4]
    assert chosen_positions("every:2", 5) == [0, 2, 4]
    with pytest.raises(UsageError, match="no token 5"):
        chosen_positions("5", 5)


@pytest.mark.parametrize(
    ("lens", "error"), [("tuned", UsageError), ("logti", UnknownNameError), ("./none", UsageError)]
)
def test_lenses_that_are_not_there_or_not_trained_are_refused(model_folder, tmp_path, lens, error):
    with pytest.raises(error):
        run(ShowConfig(lens=lens, model=str(model_folder), text=TEXT), FakeContext(tmp_path))


def test_the_first_party_lenses_are_registered():
    assert {"logit", "tuned", "mean", "linear"} <= set(LensConfig.get_known_choices())

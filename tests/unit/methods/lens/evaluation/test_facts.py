"""Facts of scenes, and what texts name."""

import torch

from interp_plugins.embedded.config import ShapesConfig
from interp_plugins.embedded.datasets import Shapes
from interp_plugins.embedded.world import captions, scenes
from interp_plugins.embedded.world.facts import fact_words, scene_facts
from interp_plugins.methods.lens.evaluation.facts import KnowsFacts, named_facts, naming, top_facts, true_facts


def test_the_world_knows_facts_and_a_stranger_can_too():
    assert isinstance(Shapes(ShapesConfig(limit=2)), KnowsFacts)


def test_no_word_names_two_facts():
    words = [word for said in fact_words().values() for word in said]
    assert len(words) == len(set(words))


def test_captions_name_only_facts_of_their_scene():
    """Every word of a caption that names a fact must name one that holds: the tables and the scenes agree."""
    data = Shapes(ShapesConfig(limit=200))
    texts = [text for of_scene in captions("evaluation", 0, 200) for text in of_scene]
    documents = torch.arange(200).repeat_interleave(5)
    counts = naming(named_facts(data, texts), true_facts(data, documents))
    assert counts.precision == 1.0
    assert 0.4 < counts.recall < 0.9


def test_facts_are_those_of_the_objects_that_are_there():
    some = scenes("evaluation", 0, 50)
    for row in range(50):
        n = int(some.count[row])
        found = scene_facts(some, row)
        assert sum(fact.startswith("colour:") for fact in found) == len(set(some.colour[row, :n].tolist()))
        assert sum(fact.startswith("theme:") for fact in found) == 1


def test_words_are_whole_and_case_does_not_matter():
    data = Shapes(ShapesConfig(limit=1))
    names = list(data.fact_words)
    table = named_facts(data, ["A Crimson hoop, striped", "bars reddish"])
    assert [names[i] for i in table[0].nonzero()[:, 0].tolist()] == ["colour:red", "shape:ring", "texture:striped"]
    assert not table[1].any()


def test_a_probe_names_as_many_facts_as_it_may():
    scores = torch.tensor([[0.1, 0.9, 0.5], [0.3, 0.2, 0.1]])
    assert top_facts(scores, torch.tensor([2, 0])).tolist() == [[False, True, True], [False, False, False]]

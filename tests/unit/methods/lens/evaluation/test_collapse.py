"""The detector names both failures, and nothing when nothing is wrong."""

import math

import pytest

from interp_plugins.methods.lens.contract import Explanation
from interp_plugins.methods.lens.evaluation.collapse import Variety, variety, verdicts

VARIED = Variety(0.3, 0.1, 3.0)


def test_figures_of_the_prototype_are_named_as_what_they_were():
    private = verdicts(fve=0.935, nll=6.6, base_nll=1.52, said=Variety(145 / 500, 0.1, 3.0))
    empty = verdicts(fve=0.01, nll=1.5, base_nll=1.52, said=VARIED)
    assert [text.split(":")[0] for text in private] == ["private code"]
    assert [text.split(":")[0] for text in empty] == ["fluent but empty"]


def test_a_faithful_and_readable_lens_is_not_accused():
    assert verdicts(fve=0.85, nll=2.3, base_nll=1.5, facts_above_chance=True, said=VARIED) == []


def test_fluent_words_that_name_no_facts_are_a_private_code_too():
    assert "no more facts" in verdicts(fve=0.85, nll=1.6, base_nll=1.5, facts_above_chance=False)[0]


@pytest.mark.parametrize("said", [Variety(1 / 500, 0.2, 1.0), Variety(0.5, 0.8, 0.5)])
def test_repetition_is_named(said):
    assert verdicts(fve=0.1, nll=3.0, base_nll=1.5, said=said)[0].startswith("repetition")


def test_variety_counts_texts_and_tokens():
    said = [Explanation("a b", (1, 2)), Explanation("a b", (1, 2)), Explanation("a a", (1, 1))]
    found = variety(said)
    assert found.distinct == pytest.approx(2 / 3)
    assert found.most_common_token == pytest.approx(4 / 6)
    assert found.token_entropy == pytest.approx(-(2 / 3) * math.log(2 / 3) - (1 / 3) * math.log(1 / 3))

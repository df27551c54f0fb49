"""What can be found at all among the thousand test pairs of `interp clip train`."""

import numpy as np
import pytest

from interp_plugins.embedded import world
from interp_plugins.embedded.world.facts import fact_words, scene_facts

N = 1000


def test_captions_differ_and_facts_alone_find_half_of_the_pictures_and_most_captions():
    captions = [of_picture[0] for of_picture in world.captions("evaluation", 0, N, 1)]
    assert len(set(captions)) == N
    fact_of = {word: fact for fact, words in fact_words().items() for word in words}
    said = [frozenset(fact_of[word] for word in caption.split() if word in fact_of) for caption in captions]
    scenes = world.scenes("evaluation", 0, N)
    fits = np.array([[one <= facts for one in said] for facts in (scene_facts(scenes, row) for row in range(N))])
    assert fits.diagonal().all()
    n_pictures = fits.sum(axis=0)
    assert (n_pictures == 1).mean() == pytest.approx(0.362)
    assert (1 / n_pictures).mean() == pytest.approx(0.498, abs=5e-4)
    rarity = np.where(fits, n_pictures, N + 1)
    rarest = rarity == rarity.min(axis=1, keepdims=True)
    assert (rarest.diagonal() / rarest.sum(axis=1)).mean() == pytest.approx(0.784, abs=5e-4)

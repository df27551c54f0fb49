"""How much a test does: the fast tier a little, CI what is promised, ``pytest --nightly`` ten times that.

``tests/conftest.py`` sets ``nightly`` before any test module is imported, so that counts may stand in decorators.
"""

from typing import Any

import pytest

FACTOR = 10
nightly = False


def times(n: int) -> int:
    """``n``, or with ``--nightly`` ten times as many."""
    return n * FACTOR if nightly else n


def counts(few: int, many: int) -> list[Any]:
    """Values to parametrise one test body by: ``few`` in the fast tier and ``many`` in the slow one; nightly ten times ``many`` only."""
    return [times(many)] if nightly else [few, pytest.param(many, marks=pytest.mark.slow)]

"""Rows of random texts."""

import pytest
from evaluation_lenses import random_rows


@pytest.fixture
def rows():
    """Rows of 30 random texts, two each."""
    return random_rows()

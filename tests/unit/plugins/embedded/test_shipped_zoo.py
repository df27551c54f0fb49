"""The zoo that ships: whole files, and every threshold passed."""

import pytest

from interp_plugins.embedded.zoo import RECIPES, WEIGHTS, names
from interp_plugins.embedded.zoo.manifest import check_files, read_manifest
from interp_plugins.embedded.zoo.verifying import checks, measure


def test_every_model_ships_with_the_files_that_the_manifest_lists():
    assert sorted(read_manifest(WEIGHTS)) == sorted(names())
    check_files(WEIGHTS)


def test_every_shipped_model_was_made_by_its_present_recipe():
    for name, entry in read_manifest(WEIGHTS).items():
        assert entry["recipe_hash"] == RECIPES[name].digest(), name


def test_the_zoo_is_at_most_15_megabytes():
    assert sum(path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file()) <= 15_000_000


@pytest.mark.slow
def test_the_shipped_zoo_passes_every_threshold(tmp_path, monkeypatch):
    monkeypatch.setenv("INTERP_HOME", str(tmp_path))
    found = measure()
    missed = [(check.name, check.value) for check in checks(found) if not check.passed]
    assert missed == []
    assert len(found.alignment) == 3 * 8 * 9

"""What runs made is found by id, part of it, last, and folder."""

from pathlib import Path

import pytest

from interp_registry.errors import UsageError
from interp_registry.stores.products import find_product


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three runs; the last one made nothing."""
    for name in ("20260101-aa", "20260102-ab", "20260103-cc"):
        (tmp_path / name / "lens").mkdir(parents=True)
    for name in ("20260101-aa", "20260102-ab"):
        (tmp_path / name / "lens" / "lens.json").write_text("{}")
    return tmp_path


def find(name: str, runs: Path | None) -> Path:
    return find_product(name, runs, "lens/lens.json", "lens", "interp lens train")


def test_a_product_is_found_by_every_name_of_its_run(runs: Path):
    first, second = runs / "20260101-aa" / "lens", runs / "20260102-ab" / "lens"
    assert find("20260101-aa", runs) == find("aa", runs) == find("20260101", runs) == first
    assert find("last", runs) == second
    assert find(str(first), None) == find(str(first.parent), None) == first


@pytest.mark.parametrize(
    ("name", "message"),
    [("2026", "could be 20260102-ab, 20260101-aa"), ("cc", "'cc' is no lens"), ("", "the latest: 20260102-ab, 2")],
)
def test_a_name_of_none_or_of_several_is_refused(runs: Path, name: str, message: str):
    with pytest.raises(UsageError, match=message):
        find(name, runs)


def test_without_runs_only_a_folder_is_found(runs: Path):
    with pytest.raises(UsageError, match="interp lens train") as caught:
        find("last", None)
    assert '"last"' in (caught.value.hint or "")

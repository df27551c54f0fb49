"""Where the home folder is."""

from pathlib import Path

import pytest

from interp_registry.errors import UsageError
from interp_registry.stores.home import home, layout


@pytest.fixture(autouse=True)
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INTERP_HOME", raising=False)
    monkeypatch.setenv("INTERP_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def test_the_default_is_the_data_folder_of_the_platform(tmp_path: Path):
    assert home() == tmp_path / "data" / "interp"


def test_the_user_configuration_comes_before_the_default(tmp_path: Path):
    (tmp_path / "config.yaml").write_text(f"home: {tmp_path / 'mine'}\n")
    assert home() == tmp_path / "mine"


def test_the_environment_comes_first_and_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "config.yaml").write_text(f"home: {tmp_path / 'mine'}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INTERP_HOME", "here")
    assert home() == tmp_path / "here"
    assert not home().exists()


def test_a_file_in_its_place_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("INTERP_HOME", str(tmp_path / "file"))
    with pytest.raises(UsageError, match=r"INTERP_HOME is .* no folder"):
        home()


def test_all_folders_lie_below_the_home(tmp_path: Path):
    found = layout(tmp_path)
    folders = [found.store, found.runs, found.launches, found.cache]
    assert len(set(folders)) == 4
    assert {folder.parent for folder in folders} == {tmp_path}

"""What a string names is imported, or the plugin that names it is told what is wrong."""

import sys

import pytest

from interp_registry.errors import PluginError
from interp_registry.imports import load_attribute


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package whose module ``here`` needs something that is not installed."""
    folder = tmp_path / "plugin_that_imports"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "here.py").write_text("import nobody_has_this")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder.name
    sys.modules.pop(folder.name, None)


@pytest.mark.parametrize("path", ["plugin_that_imports.heer:Metric", "plugin_that_import.here:Metric"])
def test_a_module_that_is_not_there_is_the_plugin_s_mistake(package, path):
    missing = path.partition(":")[0] if path.startswith(f"{package}.") else "plugin_that_import"
    with pytest.raises(PluginError, match=f"there is no module '{missing}', which a plugin names in '{path}'"):
        load_attribute(path)


def test_what_a_module_needs_and_lacks_is_not_called_the_module(package):
    with pytest.raises(ModuleNotFoundError, match="nobody_has_this"):
        load_attribute(f"{package}.here:Metric")


@pytest.mark.parametrize(("path", "said"), [("math", "no import path"), ("math:nothing", "no attribute 'nothing'")])
def test_a_path_that_names_nothing_is_refused(path, said):
    with pytest.raises(PluginError, match=said):
        load_attribute(path)

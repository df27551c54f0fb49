import sys
import textwrap
from importlib.metadata import EntryPoint

import pytest

from interp_registry.choices import MetricConfig
from interp_registry.discovery import load_plugins
from interp_registry.errors import InterruptedRunError

GOOD = """
    from dataclasses import dataclass
    from interp_registry import Method, MetricConfig, Stage, hookimpl

    @dataclass
    class Config:
        n: int = 1

    @dataclass
    class {cls}(MetricConfig):
        "A metric."
        topk: int = 10

    @hookimpl
    def register(registry):
        registry.add("metric", "{metric}", {cls})

    @hookimpl
    def methods():
        return [Method("{method}", "help", (Stage("run", "help", Config, "json:loads"),))]
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Write modules and load them as entry points; what they registered is taken back afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    known = dict(MetricConfig.get_known_choices())
    made = []

    def make(name, text):
        module = f"stranger_{name}_{tmp_path.name.replace('-', '_')}"
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(text))
        made.append(module)
        return EntryPoint(name, module, "interp")

    yield make
    live = MetricConfig.get_known_choices()
    for name in set(live) - set(known):
        del live[name]
    for module in made:
        sys.modules.pop(module, None)


def good(name, metric, method):
    return GOOD.format(cls=f"M{name}", metric=metric, method=method)


def test_a_good_plugin_adds_its_metric_and_its_method(plugin):
    plugins = load_plugins([plugin("a", good("a", "ma", "meth"))])
    assert [info.status for info in plugins.infos] == ["loaded"]
    assert "ma" in MetricConfig.get_known_choices()
    assert "a/ma" in MetricConfig.get_known_choices()
    assert list(plugins.methods) == ["meth"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("raise RuntimeError('boom')", "RuntimeError: boom"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import no_such_module_at_all", "ModuleNotFoundError"),
        ("from interp_registry import hookimpl\n@hookimpl\ndef register_modelz(x): ...", "unknown hook"),
        ("x = 1", "implements no hook"),
        ("INTERP_API = 99", "plugin API 99"),
        ("from interp_registry import hookimpl\n@hookimpl\ndef methods(): return [1]", "methods() returned 1"),
        (
            "from interp_registry import hookimpl\n@hookimpl\ndef register(registry): registry.add('metric', 'x', int)",
            "dataclass",
        ),
    ],
)
def test_a_broken_plugin_is_named_with_its_reason_and_the_others_work(plugin, text, reason):
    points = [plugin("bad", text), plugin("good", good("g", "mg", "meth"))]
    plugins = load_plugins(points)
    status = {info.name: info for info in plugins.infos}
    assert status["bad"].status == "failed"
    assert reason in status["bad"].error
    assert "Traceback" in status["bad"].trace
    assert status["good"].status == "loaded"
    assert list(plugins.methods) == ["meth"]


def test_what_a_failed_plugin_had_registered_is_taken_back(plugin):
    text = good("h", "half", "meth") + "\n    @hookimpl\n    def configs():\n        raise ValueError('late')\n"
    plugins = load_plugins([plugin("h", text)])
    assert plugins.failed[0].error == "ValueError: late"
    assert "half" not in MetricConfig.get_known_choices()
    assert "h/half" not in MetricConfig.get_known_choices()
    assert plugins.methods == {}


def test_the_first_plugin_keeps_a_name_and_the_loser_is_reachable_by_its_own(plugin):
    plugins = load_plugins([plugin("b", good("b", "same", "mb")), plugin("a", good("a", "same", "ma"))])
    known = MetricConfig.get_known_choices()
    assert known["same"].__name__ == "Ma"
    assert known["b/same"].__name__ == "Mb"
    assert plugins.registry.collisions == [("metric", "same", "a", "b")]
    assert known["b/same"].get_choice_name(known["b/same"]) == "b/same"


def test_two_methods_of_one_name_fail_the_second_plugin_only(plugin):
    plugins = load_plugins([plugin("a", good("a", "m1", "same")), plugin("b", good("b", "m2", "same"))])
    assert [info.status for info in plugins.infos] == ["loaded", "failed"]
    assert "already" in plugins.failed[0].error
    assert "m2" not in MetricConfig.get_known_choices()


def test_a_blocked_plugin_is_not_imported(plugin):
    plugins = load_plugins([plugin("bad", "raise RuntimeError('imported')")], blocked={"bad"})
    assert plugins.infos[0].status == "blocked"


def test_nothing_can_be_added_after_discovery(plugin):
    plugins = load_plugins([plugin("a", good("a", "ma", "meth"))])
    with pytest.raises(Exception, match="after discovery"):
        plugins.registry.add("metric", "late", MetricConfig)


PLACES = {
    "import": "{act}\n",
    "methods": "from interp_registry import hookimpl\n@hookimpl\ndef methods():\n    {act}\n    return []\n",
    "register": "from interp_registry import hookimpl\n@hookimpl\ndef register(registry):\n    {act}\n",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "raised", ["SystemExit(0)", "GeneratorExit('odd')", "type('Odd', (BaseException,), {})('odd')"]
)
def test_a_plugin_that_asks_to_exit_is_failed_and_the_others_load(plugin, place, raised):
    bad = plugin("a", PLACES[place].format(act=f"raise {raised}"))
    plugins = load_plugins([bad, plugin("b", good("b", "mb", "other"))])
    assert [(info.name, info.status) for info in plugins.infos] == [("a", "failed"), ("b", "loaded")]
    assert plugins.infos[0].error in ("SystemExit: 0", "GeneratorExit: odd", "Odd: odd")


@pytest.mark.parametrize("place", PLACES)
def test_a_plugin_that_takes_long_to_load_is_named_once_and_loads(plugin, place, caplog, monkeypatch):
    monkeypatch.setenv("INTERP_PATIENCE", "0.05")
    extra = (
        "from interp_registry import hookimpl\n@hookimpl\ndef configs():\n    return []\n" if place == "import" else ""
    )
    slow = plugin("slow", PLACES[place].format(act="__import__('time').sleep(0.6)") + extra)
    assert load_plugins([slow]).infos[0].status == "loaded"
    (record,) = caplog.records
    assert record.getMessage().startswith(
        "plugin 'slow' is being loaded, for 0.05 s already; Ctrl-C ends the waiting, INTERP_BLOCK_PLUGINS=slow leaves it out"
    )


def test_ctrl_c_names_the_plugin_that_was_being_loaded(plugin):
    with pytest.raises(InterruptedRunError, match="interrupted") as caught:
        load_plugins([plugin("hangs", "raise KeyboardInterrupt")])
    assert caught.value.exit_code == 130
    assert "plugin 'hangs' was being loaded" in str(caught.value.hint)

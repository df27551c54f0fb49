"""A package of at most 30 lines, installed with pip as a stranger would, adds a metric, a model, a data set and a method."""

import json
import os
import subprocess
import sys

import pytest

PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "interp-stranger"
version = "1.0"
[project.entry-points.interp]
stranger = "stranger"
"""

MODULE = '''\
from dataclasses import dataclass, field
from interp_registry import DatasetConfig, Method, MetricConfig, ModelConfig, Result, Stage, hookimpl

@dataclass
class Overlap(MetricConfig):
    """Share of equal signs."""
    impl = "stranger:Overlap"

@dataclass
class Zeros(ModelConfig):
    """All zeros."""
    width: int = 4

@dataclass
class Two(DatasetConfig):
    """Two samples."""

@dataclass
class Greeting:
    name: str = field(metadata={"positional": True})
    """whom to greet"""
    metric: MetricConfig = field(default_factory=Overlap)

def greet(config, ctx):
    return Result(scalars={"length": len(config.name), "seed": ctx.seed}, data={"metric": type(config.metric).__name__})
@hookimpl
def register(registry):
    registry.add("metric", "sign_overlap", Overlap), registry.add("model", "zeros", Zeros), registry.add("dataset", "two", Two)
@hookimpl
def methods():
    return [Method("greet", "Greet somebody.", (Stage("greet", "Greet somebody.", Greeting, greet),))]
'''

BROKEN = {
    "raises": "raise RuntimeError('boom at import')",
    "unknown_hook": "from interp_registry import hookimpl\n@hookimpl\ndef register_modelz(registry): ...",
    "collides": (
        "from dataclasses import dataclass\nfrom interp_registry import MetricConfig, hookimpl\n"
        "@dataclass\nclass Mine(MetricConfig):\n    'Mine.'\n"
        "@hookimpl\ndef register(registry): registry.add('metric', 'sign_overlap', Mine)"
    ),
    "steals": (
        "from interp_registry import hookimpl\n"
        "@hookimpl\ndef commands(app):\n    @app.command()\n    def plugins(): ...\n"
    ),
}  # fmt: skip


def package(folder, name, module, pyproject=PYPROJECT):
    folder.mkdir()
    (folder / "pyproject.toml").write_text(pyproject.replace("stranger", name))
    (folder / f"{name}.py").write_text(module)
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder on the path into which the packages were installed with pip."""
    base = tmp_path_factory.mktemp("strangers")
    packages = [package(base / "stranger", "stranger", MODULE)]
    packages += [package(base / name, name, text) for name, text in BROKEN.items()]
    for folder in packages:
        text = (folder / "pyproject.toml").read_text()
        (folder / "pyproject.toml").write_text(
            f'{text}[tool.hatch.build.targets.wheel]\ninclude = ["{folder.name}.py"]\n'
        )
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", str(base / "site"), *map(str, packages)], check=True)
    return base / "site"


@pytest.fixture
def interp(site, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])]))

    def run(*words):
        return subprocess.run([sys.executable, "-m", "interp_cli", *words], capture_output=True, text=True)

    return run


def test_the_package_has_at_most_thirty_lines_of_code():
    lines = [line for line in MODULE.splitlines() if line.strip()]
    assert len(lines) <= 30


def test_a_strangers_method_is_a_command_with_help_options_and_results(interp):
    done = interp("greet", "world", "--seed", "7", "--json", "--metric", "stranger/sign_overlap")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["scalars"] == {"length": 5, "seed": 7}
    assert answer["metric"] == "Overlap"
    page = interp("greet", "--help").stdout
    assert "whom to greet" in page
    assert "sign_overlap" in page


def test_a_strangers_choices_are_in_the_catalog(interp):
    listed = json.loads(interp("catalog", "list", "--json").stdout)
    assert "sign_overlap" in listed["metric"]
    assert "zeros" in listed["model"]
    assert "two" in listed["dataset"]


def test_broken_plugins_are_explained_and_break_nothing(interp):
    done = interp("plugins", "list", "--json")
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    rows = {row["name"]: row for row in answer["plugins"]}
    assert "boom at import" in rows["raises"]["problem"]
    assert "unknown hook 'register_modelz'" in rows["unknown_hook"]["problem"]
    assert "'plugins' is taken" in rows["steals"]["problem"]
    assert rows["collides"]["status"] == "loaded"
    assert {"kind": "metric", "name": "sign_overlap", "owner": "collides", "loser": "stranger"} in answer["collisions"]
    short = interp("greet", "x", "--metric", "sign_overlap", "--json").stdout
    assert json.loads(short.splitlines()[-1])["metric"] == "Mine"
    assert "boom at import" in interp("plugins", "show", "raises").stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["greeet"], "did you mean greet?"),
        (["greet", "x", "--metrc", "a"], "did you mean --metric"),
        (["greet", "x", "--metric", "sign_overlp"], "did you mean sign_overlap?"),
        (["greet"], "name is missing"),
        (["greet", "x", "y"], "unexpected argument 'y'"),
        (["greet", "x", "--config", "no.yaml"], "no file no.yaml"),
        (["plugins", "lst"], "list"),
        (["plugins", "show", "strangr"], "did you mean stranger?"),
    ],
)
def test_wrong_use_is_one_message_with_a_suggestion_and_exit_code_2(interp, words, expected):
    done = interp(*words)
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 3

"""Every kind of package that `interp plugins new` writes passes the tests that it is written with."""

import os
import subprocess
import sys

import pytest

from interp_cli.__main__ import run
from interp_cli.scaffold import KINDS


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("new")
    for kind in KINDS:
        assert run(["plugins", "new", f"my-{kind}", "--kind", kind, "--in", str(folder)]) == 0
    return folder


def test_all_packages_pass_their_own_tests_in_one_process(packages):
    sources = [str(folder / "src") for folder in packages.iterdir()]
    path = os.pathsep.join([*sources, *filter(None, [os.environ.get("PYTHONPATH")])])
    tests = [str(folder / "tests") for folder in packages.iterdir()]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--import-mode=importlib",
        "-p",
        "no:cacheprovider",
        "-W",
        "error",
        *tests,
    ]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, cwd=packages, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(KINDS) + 1} passed" in done.stdout


@pytest.mark.slow
def test_every_package_can_be_built_and_installed_with_pip(packages, tmp_path):
    folders = [str(folder) for folder in packages.iterdir()]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", str(tmp_path / "site"), *folders], check=True)
    listed = subprocess.run(
        [sys.executable, "-m", "interp_cli", "plugins", "list"],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
    )
    assert listed.returncode == 0, listed.stdout + listed.stderr
    for kind in KINDS:
        assert f"my-{kind}" in listed.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["my-metric", "--kind", "metrik"], "did you mean metric?"),
        (["My Metric", "--kind", "metric"], "lower-case letters"),
        (["../up", "--kind", "metric"], "lower-case letters"),
    ],
)
def test_a_wrong_name_or_kind_is_refused(words, expected, tmp_path, capsys):
    assert run(["plugins", "new", *words, "--in", str(tmp_path)]) == 2
    assert expected in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_existing_package_is_not_overwritten(packages, capsys):
    assert run(["plugins", "new", "my-metric", "--kind", "metric", "--in", str(packages)]) == 2
    assert "is there already" in capsys.readouterr().err

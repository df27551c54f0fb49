"""What is installed and what an import does: the files of the wheel and of the source archive, and no network."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_IMPORT_ALL = """
import importlib, pkgutil, sys

def refuse(event, args):
    if event == "socket.getaddrinfo" or (event == "socket.connect" and not isinstance(args[1], str)):
        raise RuntimeError("network at import: " + repr(args))

sys.addaudithook(refuse)
count = 0
for root in ("interp_registry", "interp_plugins", "interp_cli"):
    package = importlib.import_module(root)
    for module in pkgutil.walk_packages(package.__path__, root + "."):
        if module.name.endswith("__main__"):
            continue
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:  # an extra that is not installed
            if (error.name or "").startswith("interp"):
                raise
        count += 1
print(count)
"""


@pytest.mark.slow
def test_importing_every_module_uses_no_network():
    done = subprocess.run([sys.executable, "-c", _IMPORT_ALL], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[-1]) > 300


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[set[str], set[str], int]:
    """File names in the wheel and in the source archive (without its first folder), and the wheel's size in bytes."""
    folder = tmp_path_factory.mktemp("dist")
    build = [
        sys.executable,
        "-c",
        "import sys; from hatchling.cli import hatchling; sys.argv = ['hatchling', *sys.argv[1:]]; hatchling()",
    ]
    subprocess.run([*build, "build", "-d", str(folder)], cwd=ROOT, check=True, capture_output=True)
    (wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    with tarfile.open(source) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    return set(zipfile.ZipFile(wheel).namelist()), names, wheel.stat().st_size


@pytest.mark.slow
def test_the_wheel_holds_the_tool_and_nothing_else(archives):
    wheel, _source, size = archives
    tops = {name.partition("/")[0] for name in wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "interp_cli",
        "interp_plugins",
        "interp_registry",
    }
    for package in ("interp_cli", "interp_plugins", "interp_registry"):
        assert f"{package}/py.typed" in wheel
    assert any(name.endswith("licenses/LICENSE") for name in wheel)
    assert any(name.endswith("entry_points.txt") for name in wheel)
    assert not [
        name
        for name in wheel
        if "__pycache__" in name or "/tests/" in name or name.endswith((".pyc", ".pt", ".pkl", ".log"))
    ]
    shipped = {str(path.relative_to(ROOT / "plugins")) for path in tracked("plugins/interp_plugins")}
    assert shipped <= wheel, sorted(shipped - wheel)[:5]
    assert size < 16 << 20


@pytest.mark.slow
def test_the_source_archive_holds_what_is_tracked_and_no_more(archives):
    _wheel, source, _size = archives
    known = {str(path.relative_to(ROOT)) for path in tracked(".")}
    assert source - known <= {"PKG-INFO", ""}
    for folder in ("interp_cli", "plugins", "registry", "tests", "configs"):
        missing = {name for name in known if name.startswith(folder + "/")} - source
        assert not missing, sorted(missing)[:5]


def tracked(folder: str) -> list[Path]:
    """Files below a folder that git holds or would take in."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name]

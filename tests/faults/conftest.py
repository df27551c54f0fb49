"""A folder in memory where there is one: fault tests are about order and names, not about the speed of a disk."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from every_command import Kitchen
from forked_cli import SERVER, CommandLine, Server

LYING_PLUGIN = Path(SERVER).with_name("lying_plugin")
METADATA = {
    "METADATA": "Metadata-Version: 2.1\nName: interp-liar\nVersion: 1.0\n",
    "entry_points.txt": "[interp]\nliar = liar\n",
    "RECORD": "",
}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder of the test, in memory if possible."""
    memory = Path("/dev/shm")  # noqa: S108 - made for this
    if not (memory.is_dir() and os.access(memory, os.W_OK)):
        yield tmp_path
        return
    made = Path(tempfile.mkdtemp(prefix="interp-test-", dir=memory))
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="session")
def kitchen(cli_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Kitchen:
    """The undisturbed runs of all commands, each made when it is first asked for."""
    return Kitchen(cli_server, tmp_path_factory.mktemp("kitchen"))


@pytest.fixture(scope="session")
def lying_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose forks have the lying plugin, as pip would have installed it."""
    site = tmp_path_factory.mktemp("site")
    (site / "interp_liar-1.0.dist-info").mkdir()
    for name, text in METADATA.items():
        (site / "interp_liar-1.0.dist-info" / name).write_text(text)
    server = Server(PYTHONPATH=f"{site}{os.pathsep}{LYING_PLUGIN}")
    yield server
    server.close()


@pytest.fixture
def liar(lying_server: Server, tmp_path: Path) -> Iterator[CommandLine]:
    """``interp`` with the lying plugin, and a home of the test's own."""
    line = CommandLine(lying_server, tmp_path / "home")
    yield line
    line.end()

"""What libraries log reaches the terminal once."""

import subprocess
import sys

import pytest

CODE = """
from interp_cli.console import setup_logging
setup_logging(False, {quiet})
import logging, {library}.utils.logging
logging.getLogger("{library}.utils.deep").warning("Retrying in 1s")
logging.getLogger("interp_plugins.models").warning("own")
"""


@pytest.mark.parametrize("library", ["huggingface_hub", pytest.param("datasets", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("quiet", "times"), [(False, 1), (True, 0)])
def test_a_warning_of_a_library_is_shown_once_and_not_at_all_when_quiet(library, quiet, times, monkeypatch):
    monkeypatch.delenv("HF_HUB_VERBOSITY", raising=False)
    monkeypatch.delenv("DATASETS_VERBOSITY", raising=False)
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(quiet=quiet, library=library)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Retrying in 1s") == times
    assert done.stderr.count("own") == times

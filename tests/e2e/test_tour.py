"""The tour of the documentation, as a reader would take it: every command of the page, in order, in an empty folder. Slow tier."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

TOUR = Path(__file__).parents[2] / "docs" / "tour.md"

pytestmark = pytest.mark.slow


def commands() -> list[str]:
    """The lines of the page's shell blocks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", TOUR.read_text(), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def test_every_command_of_the_tour_works_in_the_order_of_the_page(cli, tmp_path):
    said = {}
    for line in commands():
        words = shlex.split(line, comments=True)
        if words[0] == "interp":
            answer = cli(*words[1:])
            assert answer.code == 0, f"{line}: {answer.text}"
            said[" ".join(words[1:3])] = answer.out
        else:
            subprocess.run(["bash", "-c", line], cwd=tmp_path, check=True)
    assert "lm-d128" in said["demo --limit"]
    assert "cknna" in said["align lm-d64"]
    assert said["store ls"].count("texts.jsonl") == 2
    assert "spd run" in said["runs list"]
    assert (tmp_path / "tour-report" / "index.html").stat().st_size > 10_000
    assert (tmp_path / "interp-my-metric" / "pyproject.toml").is_file()


def test_the_tour_names_every_method_and_its_pages_exist():
    lines = commands()
    assert len(lines) >= 20
    first = {line.split()[1] for line in lines if line.startswith("interp ")}
    assert {"demo", "align", "extract", "bench", "cuts", "spd", "runs", "report", "store", "launch", "plugins"} <= first

"""What the README and the documentation say is there is there."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import typer

from interp_cli.__main__ import run
from interp_cli.app import build_app
from interp_cli.arguments import parse
from interp_registry.discovery import discover
from interp_registry.errors import InterpError

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def command_lines():
    """Every `interp WORD [WORD]` in a page, as (page, words); a second word counts when it can be a sub-command."""
    found = set()
    for page in PAGES:
        for match in re.finditer(
            r"(?:^|`|\$ |run )interp ([a-z]+)(?: ([a-z][a-z-]*)(?=[\s`]))?", page.read_text(), re.MULTILINE
        ):
            found.add((page.name, match[1], match[2] or ""))
    return sorted(found)


def test_every_command_in_the_pages_exists():
    root = build_app(discover())
    missing = []
    for page, word, second in command_lines():
        command = root.get_command(None, word)
        if command is None:
            missing.append(f"{page}: interp {word}")
            continue
        takes_words = not hasattr(command, "commands") or getattr(
            getattr(command, "method", None), "default_stage", None
        )
        if second and not takes_words and second not in command.commands:
            missing.append(f"{page}: interp {word} {second}")
    assert missing == []
    assert len(command_lines()) > 10


def spoken_lines():
    """Every command line of the pages: lines of code blocks that begin with ``interp``, and such words between backticks."""
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        blocks = re.findall(r"^```(?:sh|console|)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
        spans = re.findall(r"`(interp [^`\n]+)`", text)
        yield from ((page.name, line) for line in [*lines, *spans] if re.match(r"interp [a-z][^\[|]*$", line))


def complaint(root, words):
    """Why a command line of the pages cannot be read, or None; values are not looked at."""
    command, path = root, "interp"
    while (words and words[0] in getattr(command, "commands", {})) or command is root:
        path, command = f"{path} {words[0]}", command.get_command(None, words[0])
        words = words[1:]
    stage = getattr(command, "stage", None) or getattr(getattr(command, "method", None), "default_stage", None)
    try:
        if stage is not None:
            parse(words, stage)
        elif not hasattr(command, "commands"):
            command.make_context(path, list(words))
    except (InterpError, typer.BadParameter.__bases__[0]) as err:
        return None if "Missing parameter" in str(err) else str(err)  # prose may name a command without its arguments
    return None


def test_every_option_in_the_pages_exists():
    root = build_app(discover())
    wrong = []
    for page, line in spoken_lines():
        words = [word for word in shlex.split(line, comments=True)[1:] if word not in ("...", "…")]
        reason = None if "--help" in words else complaint(root, words)
        wrong += [f"{page}: {line}: {reason}"] if reason else []
    assert wrong == []
    assert len(list(spoken_lines())) > 100


def test_the_python_of_the_readme_runs():
    (snippet,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    generator = np.random.default_rng(0)
    names = {"x": [generator.normal(size=(64, 8))] * 2, "y": [generator.normal(size=(64, 6))] * 3}
    exec(compile(snippet, "README.md", "exec"), names)  # noqa: S102 - the project's own page
    assert names["result"].scores.shape == (2, 3)
    assert names["result"].scores.dtype == np.float64
    score, (i, j) = names["result"].best
    assert score == names["result"].scores[i, j]


def test_every_relative_link_in_the_pages_leads_to_a_file():
    link = re.compile(r"\]\(([^)#:]+?)(?:#[^)]*)?\)")
    links = [(page, target) for page in PAGES for target in link.findall(page.read_text())]
    assert [f"{page.name}: {target}" for page, target in links if not (page.parent / target).exists()] == []
    assert links


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["config", "path"], ["cite"], ["catalog", "list"]])
def test_the_plain_commands_answer(words, capsys):
    assert run(words) == 0
    assert capsys.readouterr().out.strip()

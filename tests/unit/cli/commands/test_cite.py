"""``interp cite``."""

import re

from interp_cli.__main__ import run
from interp_cli.commands import cite
from interp_registry.contracts.method import Method


def test_no_paper_is_printed_twice(capsys):
    assert run(["cite"]) == 0
    text = capsys.readouterr().out
    keys, titles = re.findall(r"^@\w+{([^,]+),", text, re.MULTILINE), re.findall(r"\btitle\s*=\s*{+(.+?)}+,", text)
    assert len(set(keys)) == len(keys) == len(set(titles)) == len(titles) > 5


def test_entries_with_one_key_are_one_entry_in_the_order_of_the_methods(capsys, monkeypatch):
    first, other = "@article{a2020,\n  year={2020}\n}", "@article{b2021,\n  year={2021}\n}"
    methods = {
        "x": Method("x", "x", (), cite=(first, other)),
        "y": Method("y", "y", (), cite=("@article{a2020, year=2020}",)),
    }
    monkeypatch.setattr(cite, "discover", lambda: type("Found", (), {"methods": methods}))
    assert run(["cite"]) == 0
    assert capsys.readouterr().out.startswith(f"{first}\n\n{other}\n\n@software{{interp")

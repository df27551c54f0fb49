"""The pages of `docs/commands` say what ``--help`` says."""

import json
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_help_pages_in_the_documentation_are_those_of_the_commands():
    code = "import json, sys; sys.path.insert(0, sys.argv[1]); import make_command_pages as m; print(json.dumps(m.pages()))"
    done = subprocess.run([sys.executable, "-c", code, str(DOCS)], capture_output=True, text=True, check=True)
    made = json.loads(done.stdout)
    kept = {path.stem: path.read_text(encoding="utf-8") for path in (DOCS / "commands").glob("*.md")}
    stale = sorted(name for name in made.keys() | kept.keys() if made.get(name) != kept.get(name))
    assert stale == [], "`make pages` writes them anew"
    assert all(f"## interp {name}" in text for name, text in made.items() if name != "index")

"""The table of decompositions in the docs is the one that its command makes."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[4]
spec = importlib.util.spec_from_file_location("spd_table", ROOT / "benchmarks" / "spd_table.py")
spd_table = importlib.util.module_from_spec(spec)
spec.loader.exec_module(spd_table)


def test_the_docs_hold_the_table_of_the_kept_results():
    page = (ROOT / "docs" / "spd.md").read_text()
    written = page.split(spd_table.BEGIN)[1].split(spd_table.END)[0].strip()
    assert written == spd_table.table()


def test_every_experiment_has_a_row_that_was_run_or_says_what_it_would_cost():
    rows = spd_table.table().splitlines()[2:]
    run = {found["experiment"] for found in spd_table.kept()}
    for name in spd_table.PAPER:
        mine = [row for row in rows if row.startswith((f"| {name} ", f"| {name},"))]
        assert mine
        assert all(("not run;" in row.split("|")[4]) == (name not in run) for row in mine)

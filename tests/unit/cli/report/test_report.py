"""A report holds what its runs hold, compares them, and writes every figure as a file beside it."""

import json
import re
from io import StringIO

import pytest

from interp_cli.report import show_result, write_run_report
from interp_cli.report.comparison import config_differences, overlaid_curves, run_names, scalar_table
from interp_cli.report.html import render_html, write_report
from interp_cli.report.images import figure_stems
from interp_cli.report.model import RunReport, flatten, read_report
from interp_registry.contracts.method import Failure, Result
from interp_registry.errors import CorruptError
from interp_registry.events import HeatMapEvent, JsonlSink, Message, Scalar, State, TableEvent
from interp_registry.figures import HeatMap, Lines, Table, figure_from_json
from interp_registry.sample_figures import sample_figures
from interp_registry.stores.run import RunStore


def run_of(title="run", seed=0, **fields):
    events = [State("running", time=10.0)]
    events += [Scalar("loss/train", 1 / (step + 1), step, time=11.0 + step) for step in range(5)]
    events += [Message("disk is slow", "warning", time=16.0), Message("disk is slow", "warning", time=16.5)]
    events.append(State("done", time=17.0))
    config = {"metric": {"type": "cka"}, "seed": seed, "layers": [1, 2]}
    fields.setdefault("result", Result(scalars={"score": 0.5 + seed}))
    return RunReport(title, config, {"command": "interp align a b"}, events=events, **fields)


def stored_run(root, result=None):
    run = RunStore(root).create(
        "align", {"metric": {"type": "cka"}}, argv=["interp", "align", "a b", "c"], details={"seed": 3}
    )
    with JsonlSink(run.events) as sink:
        sink.state("running")
        sink.heat_map("layers", [[0.1, 0.2]])
        sink.state("done")
    if result is not None:
        run.finish(result.to_json())
    return run


def test_a_report_is_read_from_a_run_folder_with_its_figures_command_and_versions(tmp_path):
    figures = sample_figures()
    result = Result(
        scalars={"score": 0.5}, figures=figures[:8], tables=[figures[8]], failures=[Failure("m", "OSError", "gone")]
    )
    report = read_report(stored_run(tmp_path, result))
    assert report.title == "interp align a b c"
    assert report.result.figures == figures[:8]
    assert report.result.tables == [figures[8]]
    assert report.result.failures == [Failure("m", "OSError", "gone")]
    assert report.environment["command"] == "interp align 'a b' c"
    assert report.environment["seed"] == 3
    assert "torch" in report.environment["packages"]
    assert report.config == {"metric": {"type": "cka"}}
    assert report.state == "done"


def test_a_running_run_has_a_report_too(tmp_path):
    report = read_report(stored_run(tmp_path))
    assert report.result == Result()
    assert [figure.title for figure in report.figures] == ["layers"]
    assert "layers" in render_html([report])


def test_a_result_that_is_none_is_corrupt(tmp_path):
    run = stored_run(tmp_path)
    run.finish({"figures": [{"kind": "hologram"}]})
    with pytest.raises(CorruptError, match=r"result\.json does not hold a result: unknown figure kind 'hologram'"):
        read_report(run)


def test_a_run_writes_its_own_page(tmp_path):
    run = stored_run(tmp_path, Result(scalars={"score": 0.25}))
    page = write_run_report(run)
    assert page == run.path / "report" / "index.html"
    assert "<dt>score</dt><dd>0.25</dd>" in page.read_text()


def test_events_give_curves_heat_maps_and_tables_that_the_result_does_not_show():
    shown = HeatMap([[1.0]], title="shown")
    run = run_of(result=Result(figures=[shown]))
    run.events = [
        *run.events,
        Scalar("system/memory", 1.0, 1),
        Scalar("system/memory", 2.0, 2),
        HeatMapEvent("m", HeatMap([[1.0]], title="other")),
        HeatMapEvent("m", HeatMap([[2.0]], title="other")),
        HeatMapEvent("s", shown),
        TableEvent("t", Table(("a",), ((1,),))),
    ]
    assert [figure.title for figure in run.figures] == ["shown", "loss over steps", "other"]
    assert run.figures[2].values == ((2.0,),)
    assert len(run.tables) == 1
    assert run.warnings == ["disk is slow"]
    assert run.seconds is not None


def test_long_curves_are_thinned_but_keep_their_ends():
    run = run_of()
    run.events = [Scalar("loss", float(step), step) for step in range(10_001)]
    (curve,) = run.figures
    assert isinstance(curve, Lines)
    x = curve.series[0].x
    assert len(x) <= 2001
    assert (x[0], x[-1]) == (0.0, 10_000.0)


def test_comparison_shows_numbers_side_by_side_and_only_the_settings_that_differ():
    first, second = run_of("a"), run_of("b", seed=1)
    second.config = {**second.config, "extra": None}
    assert scalar_table([first, second]).rows == (("a", "done", 7.0, 0.5), ("b", "done", 7.0, 1.5))
    differences = config_differences([first, second])
    assert differences.rows == (("extra", None, "null"), ("seed", "0", "1"))
    assert differences.notes == ("2 further settings are equal in all runs.",)
    (curve,) = overlaid_curves([first, second])
    assert [series.name for series in curve.series] == ["a", "b"]


def test_runs_of_one_title_get_distinct_names(tmp_path):
    assert run_names([run_of("a"), run_of("a"), run_of("b")]) == ["a (1)", "a (2)", "b"]
    assert run_names([run_of("a", folder=tmp_path / "x1"), run_of("a", folder=tmp_path / "x2")]) == ["a x1", "a x2"]


def test_nested_settings_are_flattened_to_dotted_keys():
    assert flatten({"a": {"b": 1, "c": {}}, "d": "x", "e": [1]}) == {"a.b": "1", "a.c": "{}", "d": "x", "e": "[1]"}


def test_every_figure_is_written_beside_the_page_and_linked(tmp_path):
    figures = sample_figures()
    page = write_report([run_of(result=Result(figures=figures[:8], tables=[figures[8]]))], tmp_path / "report")
    links = set(re.findall(r'href="(figures/[^"]+)"', page.read_text()))
    written = {f"figures/{path.name}" for path in (tmp_path / "report" / "figures").iterdir()}
    assert links == written
    assert {path.rpartition(".")[2] for path in written} == {"png", "svg", "json", "csv"}
    assert len(written) == 8 * 3 + 3 + 2
    stored = json.loads((tmp_path / "report/figures/sample-heat-map.json").read_text())
    assert figure_from_json(stored) == figures[0]
    assert (tmp_path / "report/figures/sample-table.csv").read_text().splitlines()[1] == "sample,0.0861234,12,True"


def test_file_stems_are_plain_and_never_collide():
    titles = ("A/B: ../x", "a b x", "", "été 100 %", "")
    assert figure_stems([HeatMap([[1.0]], title=title) for title in titles]) == [
        "a-b-x",
        "a-b-x-2",
        "heat-map",
        "ete-100",
        "heat-map-2",
    ]


def test_a_page_without_plots_stays_small_and_one_with_plots_carries_the_library_once():
    small, large = render_html([run_of(result=Result(tables=[sample_figures()[8]]), seed=0)]), render_html([run_of()])
    bare = render_html([RunReport("bare")])
    assert len(bare) < 60_000
    assert 1_000_000 < len(large) < 2_200_000
    pages = bare, small, large, render_html([run_of(), run_of()])
    assert [page.count('id="library"') for page in pages] == [0, 1, 1, 1]


def test_results_are_printed_as_text_when_stdout_is_no_terminal(capsys):
    show_result(Result(scalars={"score": 0.08612345}, tables=[sample_figures()[8]]))
    printed = capsys.readouterr().out
    assert "sample model" in printed
    assert "score  0.086123" in printed
    assert "\x1b" not in printed


def test_the_texts_of_a_wide_heat_map_are_small_enough_for_their_cells():
    from interp_registry.figures import HeatMap
    from interp_registry.plots.interactive import plot_spec

    def row_width(n_columns: int, value: float) -> float:
        cells = plot_spec(HeatMap([[value] * n_columns] * 2))["data"][1]
        return cells["textfont"]["size"] * 0.6 * len(cells["text"][0]) * n_columns

    assert plot_spec(HeatMap([[0.5] * 4] * 2))["data"][1]["textfont"]["size"] == 11.5
    assert all(row_width(20, value) <= 700 for value in (0.5, -0.1234, -1.234))


def test_names_in_tables_stay_on_one_line_and_long_texts_do_not():
    from interp_cli.report.fragments import table_html

    shown = str(table_html(Table(("model", "note"), (("./my-lm", "many words " * 9),))))
    assert '<td class="name">./my-lm</td><td>many words' in shown


@pytest.mark.parametrize(("n_columns", "n_rows", "n_shown"), [(2, 24, 24), (2, 30, 24), (4, 24, 24), (4, 30, 10)])
def test_a_long_table_shows_its_first_rows_and_counts_the_others(n_columns: int, n_rows: int, n_shown: int):
    from rich.console import Console

    from interp_cli.report.terminal import table_renderable

    console = Console(width=80, file=StringIO())
    rows = tuple(("row", *(float(i) for _ in range(n_columns - 1))) for i in range(n_rows))
    console.print(table_renderable(Table(tuple("abcd"[:n_columns]), rows)))
    lines = console.file.getvalue().splitlines()
    assert sum(line.startswith("row") for line in lines) == n_shown
    assert (f"and {n_rows - n_shown} more rows" in lines[-1]) == (n_rows > n_shown)

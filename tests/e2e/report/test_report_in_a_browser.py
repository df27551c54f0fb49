"""Open a report made of every kind of figure in headless Chromium and look at the page. Slow tier."""

import pytest

from interp_cli.report.html import write_report
from interp_cli.report.model import RunReport
from interp_registry.contracts.method import Failure, Result
from interp_registry.events import Scalar, State
from interp_registry.sample_figures import sample_figures

pytestmark = pytest.mark.slow

HOSTILE = "<img src=https://evil.example/x onerror=alert(1)></script><script>alert(2)</script>"


def run_of(text, seed):
    figures = sample_figures(text)
    events = [
        State("running", time=1.0),
        *(Scalar("loss", 1 / (i + 1), i, time=2.0 + i) for i in range(5)),
        State("done", time=9.0),
    ]
    result = Result({f"{text} score": 0.5}, [figures[8]], figures[:8], failures=[Failure(text, "E", text)])
    return RunReport(
        f"{text} {seed}", {"seed": seed, text: text}, {"command": f"interp align {text}"}, result, events, (text,)
    )


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    return write_report([run_of(HOSTILE, 0), run_of("plain", 1)], folder)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light")])
def test_every_plot_is_drawn_without_complaint_or_request_and_nothing_overflows(visit, report, width, scheme):
    opened = visit(width=width, scheme=scheme)
    asked = opened.page.query_selector_all("[data-figure]")
    drawn = opened.page.query_selector_all("[data-figure] svg.main-svg")
    assert len(asked) == 2 * 7 + 1
    assert len({element.evaluate("e => e.closest('[data-figure]').dataset.figure") for element in drawn}) == len(asked)
    assert opened.page.query_selector_all(".failed-plot") == []
    assert opened.complaints == []
    assert opened.foreign_requests(report) == []
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width


def test_links_lead_to_files_and_sections_that_exist(visit, report):
    page = visit().page
    links = page.eval_on_selector_all("a[href]", "links => links.map(link => link.getAttribute('href'))")
    anchors = {href[1:] for href in links if href.startswith("#")}
    files = {href for href in links if not href.startswith("#")}
    assert anchors <= set(page.eval_on_selector_all("[id]", "elements => elements.map(e => e.id)"))
    assert files
    assert all((report.parent / href).is_file() for href in files)


def test_pictures_load_and_hostile_text_is_only_text(visit):
    page = visit().page
    widths = page.eval_on_selector_all("main img", "images => images.map(image => image.naturalWidth)")
    assert widths == [16] * 6
    assert page.eval_on_selector_all("[onerror], [onload]", "found => found.length") == 0
    assert HOSTILE in page.inner_text("h2 >> nth=1")


def test_the_theme_button_redraws_plots_in_the_other_theme(visit):
    opened = visit(scheme="light")
    ink = "document.querySelector('.plot .xtick text').style.fill"
    before = (opened.page.evaluate("getComputedStyle(document.body).backgroundColor"), opened.page.evaluate(ink))
    opened.page.click("#theme")
    opened.wait()
    opened.page.wait_for_timeout(300)
    after = (opened.page.evaluate("getComputedStyle(document.body).backgroundColor"), opened.page.evaluate(ink))
    assert before[0] != after[0]
    assert before[1] != after[1]
    assert opened.complaints == []


def test_tables_sort_by_the_column_that_is_pressed_with_empty_cells_last(visit):
    page = visit().page
    table = page.query_selector("section:has(h3:text-is('plain: table')) table.data")
    column = "table => [...table.tBodies[0].rows].map(row => row.cells[1].textContent)"
    table.query_selector("th:nth-child(2) button").click()
    assert table.evaluate(column) == ["0.08612", "0.05", "nan"]
    table.query_selector("th:nth-child(2) button").click()
    assert table.evaluate(column) == ["0.05", "0.08612", "nan"]


def test_pointing_at_a_token_shows_its_candidates(visit):
    page = visit().page
    page.hover(".token >> nth=1")
    tip = page.inner_text("#tip")
    assert "0.9" in tip
    assert '" fox"' in tip

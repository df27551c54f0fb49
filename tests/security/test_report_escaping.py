"""Names, captions and settings of a run cannot become code, tags or requests in a report, nor commands to a terminal or spreadsheet."""

import base64
import gzip
import hashlib
import re
from html.parser import HTMLParser

import pytest
from rich.console import Console

from interp_cli.report.html import render_html
from interp_cli.report.images import write_figure
from interp_cli.report.model import RunReport
from interp_cli.report.terminal import print_result
from interp_registry.contracts.method import Failure, Result
from interp_registry.events import Message, State
from interp_registry.figures import Table
from interp_registry.sample_figures import sample_figures

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<img src=https://evil.example/x onerror=alert(1)>",
    "\"><svg onload=alert(1)>'",
    "--><!--<b>{{ 7*7 }}{% raw %}${7*7}",
    "\u2028\u2029 javascript:alert(1)",
]


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.addresses = [], set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.addresses += [
            value for name, value in attrs if name in ("href", "src", "action", "srcset", "data", "poster")
        ]


def hostile_run(text):
    figures = sample_figures(text)
    result = Result({text: text}, [figures[8]], figures[:8], failures=[Failure(text, text, text)])
    events = [State("running", text, {text: text}), Message(text, "warning"), State("failed", text)]
    return RunReport(text, {text: {text: text}}, {"command": text, text: text}, result, events, lead=(text,))


def page_of(runs):
    page = Page()
    page.feed(re.sub(r"<script>.*?</script>", "", render_html(runs), flags=re.DOTALL))
    return page


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_adds_no_tag_no_attribute_and_no_address(text):
    harmless, attacked = (
        page_of([hostile_run("x"), hostile_run("y")]),
        page_of([hostile_run(text), hostile_run(text + "2")]),
    )
    assert attacked.tags == harmless.tags
    assert attacked.attributes == harmless.attributes
    assert all(address.startswith(("#", "data:")) for address in attacked.addresses)


def test_the_policy_allows_two_scripts_by_their_hashes_and_no_request():
    html = render_html([hostile_run("x")])
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html).group(1).replace("&#39;", "'")
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy
    assert "http" not in policy
    packed = re.search(r'<script type="application/gzip" id="library">([^<]+)</script>', html).group(1)
    scripts = [
        gzip.decompress(base64.b64decode(packed)),
        *(own.encode() for own in re.findall(r"<script>(.*?)</script>", html, re.DOTALL)),
    ]
    digests = {"sha256-" + base64.b64encode(hashlib.sha256(script).digest()).decode() for script in scripts}
    assert len(scripts) == 2
    assert set(re.findall(r"sha256-[^']+", policy)) == digests
    assert len(re.findall(r"<script[ >]", html)) == 3  # the third is data


def test_a_terminal_gets_no_control_characters_from_names():
    text = "\x1b]0;owned\x07\x1b[2Jname\u202e\x9b31m"
    console = Console(force_terminal=True, color_system=None, width=120)
    with console.capture() as captured:
        print_result(console, Result({text: text}, [sample_figures(text)[8]], sample_figures(text)[:8]))
    shown = re.sub(r"\x1b\[[0-9;]*m", "", captured.get())
    assert not re.findall(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", shown)
    assert "\\x1b]0;owned\\x07" in shown


def test_a_spreadsheet_runs_no_formula_from_a_table(tmp_path):
    table = Table(("=cmd()", "b"), (("=1+1", -1.5), ("+x", "@y"), ("-5 apples", "\tz")))
    csv, _ = write_figure(table, tmp_path, "table")
    assert csv.read_text().splitlines() == ["'=cmd(),b", "'=1+1,-1.5", "'+x,'@y", "'-5 apples,'\tz"]

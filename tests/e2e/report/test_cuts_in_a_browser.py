"""The gallery of `interp cuts` as the command writes it, in headless Chromium. Slow tier."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

N_PICTURES = 4


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    words = ["cuts", "clip-bow", "--limit", "8", "--n-pictures", str(N_PICTURES), "--out", str(home), "--quiet"]
    subprocess.run(
        [sys.executable, "-m", "interp_cli", *words, "--offline"], check=True, capture_output=True, text=True
    )
    (page,) = home.glob("runs/*/report/index.html")
    return page


IMAGES = """images => images.map(image => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    const data = context.getImageData(0, 0, canvas.width, canvas.height).data;
    const colours = new Set();
    for (let i = 0; i < data.length; i += 4) colours.add(data[i] << 16 | data[i + 1] << 8 | data[i + 2]);
    return [image.naturalWidth, image.naturalHeight, colours.size, image.clientWidth];
})"""


@pytest.mark.parametrize("width", [1280, 390])
def test_the_gallery_shows_every_picture_and_is_no_wider_than_the_screen(visit, report, width):
    opened = visit(width=width)
    pictures = opened.page.eval_on_selector_all("main img", IMAGES)
    assert len(pictures) == 3 * N_PICTURES
    assert all(picture[:2] == [64, 64] for picture in pictures)
    assert all(n_colours > 100 for _, _, n_colours, _ in [*pictures[::3], *pictures[1::3]])
    assert all(n_colours > 1 for _, _, n_colours, _ in pictures[2::3])
    assert 3 * max(shown for *_, shown in pictures) <= width
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    assert opened.complaints == []
    assert opened.foreign_requests(report) == []


def test_clusters_have_the_names_of_their_colours_and_words_and_captions_are_marked(visit):
    page = visit().page
    titles = page.eval_on_selector_all("main h3", "found => found.map(title => title.textContent)")
    clouds = [title for title in titles if "words of cluster" in title and "(" in title]
    assert "clip-bow: words of cluster 0 (blue)" in clouds
    assert [title for title in titles if ": caption " in title] == [f"clip-bow: caption {i}" for i in range(N_PICTURES)]
    assert len(page.query_selector_all(".token")) > 4 * N_PICTURES
    assert page.query_selector_all("[data-figure] svg.main-svg")

"""Pages in headless Chromium, and everything that they complain of and ask for."""

import shutil

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium)")
    sync_api = pytest.importorskip("playwright.sync_api")
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield chromium
        chromium.close()


class Visit:
    """A page that was opened, with everything that it complained of and asked for."""

    def __init__(self, browser, report, width=1280, scheme="light"):
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, accept_downloads=False
        )
        self.page = self.context.new_page()
        self.complaints, self.requests = [], []
        self.page.on(
            "console",
            lambda message: self.complaints.append(message.text) if message.type in ("error", "warning") else None,
        )
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.complaints.append(dialog.message), dialog.dismiss()))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(report.as_uri())
        self.wait()

    def wait(self):
        self.page.wait_for_selector("html[data-plots=ready]", state="attached", timeout=120_000)

    def foreign_requests(self, report):
        return [url for url in self.requests if url != report.as_uri() and not url.startswith(("data:", "blob:"))]


@pytest.fixture
def visit(browser, report):
    opened = []

    def start(**options):
        opened.append(Visit(browser, report, **options))
        return opened[-1]

    yield start
    for each in opened:
        each.context.close()

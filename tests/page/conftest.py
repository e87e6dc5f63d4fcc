"""The page as a person meets it: a real Chromium before the real API and a real Redis.

Each page is watched: whatever it writes to the console as an error, every error in its code and every request to
another origin fails the test that caused it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

from tests.app.conftest import (  # noqa: F401  # fixtures of the API's own tests
    create_server,
    queue,
    session_queue,
    session_url,
    store,
    url,
)
from tests.chromium import WAIT_MS, launch_chromium

_REFUSED = "Failed to load resource"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium for the tests of one file; Playwright's event loop must not outlive them, it would disturb asyncio."""
    with sync_playwright() as playwright:
        browser = launch_chromium(playwright)
        yield browser
        browser.close()


@dataclass  # without slots: Playwright notes on the object which of its methods listen
class Watch:
    """What a page did that it must not do."""

    origin: str
    errors: list[str] = field(default_factory=list)
    expects_refusals: bool = False
    """Chromium writes every answer above 399 to the console; some tests are about them."""

    def attach(self, page: Page) -> None:
        """Begin to watch a page."""
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._see)

    def _hear(self, message: ConsoleMessage) -> None:
        is_refusal = message.text.startswith(_REFUSED)
        if message.type in ("error", "warning") and not (is_refusal and self.expects_refusals):
            self.errors.append(message.text)

    def _see(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("blob", "data") and f"{parts.scheme}://{parts.netloc}" != self.origin:
            self.errors.append(f"request to {request.url}")


@pytest.fixture
def watch(url: str) -> Watch:  # noqa: F811  # the fixture imported above
    return Watch(url)


@pytest.fixture(scope="module")
def context(browser: Browser, session_url: str) -> Iterator[BrowserContext]:  # noqa: F811  # imported above
    """One visitor for the tests of a file: the page keeps nothing, but the browser need not fetch its parts again."""
    context = browser.new_context(base_url=session_url, viewport={"width": 1200, "height": 900}, locale="en-GB")
    context.set_default_timeout(WAIT_MS)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, url: str, watch: Watch) -> Iterator[Page]:  # noqa: F811  # the fixture imported above
    """A watched page of a desktop's size, not yet at any address; relative ones are the server's."""
    page = context.new_page()
    watch.attach(page)
    yield page
    page.close()
    assert watch.errors == []

"""The page `/docs`: it shows every operation, in a real browser, and asks nobody but this service."""

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page, sync_playwright
from starlette.applications import Starlette
from starlette.routing import Mount

from app.main import create_app
from app.routes.docs import CONTENT_SECURITY_POLICY
from tests.app.conftest import run_server
from tests.chromium import launch_chromium
from worker.settings import QueueSettings


def find_references(page: str) -> list[str]:
    return re.findall(r'(?:src|href)="([^"]+)"', page)


def test_page_references_files_of_its_own_origin_only(client: httpx.Client) -> None:
    response = client.get("/docs")
    references = find_references(response.text)

    assert response.headers["content-type"].startswith("text/html")
    assert len(references) == 5
    assert [reference for reference in references if re.match(r"[a-z]+:|//|/", reference)] == []
    for reference in references:
        assert client.get(f"/{reference}").status_code == 200, reference


def test_page_loads_under_a_policy_without_inline_scripts(client: httpx.Client) -> None:
    response = client.get("/docs")

    assert response.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert "script-src 'self';" in CONTENT_SECURITY_POLICY
    assert re.findall(r"<script(?![^>]* src=)|\son[a-z]+=|<style|style=", response.text) == []


def test_style_sheet_loads_nothing(client: httpx.Client) -> None:
    sheet = client.get("/docs/swagger-ui.css").text

    assert "@import" not in sheet
    assert set(re.findall(r"url\(\W?(\w+:)", sheet)) == {"data:"}


@pytest.mark.parametrize("name", ["main.py", "__init__.py", "..%2Fmain.py", "index.html", "%00"])
def test_no_other_file_can_be_asked_for(client: httpx.Client, name: str) -> None:
    response = client.get(f"/docs/{name}")

    assert response.status_code == 404
    assert response.json()["code"] == "not_found"


def test_files_are_cached_by_browsers(client: httpx.Client) -> None:
    assert "max-age" in client.get("/docs/swagger-ui-bundle.js").headers["cache-control"]


@pytest.fixture
def page_url(queue: QueueSettings) -> Iterator[str]:
    """URL of the page where the service is reached under a prefix: what the page asks for must stay below it."""
    with run_server(Starlette(routes=[Mount("/faces", create_app(queue=queue))])) as url:
        yield f"{url}/faces/docs"


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of a real Chromium."""
    with sync_playwright() as playwright:
        browser = launch_chromium(playwright)
        try:
            yield browser.new_page()
        finally:
            browser.close()


@pytest.mark.timeout(300)  # a browser starts, and a machine may be busy
def test_browser_shows_every_operation_and_asks_nobody_else(page: Page, page_url: str, queue: QueueSettings) -> None:
    asked: list[str] = []
    complaints: list[str] = []
    page.set_default_timeout(120_000)
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))

    page.goto(page_url)
    page.locator("#operations-jobs-create_job").click()
    page.get_by_role("button", name="Execute").wait_for()

    description = create_app(queue=queue).openapi()
    operations = [
        operation["operationId"]
        for methods in (*description["paths"].values(), *description["webhooks"].values())
        for operation in methods.values()
    ]
    shown = [element.get_attribute("id") or "" for element in page.locator(".opblock").all()]
    assert sorted(name.split("-", 2)[2] for name in shown) == sorted(operations)
    own = page_url.removesuffix("docs")
    assert [url for url in asked if not url.startswith((own, "data:"))] == []
    assert complaints == []

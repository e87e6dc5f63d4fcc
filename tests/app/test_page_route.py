"""The page's files: served with a strict policy, kept by browsers, and no other file of the machine."""

import gzip
import json
import re

import httpx
import pytest

from app.palette import EMOTION_COLORS
from app.routes.page import CONTENT_SECURITY_POLICY


def read_palette(client: httpx.Client) -> dict[str, object]:
    """Return what palette.js exports."""
    source = client.get("/page/palette.js").text
    return {
        name: json.loads(value) for name, value in re.findall(r"^export const (\w+) = (.*);$", source, re.MULTILINE)
    }


def test_page_is_served_at_the_root(client: httpx.Client) -> None:
    response = client.get("/")

    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert response.headers["x-content-type-options"] == "nosniff"


def test_policy_allows_no_inline_code_and_no_other_origin() -> None:
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert "http" not in CONTENT_SECURITY_POLICY
    assert CONTENT_SECURITY_POLICY.startswith("default-src 'none'")


def test_every_file_the_page_names_is_there(client: httpx.Client) -> None:
    page = client.get("/").text
    names = re.findall(r'(?:href|src)="(page/[^"]+)"', page)

    assert len(names) > 10
    assert [name for name in names if client.get(f"/{name}").status_code != 200] == []


def test_every_module_is_named_for_early_loading(client: httpx.Client) -> None:
    page = client.get("/").text
    named = set(re.findall(r'href="page/(\w+\.js)"', page)) | {"main.js"}
    imported = {
        name for module in named for name in re.findall(r'from "\./([\w.]+)"', client.get(f"/page/{module}").text)
    }

    assert imported <= named


def test_page_holds_no_inline_code(client: httpx.Client) -> None:
    page = client.get("/").text

    assert re.findall(r"<script(?![^>]*\bsrc=)", page) == []
    assert re.findall(r"\s(?:on\w+|style)=", page) == []


def test_palette_is_that_of_the_figures(client: httpx.Client) -> None:
    assert read_palette(client)["EMOTIONS"] == [
        {"name": emotion.value, "color": color} for emotion, color in EMOTION_COLORS.items()
    ]


def test_chart_library_is_compressed_and_kept(client: httpx.Client) -> None:
    name = read_palette(client)["CHART_LIBRARY"]
    with client.stream("GET", f"/page/{name}", headers={"Accept-Encoding": "gzip"}) as response:
        packed = b"".join(response.iter_raw())

    assert response.headers["content-encoding"] == "gzip"
    assert "immutable" in response.headers["cache-control"]
    assert b"plotly.js v" in gzip.decompress(packed)[:200]


def test_browser_is_told_what_has_not_changed(client: httpx.Client) -> None:
    first = client.get("/page/main.js")

    second = client.get("/page/main.js", headers={"If-None-Match": f'W/{first.headers["etag"]}, "other"'})

    assert first.headers["cache-control"] == "no-cache"
    assert (second.status_code, second.content) == (304, b"")


@pytest.mark.parametrize("name", ["..%2Fmain.py", "%2e%2e/main.py", "nothing.js", "plotly-0.0.0.js", "index.html%00"])
def test_no_other_file_is_served(client: httpx.Client, name: str) -> None:
    assert client.get(f"/page/{name}").status_code == 404


def test_page_needs_no_method_but_reading(client: httpx.Client) -> None:
    assert client.head("/").status_code == 200
    assert client.post("/").status_code == 405

"""The page at `/`: static files and the chart library, nothing from another origin, under a policy without inline code.

Every file has an ETag and is asked for anew, so that a new version shows at once; the chart library, whose name carries
its version, is kept by the browser for good. It is compressed once: five megabytes are too many for every request.
"""

import gzip
import hashlib
import importlib.metadata
import json
import re
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from app.palette import EMOTION_COLORS

__all__ = ["CONTENT_SECURITY_POLICY", "router"]

router = APIRouter(include_in_schema=False)

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "media-src blob:",  # the viewer's own file
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_FOLDER = Path(__file__).parent.parent / "page"
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_ASK_AGAIN = "no-cache"
_KEEP = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class _File:
    """What is sent for one name."""

    body: bytes
    media_type: str
    etag: str
    packed: bytes | None = None
    """The body compressed, where that is worth keeping."""


@router.get("/")
@router.head("/")
def get_page(request: Request) -> Response:
    """Return the page."""
    return _answer(request, _read("index.html"), cache_control=_ASK_AGAIN)


@router.get("/page/plotly-{version}.js")
def get_chart_library(request: Request, version: str) -> Response:
    """Return the chart library that is installed."""
    if version != _chart_library_version():
        raise HTTPException(404)
    return _answer(request, _read_chart_library(), cache_control=_KEEP)


@router.get("/page/palette.js")
def get_palette(request: Request) -> Response:
    """Return the expressions in their order, their colours, and what the page must know of the chart library."""
    return _answer(request, _create_palette(), cache_control=_ASK_AGAIN)


@router.get("/page/{name}")
def get_page_file(request: Request, name: str) -> Response:
    """Return a file of the page; only names of its folder are known."""
    if name not in _list_names():
        raise HTTPException(404)
    return _answer(request, _read(name), cache_control=_ASK_AGAIN)


def _answer(request: Request, file: _File, *, cache_control: str) -> Response:
    headers = {**_HEADERS, "ETag": file.etag, "Cache-Control": cache_control, "Vary": "Accept-Encoding"}
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if file.etag in known:
        return Response(status_code=304, headers=headers)
    if file.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.packed, media_type=file.media_type, headers={**headers, "Content-Encoding": "gzip"})
    return Response(file.body, media_type=file.media_type, headers=headers)


@cache
def _list_names() -> frozenset[str]:
    return frozenset(path.name for path in _FOLDER.iterdir() if path.suffix in _MEDIA_TYPES)


@cache
def _read(name: str) -> _File:
    body = (_FOLDER / name).read_bytes()
    return _File(body, _MEDIA_TYPES[Path(name).suffix], _create_etag(body))


@cache
def _read_chart_library() -> _File:
    # the package is not imported: its Python part would bring what the API does not need
    package = find_spec("plotly")
    assert package is not None, "a dependency of the project"
    assert package.submodule_search_locations is not None, "plotly is a package"
    body = Path(package.submodule_search_locations[0], "package_data", "plotly.min.js").read_bytes()
    return _File(body, _MEDIA_TYPES[".js"], _create_etag(body), packed=gzip.compress(body, compresslevel=6, mtime=0))


@cache
def _create_palette() -> _File:
    emotions = [{"name": emotion.value, "color": color} for emotion, color in EMOTION_COLORS.items()]
    lines = [
        "// The seven expressions in the order of the network's outputs, and their colours (from app/palette.py).",
        f"export const EMOTIONS = {json.dumps(emotions)};",
        f'export const CHART_LIBRARY = "plotly-{_chart_library_version()}.js";',
        f"export const CHART_STYLES = {json.dumps(_find_inline_styles())};",
        "",
    ]
    body = "\n".join(lines).encode()
    return _File(body, _MEDIA_TYPES[".js"], _create_etag(body))


def _find_inline_styles() -> list[str]:
    """Return the ids under which the chart library looks for styles before it adds them as inline code."""
    found = re.findall(rb'getElementById\("([0-9a-f]{64})"\)', _read_chart_library().body)
    return sorted({name.decode() for name in found})


def _chart_library_version() -> str:
    return importlib.metadata.version("plotly")


def _create_etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:24]}"'

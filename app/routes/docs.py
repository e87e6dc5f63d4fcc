"""The page that shows the API's description, `/docs`: Swagger UI from a Python package, nothing from another origin.

The framework's own page loads Swagger UI from a content delivery network and starts it by an inline script; this one
works without a network, behind a proxy's prefix, and under a policy that forbids both.
"""

from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException

__all__ = ["CONTENT_SECURITY_POLICY", "router"]

router = APIRouter(include_in_schema=False)

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",  # Swagger UI sets the styles of single elements
        "img-src 'self' data:",  # its icons stand in its style sheet
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_PAGE = Path(__file__).parent.parent / "docs_page"
_SWAGGER_UI_FILES = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png")
_CACHED = {"Cache-Control": "public, max-age=3600", "X-Content-Type-Options": "nosniff"}


@router.get("/docs")
def get_docs() -> FileResponse:
    """Return the page."""
    headers = {
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    return FileResponse(_PAGE / "index.html", headers=headers)


@router.get("/docs/{name}")
def get_docs_file(name: str) -> FileResponse:
    """Return a file of the page; each is named here, so that no other can be asked for."""
    if name in _SWAGGER_UI_FILES:
        return FileResponse(str(files("fastapi_swagger") / "resources" / name), headers=_CACHED)
    if name == "start.js":
        return FileResponse(_PAGE / name, headers=_CACHED)
    raise HTTPException(404)

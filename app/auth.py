"""API keys: who may use /v1, decided before the first byte of a body is read.

A route's dependency would come too late: the framework has read the body by then. So this is ASGI middleware.
Only hashes of keys are known to the service.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import UnauthorizedError, create_problem_response

__all__ = ["ApiKeyMiddleware", "ApiKeys", "get_owner", "read_api_keys"]

_PROTECTED_PREFIX = "/v1/"


@dataclass(frozen=True, slots=True)
class ApiKeys:
    """The accepted keys."""

    owners: Mapping[str, str]
    """Owner's name by the SHA-256 of the key in hex. Without any, nobody is asked for a key."""

    def find_owner(self, key: str) -> str | None:
        """Return whose key this is, None if nobody's."""
        digest = hashlib.sha256(key.encode()).hexdigest()
        found = None
        for (
            known,
            owner,
        ) in self.owners.items():  # all of them, each in constant time: the time tells nothing of a match
            if hmac.compare_digest(known, digest):
                found = owner
        return found


class ApiKeyMiddleware:
    """Lets requests to /v1 pass that carry a known key, as `Authorization: Bearer` or `X-API-Key`."""

    def __init__(self, app: ASGIApp, keys: ApiKeys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and _route_path(scope).startswith(_PROTECTED_PREFIX):
            owner = self._keys.find_owner(_read_key(Headers(scope=scope))) if self._keys.owners else ""
            if owner is None:
                error = UnauthorizedError("Send a valid API key, as `Authorization: Bearer KEY` or `X-API-Key: KEY`.")
                await create_problem_response(Request(scope), error)(scope, receive, send)
                return
            scope.setdefault("state", {})["owner"] = owner
        await self._app(scope, receive, send)


def get_owner(request: Request) -> str:
    """Return to whom the jobs of a request belong; empty where keys are off."""
    owner: str = request.scope["state"]["owner"]  # a route that the middleware missed fails here rather than stand open
    return owner


def read_api_keys(file: Path | None) -> ApiKeys:
    """Read the accepted keys.

    Raises:
        ValueError: A line is not a name and a SHA-256.
        OSError: The file cannot be read.
    """
    owners: dict[str, str] = {}
    lines = file.read_text().splitlines() if file else []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, digest = line.strip().rpartition(" ")
        if not name or len(digest) != hashlib.sha256().digest_size * 2 or not set(digest) <= set("0123456789abcdef"):
            raise ValueError(f"{file}, line {number}: expected a name, a blank and the SHA-256 of a key in hex")
        owners[digest] = name.strip()
    if file and not owners:
        raise ValueError(f"{file} holds no key: nobody could use the service")
    return ApiKeys(owners)


def _route_path(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))  # behind a proxy that serves us under a prefix


def _read_key(headers: Headers) -> str:
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    return headers.get("x-api-key", "")

"""API keys: who may use /v1, decided before the first byte of a body is read, and where the service may go without.

A route's dependency would come too late: the framework has read the body by then. So this is ASGI middleware.
Only hashes of keys are known to the service.
"""

import hmac
import ipaddress
import logging
import os
import socket
import time
from pathlib import Path

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import UnauthorizedError
from app.keys import KeysFile, hash_key, parse_line
from app.problems import create_problem_response
from app.settings import ApiSettings

__all__ = [
    "METRICS_PATH",
    "AcceptedKeys",
    "ApiKeyMiddleware",
    "ExposedError",
    "check_access",
    "get_owner",
    "route_path",
]

METRICS_PATH = "/metrics"
_PROTECTED_PREFIX = "/v1/"
_LOOK_SECONDS = 1.0
"""How often the file is looked at for a change, when there are requests."""

logger = logging.getLogger(__name__)


class ExposedError(ValueError):
    """Other machines could reach the service, and nobody would be asked for a key."""


class AcceptedKeys:
    """The accepted keys: those that stand in the file now. Without a file nobody is asked for a key.

    A file that changes while the service runs is read again; what is no key in it is ignored, with a line in the log,
    and a file that is gone lets nobody in: a mistake in it may lock out, but never lets in.
    """

    def __init__(self, file: Path | None) -> None:
        """Read the file.

        Raises:
            ValueError: A line is not a name and a SHA-256, or there is no key in the file.
            OSError: It cannot be read.
        """
        self._file = file
        self._owners: dict[str, str] = {}
        self._seen = _fingerprint(file) if file else None
        self._look_at = time.monotonic() + _LOOK_SECONDS
        if file:
            self._owners = {key.digest: key.name for key in KeysFile(file).list_keys()}
            if not self._owners:
                raise ValueError(
                    f"{file} holds no key: nobody could use the service. "
                    f"Make one with: emoclip keys create NAME --file {file}"
                )

    @property
    def are_required(self) -> bool:
        """Whether a key is asked for."""
        return self._file is not None

    def find_owner(self, key: str) -> str | None:
        """Return whose key this is, None if nobody's."""
        self._look()
        digest = hash_key(key)
        found = None
        # all of them, each in constant time: the time tells nothing of a match
        for known, owner in self._owners.items():
            if hmac.compare_digest(known, digest):
                found = owner
        return found

    def _look(self) -> None:
        if self._file is None or time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + _LOOK_SECONDS
        seen = _fingerprint(self._file)
        if seen != self._seen:
            self._seen = seen
            self._owners = _read_what_can_be_read(self._file)
            logger.info("the file of API keys was read again: %d keys", len(self._owners))


class ApiKeyMiddleware:
    """Lets requests to /v1 pass that carry a known key, as `Authorization: Bearer` or `X-API-Key`."""

    def __init__(self, app: ASGIApp, keys: AcceptedKeys, *, metrics_without_key: bool = False) -> None:
        self._app = app
        self._keys = keys
        self._metrics_without_key = metrics_without_key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and self._is_protected(route_path(scope)):
            owner = self._keys.find_owner(_read_key(Headers(scope=scope))) if self._keys.are_required else ""
            if owner is None:
                error = UnauthorizedError("Send a valid API key, as `Authorization: Bearer KEY` or `X-API-Key: KEY`.")
                await create_problem_response(Request(scope), error)(scope, receive, send)
                return
            scope.setdefault("state", {})["owner"] = owner
        await self._app(scope, receive, send)

    def _is_protected(self, path: str) -> bool:
        return path.startswith(_PROTECTED_PREFIX) or (path == METRICS_PATH and not self._metrics_without_key)


def get_owner(request: Request) -> str:
    """Return to whom the jobs of a request belong; empty where keys are off."""
    owner: str = request.scope["state"]["owner"]  # a route that the middleware missed fails here rather than stand open
    return owner


def check_access(settings: ApiSettings, *, host: str) -> None:
    """Check, before anything is started, that a service without keys can be reached from its own machine alone.

    Args:
        settings: Say whether there are keys.
        host: Address to listen on.

    Raises:
        ExposedError: Others could reach it; the message says what to do.
        ValueError: The file of keys is not usable.
        OSError: It cannot be read.
    """
    reached_at = settings.published_host or host
    if settings.api_keys_file is not None:
        AcceptedKeys(settings.api_keys_file)
    elif not _is_loopback(reached_at):
        raise ExposedError(
            f"Other machines can reach {reached_at or 'every address of this one'}, where the service asks for API "
            "keys: make one with `emoclip keys create NAME --file api_keys` and set EMOCLIP_API_KEYS_FILE=api_keys, "
            "or listen on 127.0.0.1 only."
        )


def route_path(scope: Scope) -> str:
    """Return the path as the router will see it: without the prefix under which a proxy serves us."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    rest = path.removeprefix(root)
    return rest if not rest or rest.startswith("/") else path


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None) if host else []
    except OSError:
        return False  # whatever it will be one day
    return bool(found) and all(ipaddress.ip_address(str(entry[4][0]).partition("%")[0]).is_loopback for entry in found)


def _fingerprint(file: Path) -> tuple[int, ...] | None:
    try:
        seen = os.stat(file)
    except OSError:
        return None
    return (seen.st_ino, seen.st_mtime_ns, seen.st_size)


def _read_what_can_be_read(file: Path) -> dict[str, str]:
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        logger.error("nobody is let in, the file of API keys cannot be read: %s", error)
        return {}
    owners: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        try:
            key = parse_line(line)
        except ValueError as error:
            logger.error("the file of API keys, line %d is ignored: %s", number, error)
        else:
            owners |= {key.digest: key.name} if key else {}
    return owners


def _read_key(headers: Headers) -> str:
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    return headers.get("x-api-key", "")

"""One id per request, in the answer's `X-Request-ID` header, in problems and in the log, which has a line for each."""

import logging
import re
import secrets
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.route_names import describe_path

__all__ = ["REQUEST_ID_HEADER", "RequestIdMiddleware", "get_request_id"]

logger = logging.getLogger(__name__)

REQUEST_ID_HEADER = "X-Request-ID"
_PROBES = ("/healthz", "/readyz", "/metrics")
_ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestIdMiddleware:
    """Takes over a harmless id that the client or proxy sent, else makes one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sent = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
        request_id = sent if _ACCEPTED.fullmatch(sent) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.monotonic()
        status = 0  # no answer: the client went away, or a bug, which is logged where it is caught

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            level = logging.DEBUG if scope["path"] in _PROBES else logging.INFO
            milliseconds = (time.monotonic() - started) * 1000
            path = describe_path(scope)
            logger.log(level, "%s %s %d, %.0f ms, request %s", scope["method"], path, status, milliseconds, request_id)


def get_request_id(scope: Scope) -> str:
    """Return the id of a request."""
    request_id: str = scope.get("state", {}).get("request_id", "")
    return request_id

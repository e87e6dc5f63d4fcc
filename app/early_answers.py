"""Answers that are given before the whole request body was read: a refused key, a body too large, a full disk.

The client must be able to read them. A server that closes while the client still sends resets the connection, and the
answer may be lost with it; so, as nginx does ("lingering close"), the answer goes out whole, the body is read on and
thrown away for a limited time and size, and then the connection closes. A client that waits for `100 Continue` never
sends the body.
"""

import asyncio

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["EarlyAnswerMiddleware", "has_body"]

_LINGER_SECONDS = 60.0
"""Where many clients are refused at once each sends slowly, and most read the answer only when they have sent all."""
_LINGER_BYTES = 64 * 2**20


class EarlyAnswerMiddleware:
    """Closes the connection, politely, after an answer that came before the end of the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not has_body(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        body = _Body(receive, awaits_continue=Headers(scope=scope).get("expect", "").lower() == "100-continue")

        async def send_early(message: Message) -> None:
            if body.is_read:
                await send(message)
            elif message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Connection"] = "close"
                await send(message)
            elif message.get("more_body") or body.awaits_continue:
                await send(message)
            else:
                await send({**message, "more_body": True})
                await body.discard()
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self._app(scope, body.receive, send_early)


class _Body:
    """How far the request body was read."""

    def __init__(self, receive: Receive, *, awaits_continue: bool) -> None:
        self._receive = receive
        self.awaits_continue = awaits_continue
        """The client sends nothing before it is asked to, and it was not."""
        self.is_read = False

    async def receive(self) -> Message:
        self.awaits_continue = False
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self.is_read = True
        return message

    async def discard(self) -> None:
        seen = 0
        try:
            async with asyncio.timeout(_LINGER_SECONDS):
                while not self.is_read and seen < _LINGER_BYTES:
                    seen += len((await self.receive()).get("body", b""))
        except TimeoutError:
            return  # the client had its time


def has_body(headers: Headers) -> bool:
    """Return whether a request says that a body follows."""
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"

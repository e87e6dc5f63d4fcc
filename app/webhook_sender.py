"""One delivery of a webhook: signed after Standard Webhooks 1.0, sent to an address that was checked, and judged.

Source: github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md. No redirect is followed (a 3xx is a
failure there, too), no proxy is used, of the answer only the status line and the headers are read, and the whole has
one deadline, however slowly a receiver trickles.
"""

import asyncio
import base64
import binascii
import contextlib
import hashlib
import hmac
import os
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpcore

from app.webhook_target import TargetError, TargetRules, WebhookUrl

__all__ = ["Answer", "WebhookSender", "create_webhook_secret", "read_webhook_secrets", "sign"]

_PREFIX = "whsec_"
_SECRET_BYTES = range(24, 65)
"""192 to 512 bits, as the specification asks."""
_NEW_SECRET_BYTES = 32
_LONGEST_RETRY_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Answer:
    """How a receiver took a message."""

    status: int | None = None
    """HTTP status; None where no answer came."""
    error: str | None = None
    """Why it counts as failed; None where it does not."""
    retry_after_seconds: int = 0
    """How long the receiver asks to be left alone."""

    @property
    def is_final(self) -> bool:
        """Whether the receiver wants no further attempt: 410 Gone."""
        return self.status == 410


def read_webhook_secrets(file: Path) -> list[bytes]:
    """Read the signing secrets, a line each: `whsec_` and 24 to 64 random bytes in base64.

    Messages are signed with each of them, so that a receiver may change from one to the next at any time.

    Raises:
        ValueError: A line is no secret, or there is none.
        OSError: The file cannot be read.
    """
    secrets: list[bytes] = []
    for number, line in enumerate(file.read_text().splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            secret = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
        except binascii.Error:
            secret = b""
        if not text.startswith(_PREFIX) or len(secret) not in _SECRET_BYTES:
            raise ValueError(f"{file}, line {number}: expected {_PREFIX} and 24 to 64 random bytes in base64")
        secrets.append(secret)
    if not secrets:
        raise ValueError(f"{file} holds no secret; make one with: emoclip keys webhook-secret --file {file}")
    return secrets


def create_webhook_secret(file: Path) -> str:
    """Make a signing secret, add it to the file, which only its owner can read, and return it.

    Raises:
        ValueError: The file holds something else.
        OSError: The file cannot be read or written.
    """
    if file.exists() and file.stat().st_size:
        read_webhook_secrets(file)
    secret = _PREFIX + base64.b64encode(os.urandom(_NEW_SECRET_BYTES)).decode()
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a") as secrets:
        secrets.write(f"\n{secret}\n" if secrets.tell() else f"{secret}\n")  # an editor may leave no end of line
    return secret


def sign(secrets: Iterable[bytes], *, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the value of the header webhook-signature: `v1,` and HMAC-SHA256 in base64, for each secret."""
    content = f"{message_id}.{timestamp}.".encode() + body
    digests = (hmac.new(secret, content, hashlib.sha256).digest() for secret in secrets)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)


class WebhookSender:
    """Sends messages, each over a connection of its own."""

    def __init__(
        self,
        secrets: Sequence[bytes],
        rules: TargetRules,
        *,
        timeout_seconds: float,
        user_agent: str,
    ) -> None:
        self._secrets = secrets
        self._rules = rules
        self._timeout_seconds = timeout_seconds
        self._user_agent = user_agent
        # the system's authorities, and those of SSL_CERT_FILE
        self._ssl_context = ssl.create_default_context()

    async def send(self, url: WebhookUrl, body: bytes, *, message_id: str, timestamp: int) -> Answer:
        """Send one message; whatever goes wrong is in the answer."""
        headers = {
            "host": url.authority,
            "content-type": "application/json",
            "content-length": str(len(body)),
            "user-agent": self._user_agent,
            "connection": "close",
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(self._secrets, message_id=message_id, timestamp=timestamp, body=body),
        }
        try:
            self._rules.check_scheme(url)
            async with asyncio.timeout(self._timeout_seconds):
                return await self._post(url, body, headers)
        except TimeoutError:
            return Answer(error=f"No answer within {self._timeout_seconds:g} seconds.")
        except TargetError as error:
            return Answer(error=str(error))
        except httpcore.ConnectError as error:
            return Answer(error=_explain(error))
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException):
            return Answer(error="The connection broke before an HTTP answer came.")

    async def _post(self, url: WebhookUrl, body: bytes, headers: dict[str, str]) -> Answer:
        async with (
            contextlib.aclosing(_CheckedNetwork(self._rules)) as network,
            httpcore.AsyncConnectionPool(
                ssl_context=self._ssl_context, network_backend=network, max_connections=1
            ) as pool,
            pool.stream(
                "POST",
                httpcore.URL(
                    scheme=url.scheme.encode(), host=url.host.encode(), port=url.port, target=url.target.encode()
                ),
                headers=list(headers.items()),
                content=body,
            ) as response,
        ):
            return _judge(response)


class _CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to addresses that the rules allow; names for TLS and Host stay those of the URL."""

    def __init__(self, rules: TargetRules) -> None:
        self._rules = rules
        self._network = httpcore.AnyIOBackend()
        self._stream: httpcore.AsyncNetworkStream | None = None

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,  # httpcore's type has no public name
    ) -> httpcore.AsyncNetworkStream:
        *others, last = await self._rules.find_addresses(host, port)
        for address in others:  # such as an IPv6 address where there is no way to one
            with contextlib.suppress(httpcore.ConnectError):
                self._stream = await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
                return self._stream
        self._stream = await self._network.connect_tcp(last, port, timeout, local_address, socket_options)
        return self._stream

    async def aclose(self) -> None:
        """Close what is still open: httpcore leaves a connection behind that is cancelled amid its TLS handshake."""
        if self._stream is not None:
            with anyio.CancelScope(shield=True):
                await self._stream.aclose()

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)


def _explain(error: BaseException | None) -> str:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"The certificate is not valid: {error.verify_message}."
        if isinstance(error, ssl.SSLError):
            return "The host does not speak TLS as it should."
        error = error.__cause__ or error.__context__
    return "The host cannot be reached."


def _judge(response: httpcore.Response) -> Answer:
    if response.status in range(200, 300):
        return Answer(status=response.status)
    headers = {name.lower(): value for name, value in response.headers}
    wanted = headers.get(b"retry-after", b"")
    seconds = min(int(wanted[:9]), _LONGEST_RETRY_SECONDS) if wanted.isdigit() else 0
    kind = "a redirect, which is not followed" if response.status in range(300, 400) else "no success"
    return Answer(response.status, f"The receiver answered {response.status}: {kind}.", seconds)

"""The steps of a conversation with the service, as data: what is asked, what came back, and when to wait.

A conversation is a generator that yields steps and is sent what came of them (as in httpx's auth flows): it decides
what to do, while a client, blocking or asynchronous, does it. So both clients have one logic.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import httpx

__all__ = ["UPLOAD_PIECE_BYTES", "Answer", "Call", "NoAnswer", "Pause", "Sink", "Steps", "Upload"]

T = TypeVar("T")

UPLOAD_PIECE_BYTES = 256 * 2**10
"""Read and sent at once: an upload of any size takes so much memory."""


class Sink(Protocol):
    """Where the body of a successful answer goes, piece by piece."""

    def begin(self) -> None:
        """Take a body from its start; the one before, if any, was cut off."""

    def write(self, piece: bytes) -> object:
        """Take the next piece."""

    def commit(self) -> None:
        """Note that the body is whole."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that is the body of a request."""

    path: Path
    on_sent: Callable[[int, int], object]
    """Called with the bytes sent and the bytes of the file."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request."""

    method: str
    path: str
    parameters: Mapping[str, str | int | float] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    upload: Upload | None = None
    sink: Sink | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait before the next step."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said to a call."""

    status: int
    headers: httpx.Headers
    content: bytes
    """Empty where a sink took it."""
    is_repeated: bool = False
    """An attempt before got no answer, and may have done its work all the same."""


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Why there is none: the connection failed, broke, or stood still."""

    error: httpx.RequestError

    @property
    def may_pass(self) -> bool:
        """Whether trying again can help: not against a wrong address or an answer that makes no sense."""
        return isinstance(self.error, httpx.NetworkError | httpx.TimeoutException | httpx.RemoteProtocolError)


Steps = Generator[Call | Pause, Answer | NoAnswer | None, T]

"""Receive a video as a stream: from a raw body, or from the field `video` of a multipart form, straight to its sink.

Nothing is spooled first, memory stays flat, and what arrives is limited while it arrives: bytes, seconds, form fields.
The client's file name is data to show, and never comes near the file system. Digests that the client sent are those of
the whole body, so of the form where there is one.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from anyio import to_thread
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from app.digests import read_content_digests
from app.upload_errors import (
    EmptyUploadError,
    MalformedUploadError,
    UnsupportedUploadError,
    UploadTimeoutError,
    UploadTooLargeError,
)
from app.video_form import VideoForm

__all__ = [
    "WRITE_BYTES",
    "ReceivedVideo",
    "UploadLimits",
    "check_encoding",
    "check_upload_headers",
    "iter_body",
    "receive_video",
]

_FORM_OVERHEAD_BYTES = 16 * 2**10
"""Boundaries and part headers of a form that holds one file."""
WRITE_BYTES = 256 * 2**10
"""Written, and hashed, at once: no thread is entered for each packet, and many uploads at once stay small in memory."""
_RAW_MAJOR_TYPES = ("video", "image", "audio", "application")
"""A GIF is an image, Ogg often audio, Matroska an application; `curl --data-binary` says x-www-form-urlencoded."""
_REFUSED_SUBTYPES = ("json", "xml", "javascript", "pdf")


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """How much, and how slowly, a client may send."""

    max_bytes: int
    idle_seconds: float
    """Between two pieces of the body."""
    total_seconds: float


@dataclass(frozen=True, slots=True)
class ReceivedVideo:
    """What arrived."""

    size_bytes: int
    sha256: str
    file_name: str
    """As the form named it, without control characters; empty where it did not."""


def check_upload_headers(request: Request, limits: UploadLimits) -> int | None:
    """Refuse what the headers alone rule out, before any byte of the body is read.

    Returns:
        The size that the client announced, None where it did not.

    Raises:
        UnsupportedUploadError: By its type or encoding the body is no plain video.
        UploadTooLargeError: It announces too many bytes.
        EmptyUploadError: It announces none.
    """
    check_encoding(request.headers)
    is_form = _parse_form_boundary(request) is not None
    announced = request.headers.get("content-length", "")
    if not announced.isdecimal():
        return None
    size_bytes = int(announced)
    if size_bytes == 0:
        raise EmptyUploadError("The upload is empty: send the video as the body, or as the form field 'video'.")
    if size_bytes > limits.max_bytes + (_FORM_OVERHEAD_BYTES if is_form else 0):
        raise _too_large(limits)
    return size_bytes


def check_encoding(headers: Headers) -> None:
    """Refuse a body that is encoded, as it would be stored as it arrives.

    Raises:
        UnsupportedUploadError: It is.
    """
    encoding = headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        raise UnsupportedUploadError(f"Send the video itself, not encoded as {encoding!r} (Content-Encoding).")


async def receive_video(request: Request, write: Callable[[bytes], object], limits: UploadLimits) -> ReceivedVideo:
    """Write the video of a request to a sink, hashing it on the way.

    Args:
        request: Its headers have passed `check_upload_headers`.
        write: Takes the next bytes; called in a thread, never twice at once.
        limits: When to give up.

    Raises:
        ApiError: The body is too large, too slow, malformed, empty, a form without the video, or not what its digest
            says.
        ClientDisconnect: The client went away.
    """
    boundary = _parse_form_boundary(request)
    form = VideoForm(boundary) if boundary is not None else None
    expected = read_content_digests(request.headers)
    digest = hashlib.sha256()
    size_bytes = waiting_bytes = 0
    body: list[bytes] = []
    video: list[bytes] = []

    def flush() -> None:
        for piece in body:
            expected.update(piece)
        data = b"".join(video)
        body.clear()
        video.clear()
        digest.update(data)
        write(data)

    async for piece in iter_body(request, limits):
        if expected:
            body.append(piece)
        found = [piece] if form is None else form.feed(piece)
        video += found
        size_bytes += sum(map(len, found))
        if size_bytes > limits.max_bytes:
            raise _too_large(limits)
        waiting_bytes += len(piece)
        if waiting_bytes >= WRITE_BYTES:
            await to_thread.run_sync(flush)
            waiting_bytes = 0
    if form is not None:
        form.check_end()
    if size_bytes == 0:
        raise EmptyUploadError("The upload is empty: the video has no bytes.")
    await to_thread.run_sync(flush)
    expected.verify()
    return ReceivedVideo(size_bytes, digest.hexdigest(), form.file_name if form is not None else "")


def _too_large(limits: UploadLimits) -> UploadTooLargeError:
    return UploadTooLargeError(f"The video is too large: at most {limits.max_bytes:,} bytes are accepted.")


def _parse_form_boundary(request: Request) -> bytes | None:
    """Return the boundary of a multipart form, None for a raw body."""
    content_type = request.headers.get("content-type")
    if content_type is None:  # curl -T sends none
        return None
    media_type, parameters = parse_options_header(content_type)
    major, _, subtype = media_type.decode("latin-1").lower().partition("/")
    if (major, subtype) == ("multipart", "form-data"):
        boundary = parameters.get(b"boundary")
        if not boundary:
            raise MalformedUploadError("The Content-Type multipart/form-data lacks its boundary.")
        return boundary
    if major not in _RAW_MAJOR_TYPES or subtype.rpartition("+")[2] in _REFUSED_SUBTYPES:
        raise UnsupportedUploadError(
            f"A body of type {major}/{subtype} is not a video: send the file as it is, as video/* or "
            "application/octet-stream, or as the field 'video' of a multipart/form-data form."
        )
    return None


async def iter_body(
    request: Request, limits: UploadLimits, *, on_silence: Callable[[], Awaitable[None]] | None = None
) -> AsyncIterator[bytes]:
    """Yield the body of a request as it arrives.

    Args:
        request: Nothing of its body has been read.
        limits: When to give up.
        on_silence: Awaited whenever nothing arrived for a tenth of the longest silence; may give up earlier.

    Raises:
        UploadTimeoutError: It stands still, or takes too long.
        UploadTooLargeError: No video in any form may be that large.
        ClientDisconnect: The client went away.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + limits.total_seconds
    body_limit = limits.max_bytes + _FORM_OVERHEAD_BYTES
    seen = 0
    more_body = True
    while more_body:
        try:
            async with asyncio.timeout_at(min(deadline, clock() + limits.idle_seconds)):
                message = await _receive(request, limits.idle_seconds / 10, on_silence)
        except TimeoutError as error:
            raise UploadTimeoutError(
                f"The upload is too slow: it must go on within {limits.idle_seconds:g} s "
                f"and end within {limits.total_seconds:g} s."
            ) from error
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        piece: bytes = message.get("body", b"")
        seen += len(piece)
        if seen > body_limit:
            raise _too_large(limits)
        more_body = message.get("more_body", False)
        if piece:
            yield piece


async def _receive(
    request: Request, silence_seconds: float, on_silence: Callable[[], Awaitable[None]] | None
) -> Message:
    while on_silence is not None:
        with suppress(TimeoutError):
            async with asyncio.timeout(silence_seconds):
                return await request.receive()
        await on_silence()
    return await request.receive()

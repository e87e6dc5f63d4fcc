"""Receive a video as a stream: from a raw body, or from the field `video` of a multipart form, straight to its sink.

Nothing is spooled first, memory stays flat, and what arrives is limited while it arrives: bytes, seconds, form fields.
The client's file name is data to show, and never comes near the file system.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from anyio import to_thread
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect, Request

from app.errors import (
    EmptyUploadError,
    MalformedUploadError,
    MissingVideoError,
    UnsupportedUploadError,
    UploadTimeoutError,
    UploadTooLargeError,
)
from app.file_names import clean_file_name

__all__ = ["ReceivedVideo", "UploadLimits", "check_upload_headers", "receive_video"]

_VIDEO_FIELD = "video"
_FORM_OVERHEAD_BYTES = 16 * 2**10
"""Boundaries and part headers of a form that holds one file."""
_WRITE_BYTES = 256 * 2**10
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
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        raise UnsupportedUploadError(f"Send the video itself, not encoded as {encoding!r} (Content-Encoding).")
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


async def receive_video(request: Request, write: Callable[[bytes], object], limits: UploadLimits) -> ReceivedVideo:
    """Write the video of a request to a sink, hashing it on the way.

    Args:
        request: Its headers have passed `check_upload_headers`.
        write: Takes the next bytes; called in a thread, never twice at once.
        limits: When to give up.

    Raises:
        ApiError: The body is too large, too slow, malformed, empty, or a form without the video.
        ClientDisconnect: The client went away.
    """
    boundary = _parse_form_boundary(request)
    form = _VideoForm(boundary) if boundary is not None else None
    pieces = _iter_body(request, limits)
    if form is not None:
        pieces = _iter_form_video(pieces, form)
    digest = hashlib.sha256()
    size_bytes = written_bytes = 0
    waiting: list[bytes] = []

    def flush() -> None:
        data = b"".join(waiting)
        waiting.clear()
        digest.update(data)
        write(data)

    async for piece in pieces:
        size_bytes += len(piece)
        if size_bytes > limits.max_bytes:
            raise _too_large(limits)
        waiting.append(piece)
        if size_bytes - written_bytes >= _WRITE_BYTES:
            await to_thread.run_sync(flush)
            written_bytes = size_bytes
    if size_bytes == 0:
        raise EmptyUploadError("The upload is empty: the video has no bytes.")
    await to_thread.run_sync(flush)
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


async def _iter_body(request: Request, limits: UploadLimits) -> AsyncIterator[bytes]:
    clock = asyncio.get_running_loop().time
    deadline = clock() + limits.total_seconds
    body_limit = limits.max_bytes + _FORM_OVERHEAD_BYTES
    seen = 0
    more_body = True
    while more_body:
        try:
            async with asyncio.timeout_at(min(deadline, clock() + limits.idle_seconds)):
                message = await request.receive()
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


async def _iter_form_video(body: AsyncIterator[bytes], form: "_VideoForm") -> AsyncIterator[bytes]:
    async for piece in body:
        for video_piece in form.feed(piece):
            yield video_piece
    form.check_end()


class _VideoForm:
    """A multipart form that holds exactly one part, named `video`."""

    def __init__(self, boundary: bytes) -> None:
        self.file_name = ""
        self._pieces: list[bytes] = []
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._disposition = b""
        self._has_video = False
        self._is_ended = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": self._add_header_name,
                    "on_header_value": self._add_header_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._end_headers,
                    "on_part_data": self._add_data,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise MalformedUploadError("The boundary of the multipart form is too long.") from error

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the video's bytes in the next piece of the body."""
        self._pieces = []
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise MalformedUploadError("The body is not the multipart form that its Content-Type announces.") from error
        return self._pieces

    def check_end(self) -> None:
        """Refuse a form that was cut off, or had no video."""
        if not self._is_ended:  # the parser itself accepts a body that just stops
            raise MalformedUploadError("The multipart form ends before its closing boundary.")
        if not self._has_video:
            raise MissingVideoError("The form has no field 'video'.")

    def _begin_part(self) -> None:
        self._disposition = b""

    def _add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = bytes(self._header_value)
        self._header_name.clear()
        self._header_value.clear()

    def _end_headers(self) -> None:
        _, parameters = parse_options_header(self._disposition)
        name = parameters.get(b"name", b"").decode("utf-8", "replace")
        if name != _VIDEO_FIELD:
            raise MissingVideoError(
                f"Unexpected form field {name[:40]!r}: the form holds the video alone, as the field 'video'; "
                "options are query parameters, as in POST /v1/jobs?sample_fps=5."
            )
        if self._has_video:
            raise MissingVideoError("The form has the field 'video' twice: send one video a job.")
        self._has_video = True
        self.file_name = clean_file_name(parameters.get(b"filename", b"").decode("utf-8", "replace"))

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        self._pieces.append(data[start:end])

    def _end(self) -> None:
        self._is_ended = True

"""The words of tus 1.0.0 (https://tus.io/protocols/resumable-upload): headers of requests and answers.

Core and the extensions creation, creation-with-upload, checksum, expiration and termination. Not concatenation, not
an upload of unknown length (creation-defer-length), not a checksum as a trailer.
"""

import base64
import binascii
from email.utils import format_datetime
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.auth import route_path
from app.digests import CHECKSUM_ALGORITHMS
from app.file_names import MAX_FILE_NAME
from app.parameters import CreateParameters
from app.upload_errors import TUS_VERSION, InvalidHeaderError, TusVersionError
from worker.intake_store import UploadSnapshot

__all__ = [
    "PIECE_MEDIA_TYPE",
    "UPLOADS_PATH",
    "TusMiddleware",
    "check_version",
    "create_option_headers",
    "create_upload_headers",
    "read_metadata",
    "read_size",
]

UPLOADS_PATH = "/v1/uploads"
PIECE_MEDIA_TYPE = "application/offset+octet-stream"
_EXTENSIONS = ("creation", "creation-with-upload", "checksum", "expiration", "termination")
_MAX_METADATA = 4096
_VERSION_FIELD = "Tus-Resumable"
_FILE_NAME_KEYS = ("filename", "name", "file_name")
"""What tus clients call it, in the order in which they are believed."""


class TusMiddleware:
    """On the paths of resumable uploads: our version in every answer, and methods that a proxy holds back."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not _is_upload_path(scope):
            await self._app(scope, receive, send)
            return
        override = Headers(scope=scope).get("x-http-method-override")
        if override:
            scope = {**scope, "method": override.upper()}

        async def send_with_version(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                answer[_VERSION_FIELD] = TUS_VERSION
                answer["Cache-Control"] = "no-store"
            await send(message)

        await self._app(scope, receive, send_with_version)


def check_version(request: Request) -> None:
    """Refuse a client that does not say that it speaks our version; asking which one it is needs none.

    Raises:
        TusVersionError: It does not.
    """
    if request.method != "OPTIONS" and request.headers.get(_VERSION_FIELD) != TUS_VERSION:
        raise TusVersionError(f"Send the header {_VERSION_FIELD}: {TUS_VERSION}, the version of tus spoken here.")


def read_size(headers: Headers, field: str) -> int:
    """Return a number of bytes.

    Raises:
        InvalidHeaderError: It is missing, or no number.
    """
    text = headers.get(field, "")
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise InvalidHeaderError(f"The header {field} must be a number of bytes.")
    return int(text)


def read_metadata(headers: Headers) -> tuple[str, CreateParameters]:
    """Return `Upload-Metadata` as it was sent, and what it asks for.

    Keys that name options of a job are those options; `filename` is the name to show; tus clients send other keys of
    their own, which are kept and mean nothing here.

    Raises:
        InvalidHeaderError: It is malformed or too long.
        RequestValidationError: An option is refused.
    """
    text = headers.get("upload-metadata", "")
    if len(text) > _MAX_METADATA:
        raise InvalidHeaderError(f"Upload-Metadata may have {_MAX_METADATA} characters, not {len(text)}.")
    values = _parse_metadata(text)
    wanted: dict[str, Any] = {key: value for key, value in values.items() if key in CreateParameters.model_fields}
    names = [values[key] for key in _FILE_NAME_KEYS if key in values]
    if names:
        wanted["file_name"] = names[0][:MAX_FILE_NAME]
    try:
        return text, CreateParameters.model_validate(wanted)
    except ValidationError as error:
        raise RequestValidationError(
            [{**entry, "loc": ("header", "Upload-Metadata", *entry["loc"])} for entry in error.errors()]
        ) from error


def create_option_headers(max_bytes: int) -> dict[str, str]:
    """Return what the server can do."""
    return {
        "Tus-Version": TUS_VERSION,
        "Tus-Extension": ",".join(_EXTENSIONS),
        "Tus-Max-Size": str(max_bytes),
        "Tus-Checksum-Algorithm": ",".join(CHECKSUM_ALGORITHMS),
    }


def create_upload_headers(upload: UploadSnapshot, *, job_path: str) -> dict[str, str]:
    """Return how far an upload came; where it has become a job, which.

    Args:
        upload: The upload.
        job_path: Where clients find the job that it becomes.
    """
    headers = {"Upload-Offset": str(upload.offset_bytes)}
    if upload.is_complete:
        return {**headers, "Emoclip-Job": job_path}
    return {**headers, "Upload-Expires": format_datetime(upload.expires_at, usegmt=True)}


def _parse_metadata(text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        key, _, encoded = pair.partition(" ")
        try:
            value = base64.b64decode(encoded, validate=True).decode()
        except (binascii.Error, ValueError) as error:
            raise InvalidHeaderError(f"Upload-Metadata: the value of {key[:40]!r} is not UTF-8 in base64.") from error
        if key in values:
            raise InvalidHeaderError(f"Upload-Metadata holds the key {key[:40]!r} twice.")
        values[key] = value
    return values


def _is_upload_path(scope: Scope) -> bool:
    path = route_path(scope)
    return path == UPLOADS_PATH or path.startswith(f"{UPLOADS_PATH}/")

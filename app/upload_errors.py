"""What a video on its way in can be refused for, in one request or in pieces; the tree is drawn in app.errors."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import ClassVar

from app.errors import RETRY_SECONDS, ApiError, ProblemCode

__all__ = [
    "CHECKSUM_MISMATCH_STATUS",
    "TUS_VERSION",
    "ChecksumMismatchError",
    "DigestMismatchError",
    "EmptyUploadError",
    "IdempotencyKeyBusyError",
    "IdempotencyKeyUsedError",
    "InvalidHeaderError",
    "MalformedUploadError",
    "MissingVideoError",
    "OffsetConflictError",
    "StorageFullError",
    "TooManyUploadsError",
    "TusVersionError",
    "UnsupportedUploadError",
    "UploadLockedError",
    "UploadNotFoundError",
    "UploadTimeoutError",
    "UploadTooLargeError",
]

CHECKSUM_MISMATCH_STATUS = 460
"""Defined by tus, unknown to HTTP."""
TUS_VERSION = "1.0.0"
_FULL_RETRY_SECONDS = 60


class UploadTimeoutError(ApiError):
    """The body arrives too slowly."""

    status = HTTPStatus.REQUEST_TIMEOUT
    code = ProblemCode.UPLOAD_TIMEOUT


class MalformedUploadError(ApiError):
    """The body is not the multipart form that its header says."""

    status = HTTPStatus.BAD_REQUEST
    code = ProblemCode.MALFORMED_UPLOAD


class InvalidHeaderError(ApiError):
    """A header field that the request depends on is missing or malformed."""

    status = HTTPStatus.BAD_REQUEST
    code = ProblemCode.INVALID_HEADER


class DigestMismatchError(ApiError):
    """What arrived is not what Content-Digest or Repr-Digest says (RFC 9530)."""

    status = HTTPStatus.BAD_REQUEST
    code = ProblemCode.DIGEST_MISMATCH


class ChecksumMismatchError(ApiError):
    """What arrived is not what Upload-Checksum says (tus, checksum)."""

    status = CHECKSUM_MISMATCH_STATUS
    code = ProblemCode.CHECKSUM_MISMATCH


class TusVersionError(ApiError):
    """The client does not say that it speaks our version of tus."""

    status = HTTPStatus.PRECONDITION_FAILED
    code = ProblemCode.TUS_VERSION
    headers: ClassVar[Mapping[str, str]] = {"Tus-Version": TUS_VERSION}


class UploadNotFoundError(ApiError):
    """There is no such resumable upload, or it belongs to somebody else: the answer does not tell which."""

    status = HTTPStatus.NOT_FOUND
    code = ProblemCode.UPLOAD_NOT_FOUND

    def __init__(self) -> None:
        super().__init__("There is no such upload; it may have expired or been deleted. Start a new one.")


class OffsetConflictError(ApiError):
    """A piece of a resumable upload does not begin where the last one ended."""

    status = HTTPStatus.CONFLICT
    code = ProblemCode.OFFSET_CONFLICT


class UploadLockedError(ApiError):
    """Another request is sending the same resumable upload."""

    status = HTTPStatus.LOCKED
    code = ProblemCode.UPLOAD_LOCKED
    retry_seconds = RETRY_SECONDS

    def __init__(self) -> None:
        super().__init__("Another request is sending this upload right now. Try again in a moment.")


class IdempotencyKeyBusyError(ApiError):
    """A request with the same Idempotency-Key has not ended."""

    status = HTTPStatus.CONFLICT
    code = ProblemCode.IDEMPOTENCY_KEY_BUSY
    retry_seconds = RETRY_SECONDS

    def __init__(self) -> None:
        super().__init__("Another request with this Idempotency-Key is being served. Try again when it has ended.")


class IdempotencyKeyUsedError(ApiError):
    """The Idempotency-Key was used for another request."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    code = ProblemCode.IDEMPOTENCY_KEY_USED

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used for another video or other options: take a new key for them.")


class UploadTooLargeError(ApiError):
    """The video has more bytes than are accepted."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    code = ProblemCode.UPLOAD_TOO_LARGE


class UnsupportedUploadError(ApiError):
    """By its own header the body is no video."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    code = ProblemCode.UNSUPPORTED_UPLOAD


class EmptyUploadError(ApiError):
    """The video has no byte."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    code = ProblemCode.EMPTY_UPLOAD


class MissingVideoError(ApiError):
    """The form has no field `video`, or others beside it."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    code = ProblemCode.MISSING_VIDEO


class TooManyUploadsError(ApiError):
    """The client sends as many videos at once as it may."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = ProblemCode.TOO_MANY_UPLOADS
    retry_seconds = RETRY_SECONDS


class StorageFullError(ApiError):
    """There is no room for the video, on the disk or for its job in Redis."""

    status = HTTPStatus.INSUFFICIENT_STORAGE
    code = ProblemCode.STORAGE_FULL
    retry_seconds = _FULL_RETRY_SECONDS

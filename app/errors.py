"""Everything the API can refuse or fail with; app.problems gives it its HTTP form.

    ApiError
    ├── UnauthorizedError        401 unauthorized
    ├── HostRefusedError         403 host_refused
    ├── UploadTimeoutError       408 upload_timeout
    ├── MalformedUploadError     400 malformed_upload
    ├── InvalidHeaderError       400 invalid_header
    ├── DigestMismatchError      400 digest_mismatch
    ├── ChecksumMismatchError    460 checksum_mismatch
    ├── TusVersionError          412 tus_version
    ├── UploadNotFoundError      404 upload_not_found
    ├── OffsetConflictError      409 offset_conflict
    ├── UploadLockedError        423 upload_locked
    ├── IdempotencyKeyBusyError  409 idempotency_key_busy
    ├── IdempotencyKeyUsedError  422 idempotency_key_used
    ├── UploadTooLargeError      413 upload_too_large
    ├── UnsupportedUploadError   415 unsupported_upload
    ├── EmptyUploadError         422 empty_upload
    ├── MissingVideoError        422 missing_video
    ├── InvalidParameterError    422 invalid_parameter
    ├── RefusedPurposeError      422 refused_purpose
    ├── JobNotFoundError         404 job_not_found
    ├── NotAcceptableError       406 not_acceptable
    ├── ResultNotReadyError      409 result_not_ready
    ├── TooManyUploadsError      429 too_many_uploads
    ├── RateLimitedError         429 rate_limited
    ├── TooManyJobsError         429 too_many_jobs
    ├── DailyBytesError          429 daily_bytes
    ├── TooManyStreamsError      429 too_many_streams
    ├── QueueUnavailableError    503 queue_unavailable
    ├── NotReadyError            503 not_ready
    └── StorageFullError         507 storage_full

Those that concern a video on its way in are in app.upload_errors. The codes that no error has belong to answers of the
framework itself, and to an unexpected exception.
"""

from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import ClassVar

__all__ = [
    "RETRY_SECONDS",
    "ApiError",
    "DailyBytesError",
    "HostRefusedError",
    "InvalidParameterError",
    "JobNotFoundError",
    "NotAcceptableError",
    "NotReadyError",
    "ProblemCode",
    "QueueUnavailableError",
    "RateLimitedError",
    "RefusedPurposeError",
    "ResultNotReadyError",
    "TooManyJobsError",
    "TooManyStreamsError",
    "UnauthorizedError",
]

RETRY_SECONDS = 5
_JOB_RETRY_SECONDS = 15
"""Nobody knows when a job ends."""


class ProblemCode(StrEnum):
    """What went wrong, for programs; stable."""

    UNAUTHORIZED = "unauthorized"
    HOST_REFUSED = "host_refused"
    UPLOAD_TIMEOUT = "upload_timeout"
    MALFORMED_UPLOAD = "malformed_upload"
    INVALID_HEADER = "invalid_header"
    DIGEST_MISMATCH = "digest_mismatch"
    CHECKSUM_MISMATCH = "checksum_mismatch"
    TUS_VERSION = "tus_version"
    UPLOAD_NOT_FOUND = "upload_not_found"
    OFFSET_CONFLICT = "offset_conflict"
    UPLOAD_LOCKED = "upload_locked"
    IDEMPOTENCY_KEY_BUSY = "idempotency_key_busy"
    IDEMPOTENCY_KEY_USED = "idempotency_key_used"
    UPLOAD_TOO_LARGE = "upload_too_large"
    UNSUPPORTED_UPLOAD = "unsupported_upload"
    EMPTY_UPLOAD = "empty_upload"
    MISSING_VIDEO = "missing_video"
    INVALID_PARAMETER = "invalid_parameter"
    REFUSED_PURPOSE = "refused_purpose"
    JOB_NOT_FOUND = "job_not_found"
    NOT_ACCEPTABLE = "not_acceptable"
    RESULT_NOT_READY = "result_not_ready"
    TOO_MANY_UPLOADS = "too_many_uploads"
    RATE_LIMITED = "rate_limited"
    TOO_MANY_JOBS = "too_many_jobs"
    DAILY_BYTES = "daily_bytes"
    TOO_MANY_STREAMS = "too_many_streams"
    QUEUE_UNAVAILABLE = "queue_unavailable"
    NOT_READY = "not_ready"
    STORAGE_FULL = "storage_full"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    BAD_REQUEST = "bad_request"
    INTERNAL_ERROR = "internal_error"


class ApiError(Exception):
    """Base of all; the message is one clear sentence for the client."""

    status: ClassVar[int]
    code: ClassVar[ProblemCode]
    headers: ClassVar[Mapping[str, str]] = {}
    retry_seconds: int | None = None
    """When to come back, where that may help."""


class UnauthorizedError(ApiError):
    """No key, or none that is known."""

    status = HTTPStatus.UNAUTHORIZED
    code = ProblemCode.UNAUTHORIZED
    headers: ClassVar[Mapping[str, str]] = {"WWW-Authenticate": "Bearer"}


class HostRefusedError(ApiError):
    """The request names another host, or comes from a page of another one, than a service without keys answers to."""

    status = HTTPStatus.FORBIDDEN
    code = ProblemCode.HOST_REFUSED


class InvalidParameterError(ApiError):
    """A query parameter is refused for a reason that its type does not tell."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    code = ProblemCode.INVALID_PARAMETER


class RefusedPurposeError(ApiError):
    """The video is to be analysed for what the law forbids."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    code = ProblemCode.REFUSED_PURPOSE


class JobNotFoundError(ApiError):
    """There is no such job, or it belongs to somebody else: the answer does not tell which."""

    status = HTTPStatus.NOT_FOUND
    code = ProblemCode.JOB_NOT_FOUND

    def __init__(self) -> None:
        super().__init__("There is no such job; it may have expired or been deleted.")


class NotAcceptableError(ApiError):
    """The client accepts none of the forms that there are."""

    status = HTTPStatus.NOT_ACCEPTABLE
    code = ProblemCode.NOT_ACCEPTABLE
    headers: ClassVar[Mapping[str, str]] = {"Vary": "Accept"}


class ResultNotReadyError(ApiError):
    """The whole result is asked for before the job succeeded."""

    status = HTTPStatus.CONFLICT
    code = ProblemCode.RESULT_NOT_READY


class TooManyStreamsError(ApiError):
    """The client holds as many streams and waiting requests open as it may."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = ProblemCode.TOO_MANY_STREAMS
    retry_seconds = RETRY_SECONDS


class RateLimitedError(ApiError):
    """The API key made as many requests as it may."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = ProblemCode.RATE_LIMITED
    retry_seconds = RETRY_SECONDS


class TooManyJobsError(ApiError):
    """The API key has as many jobs on their way as it may."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = ProblemCode.TOO_MANY_JOBS
    retry_seconds = _JOB_RETRY_SECONDS


class DailyBytesError(ApiError):
    """The API key has sent as many bytes as it may."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = ProblemCode.DAILY_BYTES
    retry_seconds = RETRY_SECONDS


class QueueUnavailableError(ApiError):
    """Redis does not answer."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = ProblemCode.QUEUE_UNAVAILABLE
    retry_seconds = RETRY_SECONDS

    def __init__(self) -> None:
        super().__init__("The job store cannot be reached right now; nothing was changed. Try again in a moment.")


class NotReadyError(ApiError):
    """Jobs would not be worked on right now."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = ProblemCode.NOT_READY
    retry_seconds = RETRY_SECONDS

"""Everything the API can refuse or fail with, and its one HTTP form: `application/problem+json` (RFC 9457).

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

Answers of the framework itself (no such path, method not allowed) take the same form; an unexpected exception is logged
with its traceback, and the client sees 500 `internal_error` only.
"""

import logging
from collections.abc import Mapping, Sequence
from enum import StrEnum
from http import HTTPStatus
from typing import ClassVar

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from app.request_ids import REQUEST_ID_HEADER, get_request_id
from worker.purposes import REFUSED_PURPOSE
from worker.store import StoreFullError, StoreUnavailableError

__all__ = [
    "CHECKSUM_MISMATCH_STATUS",
    "TUS_VERSION",
    "ApiError",
    "ChecksumMismatchError",
    "DailyBytesError",
    "DigestMismatchError",
    "EmptyUploadError",
    "HostRefusedError",
    "IdempotencyKeyBusyError",
    "IdempotencyKeyUsedError",
    "InvalidHeaderError",
    "InvalidParameterError",
    "JobNotFoundError",
    "MalformedUploadError",
    "MissingVideoError",
    "NotAcceptableError",
    "NotReadyError",
    "OffsetConflictError",
    "ParameterError",
    "Problem",
    "ProblemCode",
    "QueueUnavailableError",
    "RateLimitedError",
    "RefusedPurposeError",
    "ResultNotReadyError",
    "StorageFullError",
    "TooManyJobsError",
    "TooManyStreamsError",
    "TooManyUploadsError",
    "TusVersionError",
    "UnauthorizedError",
    "UnsupportedUploadError",
    "UploadLockedError",
    "UploadNotFoundError",
    "UploadTimeoutError",
    "UploadTooLargeError",
    "create_problem_response",
    "install_error_handlers",
]

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 5
CHECKSUM_MISMATCH_STATUS = 460
"""Defined by tus, unknown to HTTP."""
TUS_VERSION = "1.0.0"
_JOB_RETRY_SECONDS = 15
"""Nobody knows when a job ends."""
_FULL_RETRY_SECONDS = 60


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


class ParameterError(BaseModel):
    """One parameter that was refused."""

    parameter: str
    message: str


class Problem(BaseModel):
    """Body of every answer with a status of 400 or more (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: ProblemCode
    request_id: str
    """Stands in the service's log beside the cause."""
    errors: list[ParameterError] | None = None
    """The refused parameters, where `code` is `invalid_parameter`."""


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
    """The request names another host than those that a service without keys answers to."""

    status = HTTPStatus.FORBIDDEN
    code = ProblemCode.HOST_REFUSED


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
    retry_seconds = _RETRY_SECONDS

    def __init__(self) -> None:
        super().__init__("Another request is sending this upload right now. Try again in a moment.")


class IdempotencyKeyBusyError(ApiError):
    """A request with the same Idempotency-Key has not ended."""

    status = HTTPStatus.CONFLICT
    code = ProblemCode.IDEMPOTENCY_KEY_BUSY
    retry_seconds = _RETRY_SECONDS

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


class TooManyUploadsError(ApiError):
    """The client sends as many videos at once as it may."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = ProblemCode.TOO_MANY_UPLOADS
    retry_seconds = _RETRY_SECONDS


class TooManyStreamsError(ApiError):
    """The client holds as many streams and waiting requests open as it may."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = ProblemCode.TOO_MANY_STREAMS
    retry_seconds = _RETRY_SECONDS


class RateLimitedError(ApiError):
    """The API key made as many requests as it may."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = ProblemCode.RATE_LIMITED
    retry_seconds = _RETRY_SECONDS


class TooManyJobsError(ApiError):
    """The API key has as many jobs on their way as it may."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = ProblemCode.TOO_MANY_JOBS
    retry_seconds = _JOB_RETRY_SECONDS


class DailyBytesError(ApiError):
    """The API key has sent as many bytes as it may."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = ProblemCode.DAILY_BYTES
    retry_seconds = _RETRY_SECONDS


class QueueUnavailableError(ApiError):
    """Redis does not answer."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = ProblemCode.QUEUE_UNAVAILABLE
    retry_seconds = _RETRY_SECONDS

    def __init__(self) -> None:
        super().__init__("The job store cannot be reached right now; nothing was changed. Try again in a moment.")


class NotReadyError(ApiError):
    """Jobs would not be worked on right now."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = ProblemCode.NOT_READY
    retry_seconds = _RETRY_SECONDS


class StorageFullError(ApiError):
    """There is no room for the video, on the disk or for its job in Redis."""

    status = HTTPStatus.INSUFFICIENT_STORAGE
    code = ProblemCode.STORAGE_FULL
    retry_seconds = _FULL_RETRY_SECONDS


def create_problem_response(request: Request, error: ApiError) -> Response:
    """Return the HTTP form of an error."""
    wait = {} if error.retry_seconds is None else {"Retry-After": str(error.retry_seconds)}
    return _respond(request, error.status, error.code, str(error), headers={**error.headers, **wait})


def install_error_handlers(app: FastAPI) -> None:
    """Give every error of the application, the framework's own included, its problem form."""
    app.add_exception_handler(ApiError, _answer_api_error)
    app.add_exception_handler(RequestValidationError, _answer_validation_error)
    app.add_exception_handler(HTTPException, _answer_framework_error)
    app.add_exception_handler(StoreUnavailableError, _answer_store_error)
    app.add_exception_handler(ClientDisconnect, _answer_nobody)
    app.add_exception_handler(Exception, _answer_unexpected)


def _answer_api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return create_problem_response(request, error)


def _answer_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    for entry in error.errors():
        if entry["type"] == REFUSED_PURPOSE:
            return create_problem_response(request, RefusedPurposeError(entry["msg"]))
    errors = [
        ParameterError(parameter=".".join(str(part) for part in entry["loc"][1:]), message=entry["msg"])
        for entry in error.errors()
    ]
    detail = "; ".join(f"{entry.parameter}: {entry.message}" for entry in errors)
    return _respond(request, HTTPStatus.UNPROCESSABLE_ENTITY, ProblemCode.INVALID_PARAMETER, detail, errors=errors)


def _answer_framework_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    if status is HTTPStatus.NOT_FOUND:
        code, detail = ProblemCode.NOT_FOUND, f"There is nothing at {request.url.path}; the API is described at /docs."
    elif status is HTTPStatus.METHOD_NOT_ALLOWED:
        code, detail = (
            ProblemCode.METHOD_NOT_ALLOWED,
            f"{request.url.path} does not answer {request.method}, only {(error.headers or {}).get('Allow')}.",
        )
    else:
        code, detail = ProblemCode.BAD_REQUEST, error.detail
    return _respond(request, status, code, detail, headers=error.headers or {})


def _answer_store_error(request: Request, error: Exception) -> Response:
    logger.warning("%s (%s), request %s", error, error.__cause__, get_request_id(request.scope))
    if isinstance(error, StoreFullError):
        return create_problem_response(request, StorageFullError("The job store is full. Try again later."))
    return create_problem_response(request, QueueUnavailableError())


def _answer_nobody(request: Request, error: Exception) -> Response:
    logger.info("client went away, request %s", get_request_id(request.scope))
    return Response(status_code=HTTPStatus.BAD_REQUEST)  # read by nobody: the connection is gone


def _answer_unexpected(request: Request, error: Exception) -> Response:
    logger.error("unexpected error, request %s", get_request_id(request.scope), exc_info=error)
    detail = "Something went wrong on our side; the request id leads to the cause in the service's log."
    return _respond(request, HTTPStatus.INTERNAL_SERVER_ERROR, ProblemCode.INTERNAL_ERROR, detail)


def _respond(
    request: Request,
    status: int,
    code: ProblemCode,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    errors: Sequence[ParameterError] | None = None,
) -> Response:
    request_id = get_request_id(request.scope)
    problem = Problem(
        type=f"urn:emoclip:problem:{code}",
        title="Checksum Mismatch" if status == CHECKSUM_MISMATCH_STATUS else HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        request_id=request_id,
        errors=list(errors) if errors else None,
    )
    return Response(
        problem.model_dump_json(exclude_none=True),
        status_code=status,
        media_type="application/problem+json",
        headers={**(headers or {}), REQUEST_ID_HEADER: request_id},
    )

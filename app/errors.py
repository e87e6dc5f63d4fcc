"""Everything the API can refuse or fail with, and its one HTTP form: `application/problem+json` (RFC 9457).

    ApiError
    ├── UnauthorizedError        401 unauthorized
    ├── UploadTimeoutError       408 upload_timeout
    ├── MalformedUploadError     400 malformed_upload
    ├── UploadTooLargeError      413 upload_too_large
    ├── UnsupportedUploadError   415 unsupported_upload
    ├── EmptyUploadError         422 empty_upload
    ├── MissingVideoError        422 missing_video
    ├── InvalidParameterError    422 invalid_parameter
    ├── JobNotFoundError         404 job_not_found
    ├── ResultNotReadyError      409 result_not_ready
    ├── TooManyUploadsError      429 too_many_uploads
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
from worker.store import StoreFullError, StoreUnavailableError

__all__ = [
    "ApiError",
    "EmptyUploadError",
    "InvalidParameterError",
    "JobNotFoundError",
    "MalformedUploadError",
    "MissingVideoError",
    "NotReadyError",
    "ParameterError",
    "Problem",
    "ProblemCode",
    "QueueUnavailableError",
    "ResultNotReadyError",
    "StorageFullError",
    "TooManyUploadsError",
    "UnauthorizedError",
    "UnsupportedUploadError",
    "UploadTimeoutError",
    "UploadTooLargeError",
    "create_problem_response",
    "install_error_handlers",
]

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 5


class ProblemCode(StrEnum):
    """What went wrong, for programs; stable."""

    UNAUTHORIZED = "unauthorized"
    UPLOAD_TIMEOUT = "upload_timeout"
    MALFORMED_UPLOAD = "malformed_upload"
    UPLOAD_TOO_LARGE = "upload_too_large"
    UNSUPPORTED_UPLOAD = "unsupported_upload"
    EMPTY_UPLOAD = "empty_upload"
    MISSING_VIDEO = "missing_video"
    INVALID_PARAMETER = "invalid_parameter"
    JOB_NOT_FOUND = "job_not_found"
    RESULT_NOT_READY = "result_not_ready"
    TOO_MANY_UPLOADS = "too_many_uploads"
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

    status: ClassVar[HTTPStatus]
    code: ClassVar[ProblemCode]
    headers: ClassVar[Mapping[str, str]] = {}


class UnauthorizedError(ApiError):
    """No key, or none that is known."""

    status = HTTPStatus.UNAUTHORIZED
    code = ProblemCode.UNAUTHORIZED
    headers: ClassVar[Mapping[str, str]] = {"WWW-Authenticate": "Bearer"}


class UploadTimeoutError(ApiError):
    """The body arrives too slowly."""

    status = HTTPStatus.REQUEST_TIMEOUT
    code = ProblemCode.UPLOAD_TIMEOUT


class MalformedUploadError(ApiError):
    """The body is not the multipart form that its header says."""

    status = HTTPStatus.BAD_REQUEST
    code = ProblemCode.MALFORMED_UPLOAD


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


class JobNotFoundError(ApiError):
    """There is no such job, or it belongs to somebody else: the answer does not tell which."""

    status = HTTPStatus.NOT_FOUND
    code = ProblemCode.JOB_NOT_FOUND

    def __init__(self) -> None:
        super().__init__("There is no such job; it may have expired or been deleted.")


class ResultNotReadyError(ApiError):
    """The whole result is asked for before the job succeeded."""

    status = HTTPStatus.CONFLICT
    code = ProblemCode.RESULT_NOT_READY


class TooManyUploadsError(ApiError):
    """The client sends as many videos at once as it may."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = ProblemCode.TOO_MANY_UPLOADS
    headers: ClassVar[Mapping[str, str]] = {"Retry-After": str(_RETRY_SECONDS)}


class QueueUnavailableError(ApiError):
    """Redis does not answer."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = ProblemCode.QUEUE_UNAVAILABLE
    headers: ClassVar[Mapping[str, str]] = {"Retry-After": str(_RETRY_SECONDS)}

    def __init__(self) -> None:
        super().__init__("The job store cannot be reached right now; nothing was changed. Try again in a moment.")


class NotReadyError(ApiError):
    """Jobs would not be worked on right now."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = ProblemCode.NOT_READY
    headers: ClassVar[Mapping[str, str]] = {"Retry-After": str(_RETRY_SECONDS)}


class StorageFullError(ApiError):
    """There is no room for the video, on the disk or for its job in Redis."""

    status = HTTPStatus.INSUFFICIENT_STORAGE
    code = ProblemCode.STORAGE_FULL
    headers: ClassVar[Mapping[str, str]] = {"Retry-After": "60"}


def create_problem_response(request: Request, error: ApiError) -> Response:
    """Return the HTTP form of an error."""
    return _respond(request, error.status, error.code, str(error), headers=error.headers)


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
    status: HTTPStatus,
    code: ProblemCode,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    errors: Sequence[ParameterError] | None = None,
) -> Response:
    request_id = get_request_id(request.scope)
    problem = Problem(
        type=f"urn:emoclip:problem:{code}",
        title=status.phrase,
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

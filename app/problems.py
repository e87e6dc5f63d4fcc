"""The one HTTP form of everything that is refused or fails: `application/problem+json` (RFC 9457).

Answers of the framework itself (no such path, method not allowed) take the same form; an unexpected exception is logged
with its traceback, and the client sees 500 `internal_error` only.
"""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from app.errors import ApiError, ProblemCode, QueueUnavailableError, RefusedPurposeError
from app.request_ids import REQUEST_ID_HEADER, get_request_id
from app.upload_errors import CHECKSUM_MISMATCH_STATUS, StorageFullError
from worker.purposes import REFUSED_PURPOSE
from worker.store import StoreFullError, StoreUnavailableError

__all__ = ["ParameterError", "Problem", "create_problem_response", "install_error_handlers"]

logger = logging.getLogger(__name__)


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

"""Everything that talking to the service can end with; each message is one sentence that may be shown to a person.

ClientError
├── NoAnswerError               the service cannot be reached, or fell silent for longer than the client is patient
├── UnexpectedAnswerError       what answered is not the service, or a version that speaks differently
├── RefusedError                a problem that the service answered with: status, code, request id
│   ├── UnauthorizedError       401: no key, or not a known one
│   ├── NotFoundError           404: no such job, or somebody else's
│   ├── ConflictError           409: the job is not in the state that this needs
│   ├── TooLargeError           413: the video has too many bytes
│   ├── InvalidRequestError     other 4xx: an option or the video is refused
│   ├── TooManyRequestsError    429: longer than the client is patient
│   └── UnavailableError        5xx: longer than the client is patient
├── JobEndedError               the job has ended without a result; holds the job
│   ├── JobFailedError
│   └── JobCanceledError
└── WaitTimeoutError            the job goes on, but the caller's time is over; also a TimeoutError
"""

from collections.abc import Mapping
from http import HTTPStatus

from pydantic import BaseModel

from app.schemas import Job

__all__ = [
    "ClientError",
    "ConflictError",
    "InvalidRequestError",
    "JobCanceledError",
    "JobEndedError",
    "JobFailedError",
    "NoAnswerError",
    "NotFoundError",
    "RefusedError",
    "ServerProblem",
    "TooLargeError",
    "TooManyRequestsError",
    "UnauthorizedError",
    "UnavailableError",
    "UnexpectedAnswerError",
    "WaitTimeoutError",
    "create_refused_error",
]


class ServerProblem(BaseModel):
    """A problem (RFC 9457) as a client should read it: with codes that a newer service may know, nothing required."""

    title: str = ""
    detail: str = ""
    code: str = ""
    request_id: str = ""


class ClientError(Exception):
    """Base of all."""


class NoAnswerError(ClientError):
    """The service cannot be reached, or stopped answering."""


class UnexpectedAnswerError(ClientError):
    """What answered is not the service."""


class RefusedError(ClientError):
    """The service refused the request."""

    def __init__(self, status: int, problem: ServerProblem) -> None:
        super().__init__(problem.detail or problem.title or f"The service answered with the status {status}.")
        self.status = status
        self.code = problem.code
        """For programs, such as `upload_too_large`; stable."""
        self.request_id = problem.request_id
        """Stands in the service's log beside the cause."""


class UnauthorizedError(RefusedError):
    """No key, or not a known one."""


class NotFoundError(RefusedError):
    """There is no such job, or it belongs to somebody else."""


class ConflictError(RefusedError):
    """The job is not in the state that this needs."""


class TooLargeError(RefusedError):
    """The video has too many bytes."""


class InvalidRequestError(RefusedError):
    """An option or the video is refused."""


class TooManyRequestsError(RefusedError):
    """The service asks for a longer pause than the client is patient."""


class UnavailableError(RefusedError):
    """The service failed, is full, or cannot reach its own store."""


class JobEndedError(ClientError):
    """The job has ended without a result."""

    def __init__(self, job: Job) -> None:
        super().__init__(job.error.message if job.error else f"The job was {job.state.value}.")
        self.job = job


class JobFailedError(JobEndedError):
    """The video could not be analysed; `job.error` has the code."""


class JobCanceledError(JobEndedError):
    """Somebody canceled the job."""


class WaitTimeoutError(ClientError, TimeoutError):
    """The job goes on, but the caller's time is over."""


_KINDS: Mapping[int, type[RefusedError]] = {
    HTTPStatus.UNAUTHORIZED: UnauthorizedError,
    HTTPStatus.NOT_FOUND: NotFoundError,
    HTTPStatus.CONFLICT: ConflictError,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: TooLargeError,
    HTTPStatus.TOO_MANY_REQUESTS: TooManyRequestsError,
}


def create_refused_error(status: int, problem: ServerProblem) -> RefusedError:
    """Return the error of a status of 400 or more."""
    return _KINDS.get(status, UnavailableError if status >= 500 else InvalidRequestError)(status, problem)

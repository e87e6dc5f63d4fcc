"""The service from Python: `Client`, and `AsyncClient` with the same methods.

    with Client("http://localhost:8000") as client:
        result = client.analyze("talk.mp4", on_progress=lambda progress: print(progress.stage, progress.done))
    print(result.summary.tracks[0].emotion, result.rows[0].faces)

Imports httpx and the messages' pydantic models, nothing of the service itself.
"""

from app.client_core.asynchronous import AsyncClient
from app.client_core.blocking import Client
from app.client_core.errors import (
    ClientError,
    ConflictError,
    InvalidRequestError,
    JobCanceledError,
    JobEndedError,
    JobFailedError,
    NoAnswerError,
    NotFoundError,
    RefusedError,
    TooLargeError,
    TooManyRequestsError,
    UnauthorizedError,
    UnavailableError,
    UnexpectedAnswerError,
    WaitTimeoutError,
)
from app.client_core.progress import OnProgress, Progress
from app.exports.head import Result
from app.schemas import Job
from worker.contract import FrameRow, JobState

__all__ = [
    "AsyncClient",
    "Client",
    "ClientError",
    "ConflictError",
    "FrameRow",
    "InvalidRequestError",
    "Job",
    "JobCanceledError",
    "JobEndedError",
    "JobFailedError",
    "JobState",
    "NoAnswerError",
    "NotFoundError",
    "OnProgress",
    "Progress",
    "RefusedError",
    "Result",
    "TooLargeError",
    "TooManyRequestsError",
    "UnauthorizedError",
    "UnavailableError",
    "UnexpectedAnswerError",
    "WaitTimeoutError",
]

"""What is said to the service for each thing that a client can do, free of I/O: generators of app.client_core.steps."""

import math
import time
import uuid
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ValidationError

from app.client_core.errors import (
    JobCanceledError,
    JobFailedError,
    ServerProblem,
    UnexpectedAnswerError,
    WaitTimeoutError,
    create_refused_error,
)
from app.client_core.patience import Patience, read_retry_after
from app.client_core.progress import UPLOADING, OnProgress, Progress
from app.client_core.steps import Answer, Call, Pause, Sink, Steps, Upload
from app.exports.head import Result
from app.schemas import FramesPage, Job, JobPage
from worker.contract import JobOptions, JobState

__all__ = ["Conversations", "create_options"]

_POLL_SECONDS = 1.0
"""Where the service does not say how long to wait."""
_LISTED_AT_ONCE = 200

Message = TypeVar("Message", bound=BaseModel)
Parameters = dict[str, str | int | float]


class Conversations:
    """All that can be said to one service."""

    def __init__(self, patience: Patience, *, longest_silence_seconds: float) -> None:
        """Take what both clients know of the connection.

        Args:
            patience: How long an answer is tried to get.
            longest_silence_seconds: How long the server may be silent before it counts as gone.
        """
        self._patience = patience
        # the other half is the answer's own time: a server that waits as asked must not look like a dead one
        self._longest_held_seconds = longest_silence_seconds / 2

    def analyze(
        self,
        path: Path,
        options: JobOptions,
        *,
        file_name: str | None,
        callback_url: str | None,
        smoothing_seconds: float,
        poll_seconds: float | None,
        on_progress: OnProgress | None,
    ) -> Steps[Result]:
        """Send a video, wait for its job and fetch the result.

        Raises:
            JobEndedError: It has none.
        """
        job = yield from self.submit(
            path, options, file_name=file_name, callback_url=callback_url, idempotency_key=None, on_progress=on_progress
        )
        job = yield from self.wait(job.id, timeout_seconds=None, poll_seconds=poll_seconds, on_progress=on_progress)
        _check_succeeded(job)
        result = yield from self.result(job.id, smoothing_seconds=smoothing_seconds)
        return result

    def submit(
        self,
        path: Path,
        options: JobOptions,
        *,
        file_name: str | None,
        callback_url: str | None,
        idempotency_key: str | None,
        on_progress: OnProgress | None,
    ) -> Steps[Job]:
        """Send a video; a second attempt bears the same key, so that it makes no second job."""

        def tell_sent(sent: int, total: int) -> None:
            if on_progress is not None:
                on_progress(Progress(UPLOADING, sent, total))

        chosen = options.model_dump(mode="json", exclude_none=True)
        if callback_url is not None:
            chosen["callback_url"] = callback_url
        call = Call(
            "POST",
            "/v1/jobs",
            parameters={**chosen, "file_name": path.name if file_name is None else file_name},
            headers={
                "Content-Type": "application/octet-stream",
                "Idempotency-Key": idempotency_key or str(uuid.uuid4()),
            },
            upload=Upload(path, tell_sent),
        )
        job = yield from self._ask(call, Job)
        _tell(on_progress, job)
        return job

    def job(self, job_id: str) -> Steps[Job]:
        """Look at a job."""
        job = yield from self._ask(Call("GET", _path(job_id)), Job)
        return job

    def list_page(self, *, limit: int | None, cursor: str | None) -> Steps[JobPage]:
        """Look at a page of the list of jobs, of `limit` jobs if the service gives so many at once."""
        size = _LISTED_AT_ONCE if limit is None else min(limit, _LISTED_AT_ONCE)
        parameters: Parameters = {"limit": size}
        if cursor is not None:
            parameters["cursor"] = cursor
        page = yield from self._ask(Call("GET", "/v1/jobs", parameters), JobPage)
        return page

    def wait(
        self,
        job_id: str,
        *,
        timeout_seconds: float | None,
        poll_seconds: float | None,
        on_progress: OnProgress | None,
    ) -> Steps[Job]:
        """Look at a job until it has ended, however it ends.

        Raises:
            WaitTimeoutError: That takes longer than the caller has time.
        """
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        pause = 0.0
        server_waits = True
        while True:
            # a server that waits itself (RFC 7240) answers the moment the job ends
            held = math.floor(min(pause, self._longest_held_seconds)) if server_waits else 0
            if pause > held:
                yield Pause(pause - held)
            prefer = {"Prefer": f"wait={held}"} if held else {}
            answer = yield from self._exchange(Call("GET", _path(job_id), headers=prefer))
            if held:
                server_waits = "preference-applied" in answer.headers
            job = _read(answer, Job)
            _tell(on_progress, job)
            if job.state.is_terminal:
                return job
            pause = poll_seconds if poll_seconds is not None else read_retry_after(answer) or _POLL_SECONDS
            if deadline is not None:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise WaitTimeoutError(f"The job is still {job.state.value} after {timeout_seconds:g} s.")
                pause = min(pause, left)

    def rows_page(self, job_id: str, *, start: int, limit: int, smoothing_seconds: float) -> Steps[FramesPage]:
        """Fetch a page of rows; of a running job, wait until there are some."""
        parameters: Parameters = {"start": start, "limit": limit, "smoothing_seconds": smoothing_seconds}
        while True:
            answer = yield from self._exchange(Call("GET", f"{_path(job_id)}/frames", parameters))
            page = _read(answer, FramesPage)
            if page.rows or page.next is None:
                return page
            yield Pause(read_retry_after(answer) or _POLL_SECONDS)

    def check_succeeded(self, job_id: str, state: JobState) -> Steps[None]:
        """Say why a job that has ended has no more rows, unless it has all.

        Raises:
            JobEndedError: It failed or was canceled.
        """
        if state is not JobState.SUCCEEDED:
            job = yield from self.job(job_id)
            _check_succeeded(job)

    def result(self, job_id: str, *, smoothing_seconds: float) -> Steps[Result]:
        """Fetch a whole result."""
        parameters: Parameters = {"format": "json", "smoothing_seconds": smoothing_seconds}
        result = yield from self._ask(Call("GET", f"{_path(job_id)}/result", parameters), Result)
        return result

    def download(self, job_id: str, sink: Sink, *, format: str, smoothing_seconds: float) -> Steps[None]:
        """Hand a result's file on as it is."""
        parameters: Parameters = {"format": format, "smoothing_seconds": smoothing_seconds}
        answer = yield from self._exchange(Call("GET", f"{_path(job_id)}/result", parameters, sink=sink))
        _check_accepted(answer)

    def cancel(self, job_id: str) -> Steps[Job]:
        """Stop a job; it keeps its record."""
        job = yield from self._ask(Call("POST", f"{_path(job_id)}/cancel"), Job)
        return job

    def delete(self, job_id: str) -> Steps[None]:
        """Stop and erase a job."""
        answer = yield from self._exchange(Call("DELETE", _path(job_id)))
        if answer.status != HTTPStatus.NOT_FOUND or not answer.is_repeated:  # else an attempt before has erased it
            _check_accepted(answer)

    def _ask(self, call: Call, kind: type[Message]) -> Steps[Message]:
        answer = yield from self._exchange(call)
        return _read(answer, kind)

    def _exchange(self, call: Call) -> Steps[Answer]:
        return self._patience.exchange(call)


def create_options(
    sample_fps: float | None, max_faces: int | None, min_face_pixels: int | None, purpose: str | None
) -> JobOptions:
    """Return the options of a job.

    Raises:
        ValidationError: One makes no sense, or is refused by law; it is a ValueError.
    """
    chosen = {
        "sample_fps": sample_fps,
        "max_faces": max_faces,
        "min_face_pixels": min_face_pixels,
        "purpose": purpose,
    }
    return JobOptions.model_validate(chosen)


def _path(job_id: str) -> str:
    return f"/v1/jobs/{quote(job_id, safe='')}"


def _tell(on_progress: OnProgress | None, job: Job) -> None:
    if on_progress is not None:
        on_progress(Progress(job.state.value, job.progress.frames_done, job.progress.frames_total, job))


def _check_succeeded(job: Job) -> None:
    if job.state is JobState.FAILED:
        raise JobFailedError(job)
    if job.state is JobState.CANCELED:
        raise JobCanceledError(job)


def _check_accepted(answer: Answer) -> None:
    if answer.status >= HTTPStatus.BAD_REQUEST:
        raise create_refused_error(answer.status, _read_problem(answer))
    if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        place = answer.headers.get("location")
        raise UnexpectedAnswerError(
            f"The server answered with the status {answer.status}" + (f" and points to {place}." if place else ".")
        )


def _read_problem(answer: Answer) -> ServerProblem:
    try:
        return ServerProblem.model_validate_json(answer.content)
    except ValidationError:  # a proxy's own page
        return ServerProblem()


def _read(answer: Answer, kind: type[Message]) -> Message:
    _check_accepted(answer)
    try:
        return kind.model_validate_json(answer.content, extra="ignore")  # a newer service may say more
    except ValidationError as error:
        raise UnexpectedAnswerError(
            f"The server answered with something else than a {kind.__name__}: is there another service at this "
            "address, or another version of this one?"
        ) from error

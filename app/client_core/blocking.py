"""Client: the service from ordinary, blocking Python."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, TypeVar

import httpx

from app.client_core.connection import create_connection_settings
from app.client_core.conversations import Conversations, create_options
from app.client_core.patience import FIRST_CONTACT_SECONDS, PATIENCE_SECONDS, Patience
from app.client_core.progress import OnProgress
from app.client_core.sinks import open_sink
from app.client_core.steps import UPLOAD_PIECE_BYTES, Answer, Call, NoAnswer, Pause, Steps, Upload
from app.exports.head import Result
from app.schemas import Job
from worker.contract import FrameRow

__all__ = ["Client"]

T = TypeVar("T")


class Client:
    """One service. Every method may raise a ClientError, whose message is a sentence that can be shown to a person.

    Requests that get no answer, or one that may pass (429, 502, 503, 504), are made again with growing pauses and as
    the server asks by `Retry-After`; so jobs, uploads included, survive a restart of the server.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        patience_seconds: float = PATIENCE_SECONDS,
        first_contact_seconds: float = FIRST_CONTACT_SECONDS,
        timeout_seconds: float = 60.0,
        trust_env: bool = True,
    ) -> None:
        """Make a client; it connects when it is asked something.

        Args:
            url: Address of the service, such as http://localhost:8000.
            key: API key, where the service asks for one.
            patience_seconds: Longest sum of pauses before a request that gets no answer is given up.
            first_contact_seconds: The same for a server that has never answered.
            timeout_seconds: Longest silence of the server within one request.
            trust_env: Whether proxies named in the environment are used.

        Raises:
            ValueError: The address or the key is none.
        """
        settings = create_connection_settings(url, key, timeout_seconds=timeout_seconds, trust_env=trust_env)
        self._http = httpx.Client(**settings)
        self._talk = Conversations(
            Patience(settings["base_url"], patience_seconds, first_contact_seconds),
            longest_silence_seconds=timeout_seconds,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def analyze(
        self,
        path: str | os.PathLike[str],
        *,
        sample_fps: float | None = None,
        max_faces: int | None = None,
        min_face_pixels: int | None = None,
        purpose: str | None = None,
        smoothing_seconds: float = 0.0,
        file_name: str | None = None,
        callback_url: str | None = None,
        poll_seconds: float | None = None,
        on_progress: OnProgress | None = None,
    ) -> Result:
        """Send a video, wait until it is analysed, and return the result: rows, summary, video, model.

        If it is interrupted the job goes on; `wait` and `result` take it up again by the id that `on_progress` got.

        Args:
            path: The video.
            sample_fps: Analyse at most so many frames a second; None analyses every frame.
            max_faces: Keep the so many largest faces of a frame; None keeps all.
            min_face_pixels: Ignore faces narrower or lower than so many pixels.
            purpose: What the video is analysed for; `workplace` and `education` are refused by law.
            smoothing_seconds: Window of a mean over time, applied to the probabilities; 0 gives them as predicted.
            file_name: Name to show for the video; the file's own by default.
            callback_url: https URL to which the service sends the job's end, where its webhooks are on.
            poll_seconds: Time between two looks at the job; as the service asks by default.
            on_progress: Called while the video is sent and with every look at the job.

        Raises:
            JobFailedError: The video cannot be analysed.
            JobCanceledError: Somebody canceled the job.
            OSError: The file cannot be read.
            ValueError: An option makes no sense.
        """
        options = create_options(sample_fps, max_faces, min_face_pixels, purpose)
        return self._run(
            self._talk.analyze(
                Path(path),
                options,
                file_name=file_name,
                callback_url=callback_url,
                smoothing_seconds=smoothing_seconds,
                poll_seconds=poll_seconds,
                on_progress=on_progress,
            )
        )

    def submit(
        self,
        path: str | os.PathLike[str],
        *,
        sample_fps: float | None = None,
        max_faces: int | None = None,
        min_face_pixels: int | None = None,
        purpose: str | None = None,
        file_name: str | None = None,
        callback_url: str | None = None,
        idempotency_key: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> Job:
        """Send a video and return its job, which has just begun.

        Args:
            path: The video.
            sample_fps: Analyse at most so many frames a second.
            max_faces: Keep the so many largest faces of a frame.
            min_face_pixels: Ignore faces narrower or lower than so many pixels.
            purpose: What the video is analysed for; `workplace` and `education` are refused by law.
            file_name: Name to show for the video.
            callback_url: https URL to which the service sends the job's end.
            idempotency_key: Key of the caller's own under which a video makes one job only; a new one by default.
            on_progress: Called while the video is sent, and once with the job.
        """
        options = create_options(sample_fps, max_faces, min_face_pixels, purpose)
        return self._run(
            self._talk.submit(
                Path(path),
                options,
                file_name=file_name,
                callback_url=callback_url,
                idempotency_key=idempotency_key,
                on_progress=on_progress,
            )
        )

    def job(self, job_id: str) -> Job:
        """Return a job as it is now.

        Raises:
            NotFoundError: There is none.
        """
        return self._run(self._talk.job(job_id))

    def jobs(self, *, limit: int | None = None) -> Iterator[Job]:
        """Yield jobs, newest first, without their summaries: all of them, or at most `limit`."""
        left, cursor = limit, None
        while left is None or left > 0:
            page = self._run(self._talk.list_page(limit=left, cursor=cursor))
            yield from page.jobs
            left = None if left is None else left - len(page.jobs)
            cursor = page.next
            if cursor is None:
                return

    def wait(
        self,
        job_id: str,
        *,
        timeout_seconds: float | None = None,
        poll_seconds: float | None = None,
        on_progress: OnProgress | None = None,
    ) -> Job:
        """Return a job when it has ended: succeeded, failed or canceled.

        Raises:
            WaitTimeoutError: It has not ended in time; it goes on.
            NotFoundError: There is no such job.
        """
        return self._run(
            self._talk.wait(job_id, timeout_seconds=timeout_seconds, poll_seconds=poll_seconds, on_progress=on_progress)
        )

    def rows(
        self, job_id: str, *, start: int = 0, smoothing_seconds: float = 0.0, page_rows: int = 1000
    ) -> Iterator[FrameRow]:
        """Yield a row for each analysed frame, while the job still runs as soon as they are final.

        Args:
            job_id: The job.
            start: Place of the first row among the analysed frames: those read before need not be read again.
            smoothing_seconds: Window of a mean over time, applied to the probabilities.
            page_rows: Rows to fetch at once.

        Raises:
            JobEndedError: After its last row, if the job failed or was canceled.
        """
        following: int | None = start
        while following is not None:
            page = self._run(
                self._talk.rows_page(job_id, start=following, limit=page_rows, smoothing_seconds=smoothing_seconds)
            )
            yield from page.rows
            following = page.next
        self._run(self._talk.check_succeeded(job_id, page.state))

    def result(self, job_id: str, *, smoothing_seconds: float = 0.0) -> Result:
        """Return the whole result of a succeeded job.

        Raises:
            ConflictError: It has none, or none yet.
        """
        return self._run(self._talk.result(job_id, smoothing_seconds=smoothing_seconds))

    def download(
        self,
        job_id: str,
        target: str | os.PathLike[str] | BinaryIO,
        *,
        format: str = "json",
        smoothing_seconds: float = 0.0,
    ) -> None:
        """Write the result of a succeeded job as a file, without holding it in memory.

        Args:
            job_id: The job.
            target: File that appears when it is whole, or a binary stream.
            format: `json`, `csv` or any other that the service knows.
            smoothing_seconds: Window of a mean over time, applied to the probabilities.

        Raises:
            ConflictError: The job has no result, or none yet.
            OSError: The target cannot be written.
        """
        with open_sink(target) as sink:
            self._run(self._talk.download(job_id, sink, format=format, smoothing_seconds=smoothing_seconds))

    def cancel(self, job_id: str) -> Job:
        """Stop a job and return it; its record and finished rows stay until they expire. An ended one stays so."""
        return self._run(self._talk.cancel(job_id))

    def delete(self, job_id: str) -> None:
        """Stop a job if it runs and erase it, its video and its rows at once."""
        self._run(self._talk.delete(job_id))

    def _run(self, steps: Steps[T]) -> T:
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    time.sleep(step.seconds)
                    step = steps.send(None)
                else:
                    step = steps.send(self._call(step))
        except StopIteration as end:
            value: T = end.value
            return value

    def _call(self, call: Call) -> Answer | NoAnswer:
        with ExitStack() as stack:
            headers, content = dict(call.headers), None
            if call.upload is not None:
                file = stack.enter_context(call.upload.path.open("rb"))
                size_bytes = os.fstat(file.fileno()).st_size
                headers["Content-Length"] = str(size_bytes)
                content = _iter_upload(file, size_bytes, call.upload)
            try:
                request = self._http.build_request(
                    call.method, call.path, params=dict(call.parameters), headers=headers, content=content
                )
                response = self._http.send(request, stream=True)
                stack.callback(response.close)
                if call.sink is None or not response.is_success:
                    return Answer(response.status_code, response.headers, response.read())
                call.sink.begin()
                for piece in response.iter_bytes():
                    call.sink.write(piece)
                call.sink.commit()
                return Answer(response.status_code, response.headers, b"")
            except httpx.RequestError as error:
                return NoAnswer(error)


def _iter_upload(file: BinaryIO, size_bytes: int, upload: Upload) -> Iterator[bytes]:
    sent = 0
    while piece := file.read(min(UPLOAD_PIECE_BYTES, size_bytes - sent)):  # not what is appended meanwhile
        yield piece
        sent += len(piece)
        upload.on_sent(sent, size_bytes)

"""AsyncClient: the service from asynchronous Python, on asyncio or trio."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, TypeVar

import anyio
import httpx
from anyio import to_thread

from app.client_core.connection import create_connection_settings
from app.client_core.conversations import Conversations, create_options
from app.client_core.patience import FIRST_CONTACT_SECONDS, PATIENCE_SECONDS, Patience
from app.client_core.progress import OnProgress
from app.client_core.sinks import open_sink
from app.client_core.steps import UPLOAD_PIECE_BYTES, Answer, Call, NoAnswer, Pause, Steps, Upload
from app.exports.head import Result
from app.schemas import Job
from worker.contract import FrameRow

__all__ = ["AsyncClient"]

T = TypeVar("T")


class AsyncClient:
    """As app.client.Client, method by method; callbacks are plain functions, called in the event loop."""

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
        """As `Client`."""
        settings = create_connection_settings(url, key, timeout_seconds=timeout_seconds, trust_env=trust_env)
        self._http = httpx.AsyncClient(**settings)
        self._talk = Conversations(
            Patience(settings["base_url"], patience_seconds, first_contact_seconds),
            longest_silence_seconds=timeout_seconds,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def analyze(
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
        """As `Client.analyze`."""
        options = create_options(sample_fps, max_faces, min_face_pixels, purpose)
        return await self._run(
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

    async def submit(
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
        """As `Client.submit`."""
        options = create_options(sample_fps, max_faces, min_face_pixels, purpose)
        return await self._run(
            self._talk.submit(
                Path(path),
                options,
                file_name=file_name,
                callback_url=callback_url,
                idempotency_key=idempotency_key,
                on_progress=on_progress,
            )
        )

    async def job(self, job_id: str) -> Job:
        """As `Client.job`."""
        return await self._run(self._talk.job(job_id))

    async def jobs(self, *, limit: int | None = None) -> AsyncIterator[Job]:
        """As `Client.jobs`."""
        left, cursor = limit, None
        while left is None or left > 0:
            page = await self._run(self._talk.list_page(limit=left, cursor=cursor))
            for job in page.jobs:
                yield job
            left = None if left is None else left - len(page.jobs)
            cursor = page.next
            if cursor is None:
                return

    async def wait(
        self,
        job_id: str,
        *,
        timeout_seconds: float | None = None,
        poll_seconds: float | None = None,
        on_progress: OnProgress | None = None,
    ) -> Job:
        """As `Client.wait`."""
        return await self._run(
            self._talk.wait(job_id, timeout_seconds=timeout_seconds, poll_seconds=poll_seconds, on_progress=on_progress)
        )

    async def rows(
        self, job_id: str, *, start: int = 0, smoothing_seconds: float = 0.0, page_rows: int = 1000
    ) -> AsyncIterator[FrameRow]:
        """As `Client.rows`."""
        following: int | None = start
        while following is not None:
            page = await self._run(
                self._talk.rows_page(job_id, start=following, limit=page_rows, smoothing_seconds=smoothing_seconds)
            )
            for row in page.rows:
                yield row
            following = page.next
        await self._run(self._talk.check_succeeded(job_id, page.state))

    async def result(self, job_id: str, *, smoothing_seconds: float = 0.0) -> Result:
        """As `Client.result`."""
        return await self._run(self._talk.result(job_id, smoothing_seconds=smoothing_seconds))

    async def download(
        self,
        job_id: str,
        target: str | os.PathLike[str] | BinaryIO,
        *,
        format: str = "json",
        smoothing_seconds: float = 0.0,
    ) -> None:
        """As `Client.download`."""
        with open_sink(target) as sink:
            await self._run(self._talk.download(job_id, sink, format=format, smoothing_seconds=smoothing_seconds))

    async def cancel(self, job_id: str) -> Job:
        """As `Client.cancel`."""
        return await self._run(self._talk.cancel(job_id))

    async def delete(self, job_id: str) -> None:
        """As `Client.delete`."""
        await self._run(self._talk.delete(job_id))

    async def _run(self, steps: Steps[T]) -> T:
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    await anyio.sleep(step.seconds)
                    step = steps.send(None)
                else:
                    step = steps.send(await self._call(step))
        except StopIteration as end:
            value: T = end.value
            return value

    async def _call(self, call: Call) -> Answer | NoAnswer:
        async with AsyncExitStack() as stack:
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
                response = await self._http.send(request, stream=True)
                stack.push_async_callback(response.aclose)
                if call.sink is None or not response.is_success:
                    return Answer(response.status_code, response.headers, await response.aread())
                await to_thread.run_sync(call.sink.begin)
                async for piece in response.aiter_bytes():
                    await to_thread.run_sync(call.sink.write, piece)
                await to_thread.run_sync(call.sink.commit)
                return Answer(response.status_code, response.headers, b"")
            except httpx.RequestError as error:
                return NoAnswer(error)


async def _iter_upload(file: BinaryIO, size_bytes: int, upload: Upload) -> AsyncIterator[bytes]:
    sent = 0
    while piece := await to_thread.run_sync(file.read, min(UPLOAD_PIECE_BYTES, size_bytes - sent)):
        yield piece
        sent += len(piece)
        upload.on_sent(sent, size_bytes)

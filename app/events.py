"""The events of one job as a stream (server-sent events): `state`, `progress`, `rows`, `reset` and, last, `end`.

Every event's id names the place that was reached: the generation of the rows, and how many of them were sent. A client
that comes back with the last id it saw (Last-Event-ID) gets the rows that follow, none twice and none lost, from
whichever process it reaches; the other events say how things are now, so the first ones of a stream are enough.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, Self

import anyio
from anyio import to_thread
from fastapi.sse import format_sse_event
from pydantic import BaseModel
from starlette.responses import StreamingResponse
from starlette.types import Message, Send

from app.errors import InvalidParameterError, JobNotFoundError
from app.jobs import Jobs
from app.schemas import EndEvent, Job, ProgressEvent, ResetEvent, RowsEvent
from app.watching import JobWatcher, NothingNewError, WatcherStoppedError
from worker.contract import JobSnapshot
from worker.store import StoreUnavailableError

__all__ = ["EventStream", "JobEvents", "Place"]

_ROWS_AT_ONCE = 100
_RECONNECT_MILLISECONDS = 2000
_STORE_PAUSE_SECONDS = 1.0
_LONGEST_STREAM_SECONDS = 3600.0
"""Then the client comes back by itself: a key that was revoked meanwhile is found out."""
_STALL_SECONDS = 60.0
_ID = re.compile(r"(\d{1,9})-(\d{1,9})(-end)?")

logger = logging.getLogger(__name__)

EventName = Literal["state", "progress", "rows", "reset", "end"]


@dataclass(frozen=True, slots=True)
class Place:
    """How far a stream has come."""

    generation: int = 0
    rows: int = 0
    """Rows of that generation that were sent."""
    is_end: bool = False

    @classmethod
    def parse(cls, event_id: str) -> Self:
        """Return the place that an event's id names; the first one for an empty id.

        Raises:
            InvalidParameterError: It is no id of ours.
        """
        if not event_id:
            return cls()
        match = _ID.fullmatch(event_id)
        if match is None or not event_id.isascii():
            raise InvalidParameterError(
                "The last event id is not one that this service gave; leave it out to start anew."
            )
        return cls(generation=int(match[1]), rows=int(match[2]), is_end=match[3] is not None)

    def __str__(self) -> str:
        return f"{self.generation}-{self.rows}{'-end' if self.is_end else ''}"


class JobEvents:
    """The events of one job for one client."""

    def __init__(
        self,
        jobs: Jobs,
        job_id: str,
        *,
        owner: str,
        show: Callable[[JobSnapshot], Job],
        place: Place,
        with_rows: bool = True,
        smoothing_seconds: float = 0.0,
    ) -> None:
        """Bind, without reading anything.

        Args:
            jobs: Where rows are read.
            job_id: The job.
            owner: Whose job it is.
            show: Makes what the API says of a job.
            place: Where to go on.
            with_rows: Whether rows are wanted.
            smoothing_seconds: How they are smoothed.
        """
        self._jobs = jobs
        self._job_id = job_id
        self._owner = owner
        self._show = show
        self._place = place
        self._with_rows = with_rows
        self._smoothing_seconds = smoothing_seconds
        self._shown_state: object = None
        self._shown_progress: object = None

    async def iterate(
        self, watcher: JobWatcher, readers: anyio.CapacityLimiter, *, heartbeat_seconds: float
    ) -> AsyncGenerator[bytes]:
        """Yield encoded events until the job has ended, or until it is time for the client to come back.

        Args:
            watcher: Tells of the job's changes.
            readers: The threads in which rows are read.
            heartbeat_seconds: Longest silence; then a comment is sent, which keeps proxies from hanging up.
        """
        time = asyncio.get_running_loop().time
        leave_at = time() + _LONGEST_STREAM_SECONDS
        yield format_sse_event(retry=_RECONNECT_MILLISECONDS, comment="events of one job")
        with watcher.watch(self._job_id) as watch:
            job: JobSnapshot | None = None
            is_known = has_more = False
            while time() < leave_at:
                try:
                    job = await watch.wait(seconds=0 if has_more else heartbeat_seconds)
                    is_known = True
                except NothingNewError:
                    if not has_more:
                        yield format_sse_event(comment="nothing new")
                    if not is_known:  # the store has not answered yet
                        continue
                except WatcherStoppedError:
                    return
                if job is None:
                    yield self._encode("end", EndEvent(reason="erased", job=None), is_end=True)
                    return
                for event in self._iter_changes(job):
                    yield event
                has_more = False
                if self._lacks_rows(job):
                    try:
                        page = await to_thread.run_sync(self._read_rows, limiter=readers)
                    except StoreUnavailableError as error:
                        logger.warning("job %s: a stream waits for the store: %s", self._job_id, error)
                        await asyncio.sleep(_STORE_PAUSE_SECONDS)
                        has_more = True
                        continue
                    if page is not None:
                        self._place = replace(self._place, rows=page.next)
                        yield self._encode("rows", page)
                        has_more = True
                        continue
                if job.state.is_terminal and not self._lacks_rows(job):
                    yield self._encode("end", EndEvent(reason="ended", job=self._show(job)), is_end=True)
                    return

    def _lacks_rows(self, job: JobSnapshot) -> bool:
        return self._with_rows and self._place.rows < job.rows_ready

    def _iter_changes(self, job: JobSnapshot) -> Iterator[bytes]:
        if job.generation != self._place.generation:
            had_rows = self._place.rows > 0
            self._place = Place(job.generation)
            if had_rows:
                yield self._encode("reset", ResetEvent(next=0))
        state = (job.state, job.generation, job.model)
        if state != self._shown_state:
            self._shown_state = state
            yield self._encode("state", self._show(job))
        progress = (job.progress.frames_done, job.progress.frames_total, job.rows_ready)
        if progress != self._shown_progress:
            self._shown_progress = progress
            shown = ProgressEvent(state=job.state, rows_ready=job.rows_ready, **job.progress.model_dump())
            yield self._encode("progress", shown)

    def _read_rows(self) -> RowsEvent | None:
        """Return the next rows; None where none is final yet, or the job has changed."""
        place = self._place
        try:
            page = self._jobs.get_rows(
                self._job_id,
                owner=self._owner,
                start=place.rows,
                limit=_ROWS_AT_ONCE,
                smoothing_seconds=self._smoothing_seconds,
            )
            # they may have been made void while they were read
            generation = self._jobs.get(self._job_id, owner=self._owner).generation
        except JobNotFoundError:
            return None
        if not page.rows or {page.job.generation, generation} != {place.generation}:
            return None
        # constructed as it is: a thousand rows would be checked again
        return RowsEvent.model_construct(
            start=place.rows,
            smoothing_seconds=self._smoothing_seconds,
            rows=page.rows,
            next=place.rows + len(page.rows),
        )

    def _encode(self, name: EventName, data: BaseModel, *, is_end: bool = False) -> bytes:
        place = replace(self._place, is_end=is_end)
        return format_sse_event(event=name, id=str(place), data_str=data.model_dump_json())


class EventStream(StreamingResponse):
    """A response of events that ends, too, when the client reads none of them for long.

    fastapi's own (a generator as the endpoint) has no such end, and finds out in the stream what should be a refusal.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes], *, stall_seconds: float = _STALL_SECONDS) -> None:
        # no-store: rows are personal data. Nginx would hold events back until a buffer is full.
        super().__init__(events, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._events = events
        self._stall_seconds = stall_seconds

    async def stream_response(self, send: Send) -> None:
        """Send events as fast as the client reads them; one at a time is held."""

        async def send_in_time(message: Message) -> None:
            try:
                async with asyncio.timeout(self._stall_seconds):
                    await send(message)
            except TimeoutError as error:
                raise _StalledError from error

        # closed here, not when the garbage is collected: so the watch ends with the connection
        async with contextlib.aclosing(self._events):
            try:
                await super().stream_response(send_in_time)
            except _StalledError:
                logger.info("a stream was given up: its client did not read for %g s", self._stall_seconds)


class _StalledError(Exception):
    """The client does not read."""

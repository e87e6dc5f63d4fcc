"""What the API does with jobs: accept a video, find a job, read its rows, erase it.

This file and app.resumable, which takes videos in pieces, are the only users of store and media.

The order of acceptance: what the headers rule out, whether Redis answers, room on the disk; then the body, streamed
into the media store; then the record; then the doorbell. Whatever fails before the record is written leaves
nothing behind. A doorbell that cannot be rung is no failure: the record is the truth, and the sweeper rings again.
"""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from anyio import to_thread
from starlette.requests import Request

from app.errors import (
    IdempotencyKeyBusyError,
    IdempotencyKeyUsedError,
    JobNotFoundError,
    ResultNotReadyError,
    StorageFullError,
)
from app.exports.head import ResultHead, Source, Summary
from app.idempotency import hold_reservation, read_idempotency_key
from app.limits import LimitBook
from app.owner_slots import OwnerSlots
from app.smoothing import half_window_seconds, iter_smoothed
from app.uploads import UploadLimits, check_upload_headers, receive_video
from worker import media
from worker.contract import FrameRow, JobOptions, JobRecord, JobSnapshot, JobState
from worker.intake_store import Created, IntakeStore, Reservation
from worker.store import StoreUnavailableError, new_job_id

__all__ = ["Accepted", "JobWish", "Jobs", "RowsPage", "create_result_head", "translate_full_storage"]

logger = logging.getLogger(__name__)

_JOB_ID = re.compile(r"[0-9a-f]{32}")
_NEIGHBOUR_ROWS = 256
"""Rows beyond a page that are read at once in search of the end of its window."""


@dataclass(frozen=True, slots=True)
class JobWish:
    """What a client wants to be done with its video, and whose job it will be."""

    owner: str
    options: JobOptions
    file_name: str | None = None
    """Name to show; None takes that of the form that brings the video, if it has one."""
    callback_url: str | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """A job that a request for one got."""

    job: JobSnapshot
    is_new: bool
    """False where an earlier request with the same Idempotency-Key had made it."""


@dataclass(frozen=True, slots=True)
class RowsPage:
    """Consecutive rows of a job."""

    job: JobSnapshot
    start: int
    rows: list[FrameRow]

    @property
    def next(self) -> int | None:
        """Place of the rows that follow, None when there will never be any."""
        following = self.start + len(self.rows)
        return None if self.job.state.is_terminal and following >= self.job.rows_ready else following


class Jobs:
    """The jobs of all owners; each method acts for one of them."""

    def __init__(
        self,
        store: IntakeStore,
        uploads: media.MediaStore,
        *,
        ring: Callable[[str], object],
        limits: UploadLimits,
        slots: OwnerSlots,
        book: LimitBook,
    ) -> None:
        self._store = store
        self._uploads = uploads
        self._ring = ring
        self._limits = limits
        self._slots = slots
        self._book = book

    async def accept(self, request: Request, wish: JobWish) -> Accepted:
        """Receive the video of a request and queue it, or find the job that the same request made before.

        Args:
            request: Its body is the video, or a form that holds it; its Idempotency-Key tells whether it is the same.
            wish: What is to be done with the video.

        Raises:
            ApiError: The upload is refused, by its fault or ours.
            StoreUnavailableError: Redis does not answer, or is full.
            ClientDisconnect: The client went away.
        """
        announced_bytes = check_upload_headers(request, self._limits)
        key = read_idempotency_key(request.headers)
        if key is None:
            return Accepted(await self._receive(request, wish, announced_bytes), is_new=True)
        reservation = await to_thread.run_sync(lambda: self._store.reserve(key, owner=wish.owner))
        if reservation.job_id is not None:
            return Accepted(await self._compare(request, wish, reservation.job_id), is_new=False)
        if not reservation.is_ours:
            raise IdempotencyKeyBusyError
        async with hold_reservation(self._store, reservation):
            return Accepted(await self._receive(request, wish, announced_bytes, reservation), is_new=True)

    def get(self, job_id: str, *, owner: str) -> JobSnapshot:
        """Return a job.

        Raises:
            JobNotFoundError: There is none of this owner.
        """
        job = self._store.get(job_id) if _JOB_ID.fullmatch(job_id) else None
        if job is None or job.record.owner != owner:
            raise JobNotFoundError
        return job

    def list_jobs(self, *, owner: str, limit: int, before: str | None) -> tuple[list[JobSnapshot], str | None]:
        """Return an owner's jobs, newest first, and the `before` of the next page, None at the end."""
        found = self._store.list_jobs(owner, limit=limit + 1, before=before)
        return found[:limit], found[limit - 1].record.job_id if len(found) > limit else None

    def get_rows(self, job_id: str, *, owner: str, start: int, limit: int, smoothing_seconds: float) -> RowsPage:
        """Return the rows from a place on that are final: later rows will not change them.

        Raises:
            JobNotFoundError: There is no such job of this owner.
        """
        job = self.get(job_id, owner=owner)  # before the rows: a job that ends in between has at least those it had
        rows = list(self._store.get_rows(job_id, start=start, limit=limit))
        if rows and smoothing_seconds > 0:
            half = half_window_seconds(smoothing_seconds)
            before = self._read_before(job_id, start, since_seconds=rows[0].pts_seconds - half)
            after = self._read_after(job_id, start + len(rows), until_seconds=rows[-1].pts_seconds + half)
            # if `after` holds no row beyond the window, the last windows are only known once the job has ended
            is_complete = job.state.is_terminal
            smoothed = iter_smoothed(
                [*before, *rows, *after], smoothing_seconds=smoothing_seconds, is_complete=is_complete
            )
            rows = list(smoothed)[len(before) : len(before) + len(rows)]
        return RowsPage(job=job, start=start, rows=rows)

    def iter_result(self, job: JobSnapshot, *, smoothing_seconds: float) -> Iterator[FrameRow]:
        """Yield all rows of a succeeded job.

        Raises:
            JobNotFoundError: The job was erased while its rows were read.
        """
        return iter_smoothed(self._iter_all_rows(job), smoothing_seconds=smoothing_seconds)

    def iter_rows_so_far(self, job: JobSnapshot, *, smoothing_seconds: float) -> Iterator[FrameRow]:
        """Yield the rows of a job in any state that are final."""
        return iter_smoothed(
            self._store.iter_rows(job.record.job_id),
            smoothing_seconds=smoothing_seconds,
            is_complete=job.state.is_terminal,
        )

    def delete(self, job_id: str, *, owner: str) -> None:
        """Erase a job in any state, its upload and its rows; a worker on it stops.

        Raises:
            JobNotFoundError: There is no such job of this owner.
        """
        self.get(job_id, owner=owner)
        if not self._store.delete(job_id):
            raise JobNotFoundError
        if self._erase_upload(job_id):
            self._store.confirm_erased(job_id)
        logger.info("job %s: erased", job_id)

    def cancel(self, job_id: str, *, owner: str) -> JobSnapshot:
        """End a job that has not ended; its upload is erased, its record and rows stay. Returns it as it then is.

        Raises:
            JobNotFoundError: There is no such job of this owner.
        """
        self.get(job_id, owner=owner)
        if self._store.cancel(job_id):
            if self._erase_upload(job_id):
                self._store.confirm_erased(job_id)
            logger.info("job %s: canceled", job_id)
        return self.get(job_id, owner=owner)

    def count_workers(self) -> int:
        """Return how many workers were heard from lately."""
        return self._store.count_workers()

    async def _receive(
        self, request: Request, wish: JobWish, announced_bytes: int | None, reservation: Reservation | None = None
    ) -> JobSnapshot:
        with self._slots.hold(wish.owner), translate_full_storage():
            await to_thread.run_sync(self._store.count_workers)  # rather refuse now than after two gigabytes
            job_id = new_job_id()
            async with self._book.admitted(
                wish.owner,
                job_id,
                size_bytes=self._limits.max_bytes if announced_bytes is None else announced_bytes,
                ttl_seconds=2 * self._limits.total_seconds,
            ) as admission:
                with await to_thread.run_sync(self._begin, job_id, announced_bytes or 0) as upload:
                    video = await receive_video(request, upload.write, self._limits)
                    await to_thread.run_sync(upload.commit)
                admission.size_bytes = video.size_bytes
                record = JobRecord(
                    job_id=job_id,
                    owner=wish.owner,
                    options=wish.options,
                    file_name=video.file_name if wish.file_name is None else wish.file_name,
                    size_bytes=video.size_bytes,
                    sha256=video.sha256,
                    callback_url=wish.callback_url,
                )
                job = await to_thread.run_sync(self._queue, record, reservation)
        logger.info("job %s: accepted, %d bytes", job_id, video.size_bytes)
        return job

    async def _compare(self, request: Request, wish: JobWish, job_id: str) -> JobSnapshot:
        """Return the job that an idempotency key stands for, if this request would have made the same one."""
        try:
            job = await to_thread.run_sync(lambda: self.get(job_id, owner=wish.owner))
        except JobNotFoundError as error:  # erased a moment ago, and its key with it
            raise IdempotencyKeyBusyError from error
        record = job.record
        if (record.options, record.callback_url) != (wish.options, wish.callback_url):
            raise IdempotencyKeyUsedError
        with self._slots.hold(wish.owner):
            video = await receive_video(request, lambda _: None, self._limits)
        file_name = video.file_name if wish.file_name is None else wish.file_name
        if (record.sha256, record.file_name) != (video.sha256, file_name):
            raise IdempotencyKeyUsedError
        return job

    def _begin(self, job_id: str, expected_bytes: int) -> media.PendingUpload:
        return self._uploads.begin(job_id, expected_bytes=expected_bytes)

    def _queue(self, record: JobRecord, reservation: Reservation | None) -> JobSnapshot:
        try:
            if reservation is None:
                self._store.create(record)
            elif self._store.create_reserved(record, reservation) is Created.RESERVATION_LOST:
                self._erase_upload(record.job_id)
                raise IdempotencyKeyBusyError
            job = self._store.get(record.job_id)
        except StoreUnavailableError:
            self._erase_upload(record.job_id)
            with suppress(StoreUnavailableError):  # the answer, not the write, may be what was lost
                self._store.delete(record.job_id)
            raise
        if job is None:
            raise JobNotFoundError  # somebody deleted it at once
        self._ring(record.job_id)
        return job

    def _erase_upload(self, job_id: str) -> bool:
        try:
            self._uploads.delete(job_id)
        except OSError:
            logger.exception("job %s: the upload could not be erased, the sweeper will try again", job_id)
            return False
        return True

    def _iter_all_rows(self, job: JobSnapshot) -> Iterator[FrameRow]:
        seen = 0
        for row in self._store.iter_rows(job.record.job_id):
            seen += 1
            yield row
        if seen < job.rows_ready:  # better a broken download than one that looks whole
            raise JobNotFoundError

    def _read_before(self, job_id: str, place: int, *, since_seconds: float) -> list[FrameRow]:
        rows: list[FrameRow] = []
        while place > 0 and (not rows or rows[0].pts_seconds >= since_seconds):
            count = min(place, _NEIGHBOUR_ROWS)
            place -= count
            rows = [*self._store.get_rows(job_id, start=place, limit=count), *rows]
        return rows

    def _read_after(self, job_id: str, place: int, *, until_seconds: float) -> list[FrameRow]:
        rows: list[FrameRow] = []
        while not rows or rows[-1].pts_seconds <= until_seconds:
            found = self._store.get_rows(job_id, start=place + len(rows), limit=_NEIGHBOUR_ROWS)
            if not found:
                break
            rows += found
        return rows


def create_result_head(job: JobSnapshot, *, smoothing_seconds: float) -> ResultHead:
    """Return all of a job's result but its rows.

    Raises:
        ResultNotReadyError: The job has not succeeded.
    """
    if job.state is JobState.SUCCEEDED and job.video and job.model and job.summary is not None:
        record = job.record
        return ResultHead(
            job_id=record.job_id,
            source=Source(file_name=record.file_name, size_bytes=record.size_bytes, sha256=record.sha256),
            video=job.video,
            model=job.model,
            other_models=job.other_models,
            options=record.options,
            smoothing_seconds=smoothing_seconds,
            created_at=job.created_at,
            started_at=job.started_at or job.created_at,
            finished_at=job.finished_at or job.created_at,
            summary=Summary(tracks=list(job.summary)),
        )
    if not job.state.is_terminal:
        raise ResultNotReadyError(f"The job is still {job.state}; rows so far are at its link `frames`.")
    reason = f": {job.failure.message}" if job.failure else "."
    raise ResultNotReadyError(f"The job has no result, it {job.state}{reason}")


@contextmanager
def translate_full_storage() -> Iterator[None]:
    """Turn a full disk inside the context into an answer.

    Raises:
        StorageFullError: There is no room.
    """
    try:
        yield
    except media.StorageFullError as error:
        raise StorageFullError(
            "There is no room for the video right now. Try again later, or with a smaller one."
        ) from error

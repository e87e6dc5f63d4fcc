"""How a video becomes a job in one request; app.resumable takes videos in pieces.

The order of acceptance: what the headers rule out, whether Redis answers, room on the disk; then the body, streamed
into the media store; then the record; then the doorbell. Whatever fails before the record is written leaves
nothing behind. A doorbell that cannot be rung is no failure: the record is the truth, and the sweeper rings again.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from anyio import to_thread
from starlette.requests import Request

from app.errors import JobNotFoundError
from app.idempotency import hold_reservation, read_idempotency_key
from app.jobs import Jobs
from app.limits import LimitBook
from app.owner_slots import OwnerSlots
from app.upload_errors import IdempotencyKeyBusyError, IdempotencyKeyUsedError, StorageFullError
from app.uploads import UploadLimits, check_upload_headers, receive_video
from worker import media
from worker.contract import JobOptions, JobRecord, JobSnapshot
from worker.intake_store import Created, IntakeStore, Reservation
from worker.store import StoreUnavailableError, new_job_id

__all__ = ["Acceptance", "Accepted", "JobWish", "translate_full_storage"]

logger = logging.getLogger(__name__)


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


class Acceptance:
    """Makes jobs of the videos of requests, for all owners."""

    def __init__(
        self,
        jobs: Jobs,
        store: IntakeStore,
        uploads: media.MediaStore,
        *,
        ring: Callable[[str], object],
        limits: UploadLimits,
        slots: OwnerSlots,
        book: LimitBook,
    ) -> None:
        self._jobs = jobs
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
        record = (await to_thread.run_sync(self._find_again, job_id, wish.owner)).record
        if (record.options, record.callback_url) != (wish.options, wish.callback_url):
            raise IdempotencyKeyUsedError
        with self._slots.hold(wish.owner):
            video = await receive_video(request, lambda _: None, self._limits)
        file_name = video.file_name if wish.file_name is None else wish.file_name
        if (record.sha256, record.file_name) != (video.sha256, file_name):
            raise IdempotencyKeyUsedError
        # as it is now: a body may take an hour to arrive
        return await to_thread.run_sync(self._find_again, job_id, wish.owner)

    def _find_again(self, job_id: str, owner: str) -> JobSnapshot:
        try:
            return self._jobs.get(job_id, owner=owner)
        except JobNotFoundError as error:  # erased a moment ago, and its key with it
            raise IdempotencyKeyBusyError from error

    def _begin(self, job_id: str, expected_bytes: int) -> media.PendingUpload:
        return self._uploads.begin(job_id, expected_bytes=expected_bytes)

    def _queue(self, record: JobRecord, reservation: Reservation | None) -> JobSnapshot:
        try:
            if reservation is None:
                self._store.create(record)
            elif self._store.create_reserved(record, reservation) is Created.RESERVATION_LOST:
                self._jobs.erase_upload(record.job_id)
                raise IdempotencyKeyBusyError
            job = self._store.get(record.job_id)
        except StoreUnavailableError:
            with suppress(StoreUnavailableError):  # the answer, not the write, may be what was lost
                self._store.delete(record.job_id)
            self._jobs.erase_upload(record.job_id)
            raise
        if job is None:
            raise JobNotFoundError  # somebody deleted it at once
        self._ring(record.job_id)
        return job


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

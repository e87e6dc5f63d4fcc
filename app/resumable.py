"""Resumable uploads: a video arrives in pieces, over as many requests, connections and lives of the API as it takes.

An upload's id is that of the job to be. What counts is the offset in Redis (worker.intake_store): bytes that the file
holds beyond it were not confirmed and are cut off before the next piece is written. A piece whose checksum was sent
counts whole or not at all; any other one is confirmed now and then while it arrives. A lock on the file lets one
request at a time write, and ends with its process. The last byte and the job's record become true in one step of the
store: whoever is killed before it leaves an upload that lacks a little, and sending that little again makes the job.
A request that holds an upload in silence gives way to another one, so that a client whose connection broke without a
word need not wait until this one is given up.
"""

import asyncio
import hashlib
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from anyio import CancelScope, to_thread
from starlette.requests import Request

from app.acceptance import JobWish, translate_full_storage
from app.digests import BodyDigests, read_piece_digests
from app.errors import ApiError
from app.jobs import Jobs
from app.limits import LimitBook
from app.owner_slots import OwnerSlots
from app.upload_errors import (
    EmptyUploadError,
    OffsetConflictError,
    TooManyUploadsError,
    UploadLockedError,
    UploadNotFoundError,
    UploadTimeoutError,
    UploadTooLargeError,
)
from app.upload_piece import UploadPiece
from app.uploads import WRITE_BYTES, UploadLimits, iter_body
from worker import media
from worker.contract import JobRecord
from worker.intake_store import Created, IntakeStore, UploadRecord, UploadSnapshot
from worker.store import new_job_id

__all__ = ["ResumableLimits", "ResumableUploads"]

logger = logging.getLogger(__name__)

_UPLOAD_ID = re.compile(r"[0-9a-f]{32}")
_CONFIRM_BYTES = 4 * 2**20
_CONFIRM_SECONDS = 2.0
"""At most so much is sent again after this process was killed."""


@dataclass(frozen=True, slots=True)
class ResumableLimits:
    """What holds for resumable uploads beside the limits of every upload."""

    ttl_seconds: float
    """How long one waits for its next piece."""
    most_open: int
    """Unfinished uploads of one owner."""


class ResumableUploads:
    """The resumable uploads of all owners; each method acts for one of them."""

    def __init__(
        self,
        jobs: Jobs,
        store: IntakeStore,
        uploads: media.MediaStore,
        *,
        ring: Callable[[str], object],
        limits: UploadLimits,
        resumable: ResumableLimits,
        slots: OwnerSlots,
        book: LimitBook,
    ) -> None:
        self._jobs = jobs
        self._store = store
        self._uploads = uploads
        self._ring = ring
        self._limits = limits
        self._resumable = resumable
        self._slots = slots
        self._book = book

    @property
    def max_bytes(self) -> int:
        """Largest video."""
        return self._limits.max_bytes

    def open(self, wish: JobWish, *, length_bytes: int, metadata: str) -> UploadSnapshot:
        """Make an upload that has no bytes yet.

        Raises:
            ApiError: It is empty, too large, one too many, or there is no room for it.
            StoreUnavailableError: Redis does not answer, or is full.
        """
        if length_bytes == 0:
            raise EmptyUploadError("The upload is empty: the video has no bytes.")
        if length_bytes > self.max_bytes:
            raise UploadTooLargeError(f"The video is too large: at most {self.max_bytes:,} bytes are accepted.")
        record = UploadRecord(
            upload_id=new_job_id(),
            owner=wish.owner,
            length_bytes=length_bytes,
            options=wish.options,
            file_name=wish.file_name or "",
            callback_url=wish.callback_url,
            metadata=metadata,
        )
        ttl_seconds = self._resumable.ttl_seconds
        self._book.admit(wish.owner, record.upload_id, size_bytes=length_bytes, ttl_seconds=ttl_seconds)
        try:
            if not self._store.open_upload(record, ttl_seconds=ttl_seconds, most=self._resumable.most_open):
                raise TooManyUploadsError(
                    f"At most {self._resumable.most_open} uploads can be unfinished at the same time."
                )
            self._begin(record)
        except Exception:
            self._book.release(wish.owner, record.upload_id, refund_bytes=length_bytes)
            raise
        logger.info("upload %s: opened, %d bytes", record.upload_id, length_bytes)
        return self.get(record.upload_id, owner=wish.owner)

    def get(self, upload_id: str, *, owner: str) -> UploadSnapshot:
        """Return an upload, also after it became a job.

        Raises:
            UploadNotFoundError: There is none of this owner.
        """
        upload = self._store.get_upload(upload_id) if _UPLOAD_ID.fullmatch(upload_id) else None
        if upload is None or upload.record.owner != owner:
            raise UploadNotFoundError
        return upload

    async def append(self, request: Request, upload_id: str, *, owner: str, offset: int) -> UploadSnapshot:
        """Write the body of a request behind what is there; the last byte makes the job.

        Raises:
            ApiError: The piece does not fit, is damaged, too slow or too large; somebody else sends the same upload.
            StoreUnavailableError: Redis does not answer, or is full; what was confirmed counts.
            ClientDisconnect: The client went away; what arrived counts.
        """
        digests = read_piece_digests(request.headers)
        upload = await to_thread.run_sync(lambda: self.get(upload_id, owner=owner))
        length_bytes = upload.record.length_bytes
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and offset + int(announced) > length_bytes:
            raise _too_long(length_bytes)
        if upload.is_complete and offset == length_bytes:
            return upload  # the client did not see our answer
        with (
            self._slots.hold(owner),
            _translate_media(),
            await to_thread.run_sync(lambda: self._take_hold(upload, digests, offset=offset)) as piece,
        ):
            await self._receive(request, piece)
            if piece.end == length_bytes:
                await to_thread.run_sync(self._finish, piece)
            else:
                await to_thread.run_sync(piece.confirm)
        return await to_thread.run_sync(lambda: self.get(upload_id, owner=owner))

    def delete(self, upload_id: str, *, owner: str) -> None:
        """Erase an upload in any state, with the job that it may have become.

        Raises:
            UploadNotFoundError: There is none of this owner.
        """
        upload = self.get(upload_id, owner=owner)
        if not self._store.drop_upload(upload.record):
            self._jobs.delete(upload_id, owner=owner)
            return
        self._book.release(owner, upload_id, refund_bytes=upload.record.length_bytes - upload.offset_bytes)
        self._jobs.erase_upload(upload_id)
        logger.info("upload %s: erased", upload_id)

    def _begin(self, record: UploadRecord) -> None:
        try:
            with translate_full_storage():
                self._uploads.begin_resumable(record.upload_id, expected_bytes=record.length_bytes)
        except Exception:
            self._store.drop_upload(record)
            raise

    def _take_hold(self, upload: UploadSnapshot, digests: BodyDigests, *, offset: int) -> UploadPiece:
        record = upload.record
        _check_offset(upload, offset)  # not where there is a job: then its file is none of our business any more
        try:
            file = self._uploads.resume(record.upload_id, expected_bytes=record.length_bytes - offset)
        except media.UploadBusyError as error:
            # perhaps by a connection that broke without a word: a client that comes back is not to wait for its end
            self._store.ask_for_upload(record)
            raise UploadLockedError from error
        try:
            # looked at again: only from here on nobody else can move the offset
            _check_offset(self.get(record.upload_id, owner=record.owner), offset)
            self._store.note_held(record)
            start = file.rewind(offset)
            piece = UploadPiece(self._store, file, record, digests, self._resumable.ttl_seconds, start)
            if start < offset:  # the host crashed, and its disk remembers less than Redis
                piece.confirm()
                raise OffsetConflictError(f"Only {start} bytes are left of the upload: send it from there.")
        except BaseException:
            file.close()
            raise
        return piece

    async def _receive(self, request: Request, piece: UploadPiece) -> None:
        clock = asyncio.get_running_loop().time
        confirmed_at = clock()

        async def give_way() -> None:
            if await to_thread.run_sync(self._store.is_asked_for, piece.upload):
                raise UploadLockedError

        length_bytes = piece.upload.length_bytes
        try:
            async for data in iter_body(request, self._limits, on_silence=give_way):
                if piece.end + len(data) > length_bytes:
                    raise _too_long(length_bytes)
                piece.add(data)
                is_due = piece.unconfirmed_bytes >= _CONFIRM_BYTES or clock() - confirmed_at >= _CONFIRM_SECONDS
                if is_due and not piece.digests and piece.end < length_bytes:
                    await to_thread.run_sync(piece.confirm)
                    confirmed_at = clock()
                elif piece.waiting_bytes >= WRITE_BYTES:
                    await to_thread.run_sync(piece.write)
            await to_thread.run_sync(piece.write)
            piece.digests.verify()
        except BaseException as error:
            # What was confirmed counts in any case. Of the rest, that of a request that was wrong does not; that of one
            # that was cut off, even by our own end, does, unless a digest was to tell whether it is undamaged.
            is_cut_off = isinstance(error, UploadTimeoutError | UploadLockedError) or not isinstance(error, ApiError)
            if is_cut_off and not piece.digests:
                with CancelScope(shield=True):
                    await to_thread.run_sync(piece.save)
            raise

    def _finish(self, piece: UploadPiece) -> None:
        upload = piece.upload
        piece.file.commit()
        with self._uploads.path(upload.upload_id).open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        record = JobRecord(
            job_id=upload.upload_id,
            owner=upload.owner,
            options=upload.options,
            file_name=upload.file_name,
            size_bytes=upload.length_bytes,
            sha256=sha256,
            callback_url=upload.callback_url,
        )
        if self._store.create_resumed(record) is Created.UPLOAD_GONE:
            self._jobs.erase_upload(upload.upload_id)
            raise UploadNotFoundError
        self._ring(upload.upload_id)
        logger.info("job %s: accepted in pieces, %d bytes", upload.upload_id, upload.length_bytes)


def _check_offset(upload: UploadSnapshot, offset: int) -> None:
    if upload.is_complete:
        raise OffsetConflictError(
            "The upload is complete; its job is named in the header Emoclip-Job of a HEAD request."
        )
    if upload.offset_bytes != offset:
        raise OffsetConflictError(f"The upload goes on at {upload.offset_bytes}, and Upload-Offset is {offset}.")


def _too_long(length_bytes: int) -> UploadTooLargeError:
    return UploadTooLargeError(f"The piece goes beyond the end of the upload: its Upload-Length is {length_bytes:,}.")


@contextmanager
def _translate_media() -> Iterator[None]:
    with translate_full_storage():
        try:
            yield
        except FileNotFoundError as error:  # erased meanwhile
            raise UploadNotFoundError from error

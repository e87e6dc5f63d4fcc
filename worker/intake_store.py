"""IntakeStore: what stands in Redis of a video before it is a job: idempotency keys and resumable uploads.

A reservation says that a request with an idempotency key is in flight; it expires on its own soon after the process
that serves the request died. The script that writes the job's record turns it into the job's name.

A resumable upload's record says how far it came: what its file holds beyond that was not confirmed and does not count.
The offset reaches the upload's length in the script that writes the job's record, so there is no upload that is whole
and has no job, wherever a process ends. Free of torch, numpy and PyAV, so that the API process may import it.
"""

import hashlib
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

from worker import intake_scripts
from worker.contract import Contract, JobOptions, JobRecord
from worker.redis_client import translate_redis_errors
from worker.store import BELLS_KEY, JobStore

__all__ = ["RESERVATION_SECONDS", "Created", "IntakeStore", "Reservation", "UploadRecord", "UploadSnapshot"]

RESERVATION_SECONDS = 30.0
"""How long a key stays reserved for a request that gives no sign of life."""
_RESERVATION_MS = round(RESERVATION_SECONDS * 1000)


class UploadRecord(Contract):
    """A resumable upload as it was asked for."""

    upload_id: str
    """Id of the job to be."""
    owner: str = ""
    length_bytes: int
    options: JobOptions = JobOptions()
    file_name: str = ""
    callback_url: str | None = None
    metadata: str = ""
    """The client's own text, which it may ask for."""


@dataclass(frozen=True, slots=True)
class UploadSnapshot:
    """A resumable upload as it stands now."""

    record: UploadRecord
    offset_bytes: int
    """Bytes that count; equal to the length exactly when there is a job."""
    expires_at: datetime

    @property
    def is_complete(self) -> bool:
        """Whether a job was made of it."""
        return self.offset_bytes == self.record.length_bytes


@dataclass(frozen=True, slots=True)
class Reservation:
    """The outcome of reserving an idempotency key."""

    key: str
    """Redis key, made of a hash."""
    token: str
    """What the caller would hold it as."""
    holder: str
    """What it is held as."""

    @property
    def is_ours(self) -> bool:
        """Whether the caller holds the key."""
        return self.holder == self.token

    @property
    def job_id(self) -> str | None:
        """The job that an earlier request made, None where such a request is still in flight."""
        kind, _, job_id = self.holder.partition(":")
        return job_id if kind == "job" else None


class Created(IntEnum):
    """What became of a new job."""

    CREATED = 1
    """It is queued, also where an answer was lost and this is the second time."""
    RESERVATION_LOST = 2
    """The idempotency key is held by somebody else."""
    UPLOAD_GONE = 3
    """The resumable upload was erased meanwhile."""


class IntakeStore(JobStore):
    """JobStore with the verbs of acceptance."""

    def create_reserved(self, record: JobRecord, reservation: Reservation) -> Created:
        """Write the record of a queued job unless the reservation of its idempotency key was lost."""
        return Created(self._create(record, reservation=reservation.key, token=reservation.token))

    def create_resumed(self, record: JobRecord) -> Created:
        """Write the record of a queued job whose resumable upload is whole, unless that is gone."""
        return Created(self._create(record, resumed_bytes=record.size_bytes))

    def reserve(self, key: str, *, owner: str) -> Reservation:
        """Reserve an owner's idempotency key for a request, or learn who has it."""
        # hashed with the owner's name, neither of them as long or as strange as a client likes
        digest = hashlib.sha256(f"{owner}\0{key}".encode()).hexdigest()
        name, token = f"emoclip:reserved:{digest}", f"flight:{secrets.token_hex(8)}"
        holder: bytes = self._call(intake_scripts.RESERVE, [name], [token, _RESERVATION_MS])
        return Reservation(key=name, token=token, holder=holder.decode())

    def extend(self, reservation: Reservation) -> bool:
        """Keep a reservation for its full time from now; False where it is lost."""
        return bool(self._call(intake_scripts.EXTEND, [reservation.key], [reservation.token, _RESERVATION_MS]))

    def free(self, reservation: Reservation) -> None:
        """Give a reservation up, so that the request may be made again; one that has become a job's name stays."""
        self._call(intake_scripts.FREE, [reservation.key], [reservation.token])

    def open_upload(self, record: UploadRecord, *, ttl_seconds: float, most: int) -> bool:
        """Note a resumable upload.

        Args:
            record: What is known of it.
            ttl_seconds: How long it waits for its next piece.
            most: Unfinished uploads that its owner may have.

        Returns:
            False where the owner has as many already.
        """
        bells_ttl = self._settings.unfinished_ttl_seconds + self._settings.result_ttl_seconds + ttl_seconds
        arguments = (record.upload_id, record.model_dump_json(), round(ttl_seconds * 1000), most)
        keys = [*_upload_keys(record), BELLS_KEY]
        return bool(self._call(intake_scripts.OPEN_UPLOAD, keys, [*arguments, round(bells_ttl * 1000)]))

    def get_upload(self, upload_id: str) -> UploadSnapshot | None:
        """Return a resumable upload, also when it has become a job; None where there is none."""
        key = f"emoclip:upload:{upload_id}"
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.hmget(key, ["record", "offset"])
        pipeline.pttl(key)
        with translate_redis_errors():
            answers: Any = pipeline.execute()
        (record, offset), ttl_ms = answers
        if record is None or ttl_ms < 0:
            return None
        return UploadSnapshot(
            record=UploadRecord.model_validate_json(record),
            offset_bytes=int(offset),
            expires_at=datetime.fromtimestamp(time.time() + ttl_ms / 1000, UTC),
        )

    def put_offset(self, upload: UploadRecord, offset: int, *, ttl_seconds: float) -> bool:
        """Note how far an upload came, short of its end, and give it time anew; False where it is gone.

        Only who holds the upload (MediaStore.resume) may call it.
        """
        assert offset < upload.length_bytes, "the last byte is noted with the job's record"
        keys = [*_upload_keys(upload)]
        return bool(self._call(intake_scripts.PUT_OFFSET, keys, [upload.upload_id, offset, round(ttl_seconds * 1000)]))

    def ask_for_upload(self, upload: UploadRecord) -> None:
        """Note that another request wants to send an upload that is held; whoever holds it in silence gives way."""
        self._call(intake_scripts.ASK_FOR, [_upload_keys(upload)[0]], ["1"])

    def note_held(self, upload: UploadRecord) -> None:
        """Note that whoever asked for an upload may have it by now."""
        self._call(intake_scripts.ASK_FOR, [_upload_keys(upload)[0]], ["0"])

    def is_asked_for(self, upload: UploadRecord) -> bool:
        """Return whether another request waits for an upload."""
        with translate_redis_errors():
            wanted: Any = self._redis.hget(_upload_keys(upload)[0], "wanted")
        return bool(wanted == b"1")

    def drop_upload(self, upload: UploadRecord) -> bool:
        """Forget an unfinished upload; its bytes are the caller's to erase, failing that the sweeper does it.

        Returns:
            False where it has become a job.
        """
        keys = [*_upload_keys(upload), BELLS_KEY, f"emoclip:job:{upload.upload_id}"]
        return bool(self._call(intake_scripts.DROP_UPLOAD, keys, [upload.upload_id]))


def _upload_keys(upload: UploadRecord) -> tuple[str, str]:
    return f"emoclip:upload:{upload.upload_id}", f"emoclip:uploads:{upload.owner}"

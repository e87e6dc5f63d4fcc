"""A piece of a resumable upload: what one request writes and lets count."""

from contextlib import suppress
from types import TracebackType
from typing import Self

from app.digests import BodyDigests
from app.upload_errors import UploadNotFoundError
from worker import media
from worker.intake_store import IntakeStore, UploadRecord
from worker.store import StoreUnavailableError

__all__ = ["UploadPiece"]


class UploadPiece:
    """The body of one request on its way into the file of its upload, which this request holds."""

    def __init__(
        self,
        store: IntakeStore,
        file: media.ResumedUpload,
        upload: UploadRecord,
        digests: BodyDigests,
        ttl_seconds: float,
        start: int,
    ) -> None:
        self.file = file
        self.upload = upload
        self.digests = digests
        self._store = store
        self._ttl_seconds = ttl_seconds
        self._waiting: list[bytes] = []
        self.waiting_bytes = 0
        self._written_to = self._confirmed_to = start

    @property
    def end(self) -> int:
        """Offset behind what arrived."""
        return self._written_to + self.waiting_bytes

    @property
    def unconfirmed_bytes(self) -> int:
        """What would have to be sent again if this process was killed now."""
        return self.end - self._confirmed_to

    def add(self, data: bytes) -> None:
        """Take the next bytes; they are not written yet."""
        self._waiting.append(data)
        self.waiting_bytes += len(data)

    def write(self) -> None:
        """Write what was added. For a thread.

        Raises:
            StorageFullError: The disk is full; what did not fit is forgotten.
        """
        data = b"".join(self._waiting)
        self._waiting.clear()
        self.waiting_bytes = 0  # before the write: none of it must be written twice, whatever happens to it
        self.digests.update(data)
        self.file.write(data)
        self._written_to += len(data)

    def confirm(self) -> None:
        """Write, and let it count. For a thread.

        Raises:
            UploadNotFoundError: The upload was erased meanwhile.
        """
        self.write()
        if not self._store.put_offset(self.upload, self._written_to, ttl_seconds=self._ttl_seconds):
            raise UploadNotFoundError
        self._confirmed_to = self._written_to

    def save(self) -> None:
        """Let count what can be saved of a request that was cut off. For a thread."""
        with suppress(media.StorageFullError):
            self.write()
        # even where the last byte arrived: it counts with the job's record, and nobody waits for that any more
        offset = min(self._written_to, self.upload.length_bytes - 1)
        with suppress(StoreUnavailableError):
            self._store.put_offset(self.upload, offset, ttl_seconds=self._ttl_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()

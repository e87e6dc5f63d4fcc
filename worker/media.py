"""Where uploads live: MediaStore, few verbs that object storage can have as well, and LocalMediaStore, a directory.

A job's upload is `<media>/<job id>/source`, alone in its directory, so that the decoder can be locked into it.
Only ids of jobs reach the file system, never a name from a client. An upload that arrives in several requests is held
by one of them at a time, by a lock of the kernel: it ends with the process, however that ends.
"""

import contextlib
import errno
import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Protocol, Self

__all__ = ["LocalMediaStore", "MediaStore", "PendingUpload", "ResumedUpload", "StorageFullError", "UploadBusyError"]

_JOB_ID = re.compile(r"[0-9a-f]{32}")
_SOURCE = "source"
_PARTIAL = "source.part"


class StorageFullError(Exception):
    """There is no room for an upload. Worth trying again later."""


class UploadBusyError(Exception):
    """Another request holds the upload. Worth trying again in a moment."""


class PendingUpload(Protocol):
    """An upload that is being written. Leaving its context without `commit` aborts it."""

    def write(self, data: bytes) -> None:
        """Append bytes. Raises StorageFullError."""

    def commit(self) -> None:
        """Make the upload durable and visible, as a whole. Raises StorageFullError."""

    def abort(self) -> None:
        """Leave nothing behind; does nothing after `commit`."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


class ResumedUpload(PendingUpload, Protocol):
    """An upload that was kept and goes on, held until its context is left; without `commit` it is kept again."""

    def rewind(self, offset: int) -> int:
        """Cut off what lies behind the offset and go on from there.

        Returns:
            The offset; less where not so much is there.
        """

    def close(self) -> None:
        """Let go of the upload and keep what was written."""


class MediaStore(Protocol):
    """Keeps one file per job."""

    def begin(self, job_id: str, *, expected_bytes: int = 0) -> PendingUpload:
        """Start an upload. Raises StorageFullError where the expected bytes would not leave enough room."""

    def begin_resumable(self, job_id: str, *, expected_bytes: int = 0) -> None:
        """Start an upload that `resume` goes on with. Raises StorageFullError like `begin`."""

    def resume(self, job_id: str, *, expected_bytes: int = 0) -> ResumedUpload:
        """Take hold of a kept upload. Raises UploadBusyError, FileNotFoundError, and StorageFullError like `begin`."""

    def path(self, job_id: str) -> Path:
        """Return a local path of the upload. Raises FileNotFoundError where there is none."""

    def delete(self, job_id: str) -> None:
        """Erase the upload, finished or not, if there is one."""

    def iter_stale_ids(self, *, older_than_seconds: float) -> Iterator[str]:
        """Yield the ids of uploads that nothing was written to for so long."""


class LocalMediaStore:
    """A directory on a disk that the API and all workers see."""

    def __init__(self, directory: Path, *, keep_free_bytes: int = 256 << 20) -> None:
        self._directory = directory.absolute()
        self._keep_free_bytes = keep_free_bytes

    def begin(self, job_id: str, *, expected_bytes: int = 0) -> "LocalUpload":
        """Start an upload; its directory is made with it.

        Args:
            job_id: Id of the job to be.
            expected_bytes: Size as far as the client told it.

        Raises:
            StorageFullError: After it the disk would have less than `keep_free_bytes` left.
        """
        folder = self._folder(job_id)
        self._directory.mkdir(parents=True, exist_ok=True)
        self._check_room(expected_bytes)
        with _translate_full_disk():
            folder.mkdir(mode=0o700, exist_ok=True)
            return LocalUpload(folder)

    def begin_resumable(self, job_id: str, *, expected_bytes: int = 0) -> None:
        """Start an upload that `resume` goes on with; nothing of it is held.

        Raises:
            StorageFullError: As of `begin`.
        """
        self.begin(job_id, expected_bytes=expected_bytes).close()

    def resume(self, job_id: str, *, expected_bytes: int = 0) -> "LocalResumedUpload":
        """Take hold of an upload that was begun and not aborted; where it goes on is for `rewind` to say.

        Args:
            job_id: Id of the job to be.
            expected_bytes: Bytes that are still to come.

        Raises:
            FileNotFoundError: There is none.
            UploadBusyError: Another request, of whatever process, holds it.
            StorageFullError: As of `begin`.
        """
        folder = self._folder(job_id)
        upload = LocalResumedUpload(folder)
        try:
            self._check_room(expected_bytes)
        except StorageFullError:
            upload.close()
            raise
        return upload

    def path(self, job_id: str) -> Path:
        """Return the path of a finished upload.

        Raises:
            FileNotFoundError: There is none.
        """
        path = self._folder(job_id) / _SOURCE
        if not path.is_file():
            raise FileNotFoundError(f"no upload for job {job_id}")
        return path

    def delete(self, job_id: str) -> None:
        """Erase an upload and its directory; one that is not there is no error. Readers that have it open keep it."""
        folder = self._folder(job_id)
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():  # something was created in it meanwhile, or a real error, which this time is raised
            shutil.rmtree(folder)

    def iter_stale_ids(self, *, older_than_seconds: float) -> Iterator[str]:
        """Yield the ids of uploads whose directory and file did not change for so long."""
        limit = time.time() - older_than_seconds
        if not self._directory.is_dir():
            return
        for folder in self._directory.iterdir():
            if _JOB_ID.fullmatch(folder.name) and _changed_at(folder) < limit:
                yield folder.name

    def _check_room(self, expected_bytes: int) -> None:
        free_bytes = shutil.disk_usage(self._directory).free
        if free_bytes < expected_bytes + self._keep_free_bytes:
            raise StorageFullError(f"expected room for {expected_bytes} bytes, got {free_bytes = }")

    def _folder(self, job_id: str) -> Path:
        if not _JOB_ID.fullmatch(job_id):
            raise ValueError(f"expected a job id of 32 hex digits, got {job_id!r}")
        return self._directory / job_id


class LocalUpload:
    """A file under a temporary name, renamed when it is complete and on the disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = self._open()

    def write(self, data: bytes) -> None:
        """Append bytes.

        Raises:
            StorageFullError: The disk is full.
        """
        assert self._file is not None, "the upload has ended"
        view = memoryview(data)
        with _translate_full_disk():
            while view:
                view = view[self._file.write(view) :]

    def commit(self) -> None:
        """Make the upload durable, then visible.

        Raises:
            StorageFullError: The disk is full, which some file systems say only now.
        """
        assert self._file is not None, "the upload has ended"
        with _translate_full_disk():
            os.fsync(self._file.fileno())
            (self._folder / _PARTIAL).rename(self._folder / _SOURCE)
            _sync_directory(self._folder)
            _sync_directory(self._folder.parent)
        self._end()

    def abort(self) -> None:
        """Leave nothing behind; does nothing after `commit`."""
        if self._file is not None:
            self.close()
            shutil.rmtree(self._folder, ignore_errors=True)

    def close(self) -> None:
        """End without `commit`, and keep what was written."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.abort()

    def _open(self) -> IO[bytes]:
        # not where it exists: two requests for one id are a bug, and mixing their bytes would be worse than failing
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        return os.fdopen(os.open(self._folder / _PARTIAL, flags, 0o600), "wb", buffering=0)

    def _end(self) -> None:
        self.close()


class LocalResumedUpload(LocalUpload):
    """The same file, opened again and locked."""

    def rewind(self, offset: int) -> int:
        """Cut off what lies behind the offset and go on from there.

        To be called once it is certain that there is no job of this upload.

        Returns:
            The offset; less where not so much is there, as after a crash of the host.
        """
        assert self._file is not None, "the upload has ended"
        if not (self._folder / _PARTIAL).exists():  # a process ended between `commit` and writing the job's record
            (self._folder / _SOURCE).rename(self._folder / _PARTIAL)
        offset = min(offset, os.fstat(self._file.fileno()).st_size)
        self._file.truncate(offset)
        self._file.seek(offset)
        return offset

    def __exit__(self, *error: object) -> None:
        self.close()

    def _open(self) -> IO[bytes]:
        file = self._open_kept()
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise UploadBusyError("another request holds the upload") from error
        return file

    def _open_kept(self) -> IO[bytes]:
        for name in (_PARTIAL, _SOURCE, _PARTIAL):  # renamed while we looked: it is found the second time
            with contextlib.suppress(FileNotFoundError):
                return os.fdopen(os.open(self._folder / name, os.O_WRONLY | os.O_NOFOLLOW), "wb", buffering=0)
        raise FileNotFoundError(f"no upload for job {self._folder.name}")

    def _end(self) -> None:
        """Stay open: the lock is held until the context is left, when the job's record is written."""


@contextlib.contextmanager
def _translate_full_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFullError("the disk of uploads is full") from error
        raise


def _sync_directory(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _changed_at(folder: Path) -> float:
    times = [0.0]
    for path in (folder, folder / _PARTIAL, folder / _SOURCE):
        with contextlib.suppress(FileNotFoundError):
            times.append(path.stat().st_mtime)
    return max(times)

"""What the API does with jobs that there are: find one, list them, read their rows, cancel and erase them.

app.acceptance and app.resumable make them.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from app.errors import JobNotFoundError, ResultNotReadyError
from app.exports.head import ResultHead, Source, Summary
from app.smoothing import half_window_seconds, iter_smoothed
from worker import media
from worker.contract import FrameRow, JobSnapshot, JobState
from worker.store import JobStore, StoreUnavailableError

__all__ = ["Jobs", "RowsPage", "create_result_head"]

logger = logging.getLogger(__name__)

_JOB_ID = re.compile(r"[0-9a-f]{32}")
_NEIGHBOUR_ROWS = 256
"""Rows beyond a page that are read at once in search of the end of its window."""


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

    def __init__(self, store: JobStore, uploads: media.MediaStore) -> None:
        self._store = store
        self._uploads = uploads

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
        self.erase_upload(job_id)
        logger.info("job %s: erased", job_id)

    def cancel(self, job_id: str, *, owner: str) -> JobSnapshot:
        """End a job that has not ended; its upload is erased, its record and rows stay. Returns it as it then is.

        Raises:
            JobNotFoundError: There is no such job of this owner.
        """
        self.get(job_id, owner=owner)
        if self._store.cancel(job_id):
            self.erase_upload(job_id)
            logger.info("job %s: canceled", job_id)
        return self.get(job_id, owner=owner)

    def erase_upload(self, job_id: str) -> None:
        """Erase the video of a job that has ended, is gone or never was; failing that the sweeper does it."""
        try:
            self._uploads.delete(job_id)
        except OSError:
            logger.exception("job %s: the upload could not be erased, the sweeper will try again", job_id)
            return
        with suppress(StoreUnavailableError):  # then the sweeper finds that there is nothing left to erase
            self._store.confirm_erased(job_id)

    def count_workers(self) -> int:
        """Return how many workers were heard from lately."""
        return self._store.count_workers()

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

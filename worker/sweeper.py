"""The sweeper: rings again for steps that nobody takes, and erases uploads that nobody needs.

Every worker sweeps; the store gives each due step to one of them. Free of torch, numpy and PyAV: it runs in the
worker's main process, which loads none of them.
"""

import logging
import time
from collections.abc import Callable

from worker.media import MediaStore
from worker.work_store import ERASE, Bell, WorkStore

__all__ = ["Sweeper"]

_STALE_UPLOAD_SECONDS = 2 * 3600
"""Longer than any request that brings an upload; what is left of one was left by a process that was killed."""
_STALE_CHECK_SECONDS = 600

logger = logging.getLogger(__name__)


class Sweeper:
    """One look around per call."""

    def __init__(self, store: WorkStore, media: MediaStore, *, ring: Callable[[Bell], object]) -> None:
        self._store = store
        self._media = media
        self._ring = ring
        self._stale_check_due = time.monotonic()

    def sweep(self) -> None:
        """Ring for what is due, erase the uploads of ended and deleted jobs and, now and then, those without a job."""
        for bell in self._store.sweep():
            if bell.unit == ERASE:
                self._media.delete(bell.job_id)
                self._store.confirm_erased(bell.job_id)
            else:
                logger.info("job %s: ringing again for %s", bell.job_id, bell.unit)
                self._ring(bell)
        if time.monotonic() >= self._stale_check_due:
            self._stale_check_due = time.monotonic() + _STALE_CHECK_SECONDS
            self._erase_stale_uploads()

    def _erase_stale_uploads(self) -> None:
        for job_id in self._media.iter_stale_ids(older_than_seconds=_STALE_UPLOAD_SECONDS):
            if not self._store.is_known(job_id):
                logger.info("upload %s has no job, erasing it", job_id)
                self._media.delete(job_id)

"""LeaseKeeper: a thread that keeps a lease while work goes on, passes progress on, and learns when to stop.

A thread, and not the progress callback, because loading models or one slow batch may take longer than a lease lasts.
That a process which hangs does not keep its lease for ever is the hang switch's concern.
"""

import logging
import threading
from collections.abc import Callable
from typing import Self

from worker.redis_client import StoreUnavailableError
from worker.work_store import Lease, WorkStore

__all__ = ["LeaseKeeper"]

_POLL_SECONDS = 0.2

logger = logging.getLogger(__name__)


class LeaseKeeper:
    """Context in which a lease is kept; the worker asks `should_stop` and tells `report`, at no cost."""

    def __init__(self, store: WorkStore, lease: Lease, *, is_draining: Callable[[], bool]) -> None:
        """Bind, without starting.

        Args:
            store: Where the lease is kept.
            lease: The lease.
            is_draining: Whether this process was told to end.
        """
        self._store = store
        self._lease = lease
        self._is_draining = is_draining
        self._frames_done = 0
        self._lost = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"lease-{lease.unit}", daemon=True)

    def report(self, frames_done: int) -> None:
        """Note how many frames of the unit are done."""
        self._frames_done = frames_done

    def should_stop(self) -> bool:
        """Whether to stop at once: the job has ended or is gone, the lease is lost, or the process was told to end."""
        return self._lost or self._is_draining()

    @property
    def is_lost(self) -> bool:
        """Whether somebody else may hold the unit now, or nobody wants it any more."""
        return self._lost

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(_POLL_SECONDS):
            try:
                if not self._store.renew(self._lease, frames_done=self._frames_done):
                    self._lost = True
                    return
            except StoreUnavailableError as error:
                # the work goes on: if the lease expires meanwhile, the store refuses the result
                logger.warning("job %s: lease of %s not renewed: %s", self._lease.job_id, self._lease.unit, error)

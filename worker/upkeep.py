"""Upkeep: the thread in every worker that gives signs of life, sweeps, forgets, and watches over the worker itself.

In a thread of the worker's main process, so that there is no further process (such as Celery's beat) whose death would
stop it, and no task, however long, that it would have to wait for.
"""

import logging
import threading
import time
from collections.abc import Callable

from worker.redis_client import StoreUnavailableError
from worker.settings import QueueSettings
from worker.work_store import WorkStore

__all__ = ["Upkeep"]

logger = logging.getLogger(__name__)


class Upkeep:
    """Beats, sweeps, forgets and watches until it is stopped."""

    def __init__(
        self,
        store: WorkStore,
        settings: QueueSettings,
        *,
        worker: str,
        sweep: Callable[[], None],
        forget: Callable[[], None],
        watch: Callable[[], None],
    ) -> None:
        self._store = store
        self._worker = worker
        self._duties = [
            _Duty(lambda: store.beat(worker), every_seconds=settings.heartbeat_seconds),
            _Duty(sweep, every_seconds=settings.sweep_seconds),
            _Duty(watch, every_seconds=settings.sweep_seconds),
            _Duty(forget, every_seconds=settings.forget_seconds),
        ]
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and sign off."""
        self._stopping.set()
        self._thread.join()
        try:
            self._store.leave(self._worker)
        except StoreUnavailableError as error:
            logger.warning("not signed off: %s", error)

    def _run(self) -> None:
        pause = 0.0
        while not self._stopping.wait(pause):
            pause = min(duty.perform_if_due() for duty in self._duties)


class _Duty:
    """Something done at regular times."""

    def __init__(self, act: Callable[[], None], *, every_seconds: float) -> None:
        self._act = act
        self._every_seconds = every_seconds
        self._due_at = time.monotonic()

    def perform_if_due(self) -> float:
        """Act if it is time to; return the seconds until it is again. Survives everything: nobody would restart it."""
        if time.monotonic() >= self._due_at:
            try:
                self._act()
            except StoreUnavailableError as error:
                logger.warning("upkeep waits for the store: %s", error)
            except Exception:
                logger.exception("upkeep failed")
            self._due_at = time.monotonic() + self._every_seconds
        return max(self._due_at - time.monotonic(), 0.0)

"""The watchdog: ends a worker that takes no message although some wait, so that its supervisor starts another one.

No such state is known. But the messages come through a connection, an event loop and a pool of processes that are not
ours, and each of them has had faults after which a worker looked alive and did nothing for ever.
"""

import logging
import time
from collections.abc import Callable

from worker.redis_client import StoreUnavailableError

__all__ = ["Watchdog"]

logger = logging.getLogger(__name__)


class Watchdog:
    """One look per call."""

    def __init__(
        self,
        *,
        count_waiting: Callable[[], int],
        count_taken: Callable[[], int],
        is_working: Callable[[], bool],
        patience_seconds: float,
        end_process: Callable[[], object],
    ) -> None:
        """Bind.

        Args:
            count_waiting: Messages that nobody has begun to work on; may raise StoreUnavailableError.
            count_taken: Messages that this worker has begun to work on so far.
            is_working: Whether one of them is being worked on; how long that may take is a matter of leases.
            patience_seconds: How long messages may wait beside an idle worker.
            end_process: What happens then.
        """
        self._count_waiting = count_waiting
        self._count_taken = count_taken
        self._is_working = is_working
        self._patience_seconds = patience_seconds
        self._end_process = end_process
        self._taken = 0
        self._idle_since = time.monotonic()

    def look(self) -> None:
        """Compare with the look before.

        Raises:
            StoreUnavailableError: Redis is away, which is no fault of the worker's.
        """
        taken = self._count_taken()
        try:
            waiting = self._count_waiting()
        except StoreUnavailableError:
            self._idle_since = time.monotonic()
            raise
        if waiting == 0 or self._is_working() or taken != self._taken:
            self._taken, self._idle_since = taken, time.monotonic()
        elif time.monotonic() - self._idle_since > self._patience_seconds:
            logger.critical("messages wait, but this worker takes none for %.0f s: ending it", self._patience_seconds)
            self._end_process()

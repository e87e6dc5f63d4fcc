"""What streams and long polls of one API process share: who holds how many open, who looks after their jobs."""

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import anyio
from starlette.requests import Request

from app.errors import TooManyStreamsError
from app.watching import JobWatcher
from worker.store import JobStore

__all__ = ["Live", "StreamSlots", "create_live", "until_client_leaves"]

_READERS = 4
"""Threads that read rows for all streams together, beside the pool of the other requests."""


class StreamSlots:
    """Counts what each owner holds open: streams and long polls."""

    def __init__(self, *, most: int) -> None:
        self._most = most
        self._held: Counter[str] = Counter()

    def count(self, owner: str) -> int:
        """Return how many slots an owner holds."""
        return self._held[owner]

    @contextlib.contextmanager
    def hold(self, owner: str) -> Iterator[None]:
        """Hold a slot inside the context.

        Raises:
            TooManyStreamsError: The owner holds as many as allowed.
        """
        if self._held[owner] >= self._most:
            raise TooManyStreamsError(
                f"At most {self._most} streams and waiting requests can be open at the same time."
            )
        self._held[owner] += 1
        try:
            yield
        finally:
            self._held[owner] -= 1
            if not self._held[owner]:
                del self._held[owner]


@dataclass(frozen=True, slots=True)
class Live:
    """The shared parts."""

    watcher: JobWatcher
    slots: StreamSlots
    readers: anyio.CapacityLimiter
    heartbeat_seconds: float


def create_live(store: JobStore, *, max_streams_at_once: int, heartbeat_seconds: float) -> Live:
    """Return the shared parts of one process; nothing runs until somebody watches."""
    return Live(
        JobWatcher(store),
        StreamSlots(most=max_streams_at_once),
        anyio.CapacityLimiter(_READERS),
        heartbeat_seconds,
    )


@contextlib.asynccontextmanager
async def until_client_leaves(request: Request) -> AsyncIterator[None]:
    """Break off what is awaited inside the context when the connection is gone; its body must have been read."""
    async with anyio.create_task_group() as tasks:

        async def watch_connection() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch_connection)
        yield
        tasks.cancel_scope.cancel()

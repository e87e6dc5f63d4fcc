"""What streams and long polls of one API process share: who holds how many open, who looks after their jobs."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import anyio
from starlette.requests import Request

from app.errors import TooManyStreamsError
from app.owner_slots import OwnerSlots
from app.watching import JobWatcher
from worker.store import JobStore

__all__ = ["Live", "create_live", "until_client_leaves"]

_READERS = 4
"""Threads that read rows for all streams together, beside the pool of the other requests."""


@dataclass(frozen=True, slots=True)
class Live:
    """The shared parts."""

    watcher: JobWatcher
    slots: OwnerSlots
    readers: anyio.CapacityLimiter
    heartbeat_seconds: float


def create_live(store: JobStore, *, max_streams_at_once: int, heartbeat_seconds: float) -> Live:
    """Return the shared parts of one process; nothing runs until somebody watches."""
    return Live(
        JobWatcher(store),
        OwnerSlots(max_streams_at_once, error=TooManyStreamsError, can="streams and waiting requests can be open"),
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

"""JobWatcher: tells every stream and long poll of this process when its job has changed.

One look a quarter of a second, in one thread and one round trip to Redis, for all watched jobs together; none while
nobody watches. So a thousand idle streams cost as much as one: a coroutine each, no thread, no connection. Redis'
keyspace notifications and pub/sub were the alternative. They are lost where a connection breaks, so the record would
have to be read all the same; the first are a setting of the server that hosted ones refuse; and a running job changes
five times a second, more often than it is looked at here. Whatever process a job's clients and workers are connected
to, the record in Redis is what they all see.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterator

import anyio
from anyio import to_thread

from worker.contract import JobSnapshot
from worker.store import JobStore, Pulse, StoreUnavailableError

__all__ = ["JobWatcher", "NothingNewError", "Watch", "WatcherStoppedError"]

_LOOK_SECONDS = 0.25
_STORE_PAUSE_SECONDS = 2.0

logger = logging.getLogger(__name__)


class NothingNewError(Exception):
    """The job did not change in time."""


class WatcherStoppedError(Exception):
    """The process is about to end: answer what is known, the client comes again."""


class Watch:
    """One view of a job. Changes in quick succession are seen as one, so a slow reader holds nothing up."""

    def __init__(self) -> None:
        self._news = asyncio.Event()
        self._job: JobSnapshot | None = None
        self._is_stopped = False

    async def wait(self, *, seconds: float) -> JobSnapshot | None:
        """Return the job when it is seen for the first time or has changed since; None where it is gone.

        Raises:
            NothingNewError: It did not change in so many seconds.
            WatcherStoppedError: The process is about to end.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError as error:
            raise NothingNewError from error
        if self._is_stopped:
            raise WatcherStoppedError
        self._news.clear()
        return self._job

    def tell(self, job: JobSnapshot | None) -> None:
        """Note that the job has changed."""
        self._job = job
        self._news.set()

    def stop(self) -> None:
        """Let whoever waits go."""
        self._is_stopped = True
        self._news.set()


class JobWatcher:
    """Looks at the jobs that are watched; to be used in one event loop."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._watches: dict[str, set[Watch]] = {}
        self._seen: dict[str, tuple[Pulse, JobSnapshot | None]] = {}
        self._thread = anyio.CapacityLimiter(1)  # one of its own: the pool of the other requests is never waited for
        self._look_now = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._is_stopped = False

    @contextlib.contextmanager
    def watch(self, job_id: str) -> Iterator[Watch]:
        """Watch a job inside a context."""
        watch = Watch()
        if self._is_stopped:
            watch.stop()
        if job_id in self._seen:
            watch.tell(self._seen[job_id][1])
        self._watches.setdefault(job_id, set()).add(watch)
        self._look_now.set()
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_until_nobody_watches(), name="job watcher")
        try:
            yield watch
        finally:
            self._watches[job_id].discard(watch)
            if not self._watches[job_id]:
                del self._watches[job_id]
                self._seen.pop(job_id, None)

    async def wait_for_end(self, job_id: str, *, seconds: float) -> None:
        """Return when the job has ended or is gone, when the time is over, or when the process is about to end."""
        with self.watch(job_id) as watch, contextlib.suppress(TimeoutError, NothingNewError, WatcherStoppedError):
            async with asyncio.timeout(seconds):
                while (job := await watch.wait(seconds=seconds)) is not None and not job.state.is_terminal:
                    pass

    def stop(self) -> None:
        """Let all who wait go, now and in future: a server waits for its open answers before it ends."""
        self._is_stopped = True
        for watches in self._watches.values():
            for watch in watches:
                watch.stop()

    async def _look_until_nobody_watches(self) -> None:
        clock = asyncio.get_running_loop().time
        due_at = clock()
        while self._watches:
            self._look_now.clear()
            known: dict[str, Pulse | None] = dict.fromkeys(
                job_id for job_id in self._watches if job_id not in self._seen
            )
            if clock() >= due_at:  # otherwise it is for the new ones alone
                due_at = clock() + _LOOK_SECONDS
                known |= {job_id: pulse for job_id, (pulse, _) in self._seen.items()}
            try:
                changed = await to_thread.run_sync(self._read_changed, known, limiter=self._thread)
            except StoreUnavailableError as error:
                logger.warning("streams wait for the store: %s", error)
                due_at = clock() + _STORE_PAUSE_SECONDS
            except Exception:  # nobody would start it again
                logger.exception("watched jobs cannot be read")
                due_at = clock() + _STORE_PAUSE_SECONDS
            else:
                for job_id, (pulse, job) in changed.items():
                    if job_id in self._watches:
                        self._seen[job_id] = pulse, job
                    for watch in self._watches.get(job_id, ()):
                        watch.tell(job)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._look_now.wait(), due_at - clock())

    def _read_changed(self, known: dict[str, Pulse | None]) -> dict[str, tuple[Pulse, JobSnapshot | None]]:
        pulses = dict(zip(known, self._store.get_pulses(list(known)), strict=True))
        changed = [job_id for job_id, pulse in pulses.items() if pulse != known[job_id]]
        if not changed:
            return {}
        jobs = self._store.get_many(changed)
        return {job_id: (pulses[job_id], job) for job_id, job in zip(changed, jobs, strict=True)}

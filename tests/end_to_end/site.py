"""A site for fault tests: a Redis that keeps its data, workers whose clocks are wrong, and a client beside them."""

import contextlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import httpx

from app.processes import start_process, stop_process, tail_text
from app.redis_server import RedisServer, find_free_port
from tests.worker.jobs import assert_same_rows, create_facts, poll
from tests.worker.worker_process import create_environment, find_children, start_worker, wait_for_worker
from worker.celery_app import create_celery, ring
from worker.contract import FrameRow, JobRecord, JobSnapshot, JobState, SegmentPlan
from worker.media import LocalMediaStore
from worker.redis_client import create_redis_client
from worker.settings import QueueSettings, WorkerSettings
from worker.store import new_job_id
from worker.work_store import INDEX, Bell, WorkStore

RECOVERY_SECONDS = 400
"""Bound of every wait: a lease, a sweep, a new process that loads torch on a busy machine, and the analysis."""
SKEWS_SECONDS = (3600, -3600)
"""How far the clocks of the first, second, third... worker are wrong, in turn: no decision may depend on them."""


class Client:
    """What the API does, without HTTP: uploads, creates, rings, reads."""

    def __init__(self, queue: QueueSettings) -> None:
        self.queue = queue
        self.redis = create_redis_client(queue, retries=40)
        self.store = WorkStore(self.redis, queue)
        self.media = LocalMediaStore(queue.media_dir, keep_free_bytes=0)
        self.celery = create_celery(queue)

    def submit(self, content: bytes, *, rings: int = 1, plans: Sequence[SegmentPlan] = (), frames: int = 0) -> str:
        """Return the id of a new job; with `plans`, for a video of so many frames, it is indexed already."""
        job_id = new_job_id()
        with self.media.begin(job_id) as upload:
            upload.write(content)
            upload.commit()
        self.store.create(JobRecord(job_id=job_id))
        if plans:
            lease = self.store.claim_index(job_id)
            assert lease is not None
            self.store.put_plans(lease, create_facts(frames), plans)
        for _ in range(rings):
            ring(self.celery, Bell(job_id, INDEX))
        return job_id

    def get(self, job_id: str) -> JobSnapshot:
        """Return a job that must exist."""
        job = self.store.get(job_id)
        assert job is not None
        return job

    def wait_for_frames(self, job_id: str) -> None:
        """Return when the first frames of a job are analysed and others are not."""
        assert poll(lambda: self.get(job_id).progress.frames_done, seconds=RECOVERY_SECONDS), self.get(job_id)
        assert self.get(job_id).state is JobState.PROCESSING

    def wait_for_end(self, job_id: str) -> JobSnapshot:
        """Return a job in its terminal state."""
        assert poll(lambda: self.get(job_id).state.is_terminal, seconds=RECOVERY_SECONDS), self.get(job_id)
        return self.get(job_id)

    def wait_for_start(self, job_id: str, unit: str, *, start: int) -> None:
        """Return when a unit was started so many times."""
        assert poll(lambda: self.starts(job_id, unit) == start, seconds=RECOVERY_SECONDS)

    def starts(self, job_id: str, unit: str) -> int:
        """Return how many times a unit was started that counts."""
        return int(self.redis.hget(f"emoclip:job:{job_id}:work", f"{unit}:attempts") or 0)

    def has_uploads(self) -> bool:
        """Whether there is any upload on the disk."""
        return any(self.media.iter_stale_ids(older_than_seconds=-60))

    def assert_undisturbed(self, job_id: str, rows: list[FrameRow]) -> None:
        """Wait for the end of a job and compare it with a quiet run."""
        job = self.wait_for_end(job_id)
        assert job.state is JobState.SUCCEEDED, job.failure
        assert_same_rows(list(self.store.iter_rows(job_id)), rows)
        assert [track.frames for track in job.summary or ()] == [len(rows)]
        assert poll(lambda: not self.has_uploads(), seconds=RECOVERY_SECONDS)

    def close(self) -> None:
        """Drop the connections."""
        self.celery.close()
        self.redis.close()


def create_queue(redis_url: str, directory: Path) -> QueueSettings:
    """Return settings that notice a death in a few seconds."""
    return QueueSettings(
        redis_url=redis_url,
        media_dir=directory / "media",
        lease_seconds=4,
        sweep_seconds=0.2,
        doorbell_seconds=0.5,
        heartbeat_seconds=0.5,
        deaf_seconds=30,
    )


class Site:
    """The processes, and how each of them dies and comes back."""

    def __init__(self, directory: Path, settings: WorkerSettings, stack: ExitStack, *, workers: int = 1) -> None:
        self.server = RedisServer(directory, append_only=True)
        self._directory = directory
        self._settings = settings
        self._redis = self.server.start()
        stack.callback(lambda: stop_process(self._redis, grace_seconds=5))
        self.queue = create_queue(self.server.url, directory)
        self.client = Client(self.queue)
        stack.callback(self.client.close)
        self._api: subprocess.Popen[bytes] | None = None
        self._api_port = find_free_port()
        stack.callback(self._stop_api)
        self.workers = [self.start_worker(number) for number in range(workers)]
        stack.callback(self._stop_workers)
        for worker in self.workers:
            wait_for_worker(self.queue, worker, log=self.log)

    def ensure_api(self) -> None:
        """Start the API unless it runs, and return when it answers."""
        if self._api is None or self._api.poll() is not None:
            command = [sys.executable, "-P", "-m", "app.cli", "api", "--port", str(self._api_port)]
            environment = {**create_environment(self.queue), "EMOCLIP_MIN_FREE_BYTES": "0"}
            self._api = start_process(command, log=self._directory / "api.log", environment=environment)

        def is_ready() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return httpx.get(f"{self.api_url}/readyz", timeout=RECOVERY_SECONDS).is_success
            return False

        assert poll(is_ready, seconds=RECOVERY_SECONDS), tail_text(self._directory / "api.log")

    def kill_api(self) -> None:
        """Kill the API."""
        assert self._api is not None
        self._api.kill()
        self._api.wait()

    @property
    def api_url(self) -> str:
        """Where the API answers."""
        return f"http://127.0.0.1:{self._api_port}"

    @property
    def log(self) -> Path:
        """What all the workers say."""
        return self._directory / "worker.log"

    @property
    def worker(self) -> subprocess.Popen[bytes]:
        """The only worker."""
        (worker,) = self.workers
        return worker

    def start_worker(self, number: int) -> subprocess.Popen[bytes]:
        """Start the worker of a number, without waiting for it."""
        skew = SKEWS_SECONDS[number % len(SKEWS_SECONDS)]
        return start_worker(self.queue, self._settings, log=self.log, skew_seconds=skew)

    def replace_worker(self, number: int) -> None:
        """Start a worker in the place of one that has ended, as a supervisor does."""
        stop_process(self.workers[number], grace_seconds=0)
        self.workers[number] = self.start_worker(number)

    def replace_ended_workers(self) -> int:
        """Start the workers again that have ended by themselves; returns how many."""
        ended = [number for number, worker in enumerate(self.workers) if worker.poll() is not None]
        for number in ended:
            self.replace_worker(number)
        return len(ended)

    def kill_redis(self) -> None:
        """Kill Redis; it stays away until `start_redis`."""
        self._redis.kill()
        self._redis.wait()

    def start_redis(self) -> None:
        """Start Redis on the data that the one before left."""
        self._redis = self.server.start()

    def kill_analysis(self, number: int = 0) -> None:
        """Kill the process of a worker that analyses, if it has one at the moment."""
        for child in find_children(self.workers[number].pid):
            os.kill(child, signal.SIGKILL)

    def find_decoders(self) -> list[int]:
        """Return the decoder processes of all workers."""
        return [
            decoder
            for worker in self.workers
            for analysis in find_children(worker.pid)
            for decoder in find_children(analysis)
        ]

    def choose_worker(self, rng: random.Random) -> int:
        """Return the number of a worker."""
        return rng.randrange(len(self.workers))

    def _stop_api(self) -> None:
        if self._api is not None:
            stop_process(self._api, grace_seconds=5)

    def _stop_workers(self) -> None:
        for worker in self.workers:
            stop_process(worker, grace_seconds=20)

"""What happens to a job when processes really die: it ends once, within bounded time, with the rows of a quiet run."""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis

from app.processes import stop_process
from app.redis_server import RedisServer
from tests.model.miniature import write_tiny_checkpoint
from tests.videos import face_scene, write_constant_rate
from tests.worker.jobs import assert_same_rows, create_facts, poll
from tests.worker.worker_process import find_children, run_worker
from worker.assembly import create_analyzer, create_limits
from worker.celery_app import create_celery, ring
from worker.contract import ErrorCode, FrameRow, JobOptions, JobRecord, JobSnapshot, JobState, SegmentPlan
from worker.index import fallback_plan
from worker.media import LocalMediaStore
from worker.pipeline import analyse_video
from worker.redis_client import create_redis_client
from worker.settings import QueueSettings, WorkerSettings
from worker.store import new_job_id
from worker.work_store import FINISH, INDEX, Bell, WorkStore

FRAMES = 160
SEGMENTS = 20
RECOVERY_SECONDS = 90
"""Bound of every wait: a lease, a sweep, a new process that loads torch on a busy machine, and the analysis."""


class Client:
    """What the API does, without HTTP: uploads, creates, rings, reads."""

    def __init__(self, queue: QueueSettings) -> None:
        self.queue = queue
        self.redis = create_redis_client(queue, retries=20)
        self.store = WorkStore(self.redis, queue)
        self.media = LocalMediaStore(queue.media_dir, keep_free_bytes=0)
        self.celery = create_celery(queue)

    def submit(self, content: bytes, *, rings: int = 1, plans: Sequence[SegmentPlan] = ()) -> str:
        job_id = new_job_id()
        with self.media.begin(job_id) as upload:
            upload.write(content)
            upload.commit()
        self.store.create(JobRecord(job_id=job_id))
        if plans:
            lease = self.store.claim_index(job_id)
            assert lease is not None
            self.store.put_plans(lease, create_facts(FRAMES), plans)
        for _ in range(rings):
            ring(self.celery, Bell(job_id, INDEX))
        return job_id

    def get(self, job_id: str) -> JobSnapshot:
        job = self.store.get(job_id)
        assert job is not None
        return job

    def wait_for_frames(self, job_id: str, frames: int = 1) -> None:
        assert poll(lambda: self.get(job_id).progress.frames_done >= frames, seconds=RECOVERY_SECONDS)
        assert self.get(job_id).state is JobState.PROCESSING

    def wait_for_end(self, job_id: str) -> JobSnapshot:
        assert poll(lambda: self.get(job_id).state.is_terminal, seconds=RECOVERY_SECONDS), self.get(job_id)
        return self.get(job_id)

    def wait_for_start(self, job_id: str, unit: str, *, start: int) -> None:
        assert poll(lambda: self.starts(job_id, unit) == start, seconds=RECOVERY_SECONDS)

    def starts(self, job_id: str, unit: str) -> int:
        return int(self.redis.hget(f"emoclip:job:{job_id}:work", f"{unit}:attempts") or 0)

    def has_uploads(self) -> bool:
        return any(self.media.iter_stale_ids(older_than_seconds=-60))

    def close(self) -> None:
        self.celery.close()
        self.redis.close()


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> WorkerSettings:
    weights = write_tiny_checkpoint(tmp_path_factory.mktemp("weights") / "tiny.safetensors")
    return WorkerSettings(
        device="cpu", weights=weights, long_side=320, upscale_to=320, segment_frames=FRAMES // SEGMENTS
    )


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_constant_rate(tmp_path_factory.mktemp("video") / "face.mp4", FRAMES, scene=face_scene())


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video that is still being analysed whenever the test comes to it."""
    return write_constant_rate(tmp_path_factory.mktemp("video") / "long.mp4", 2000)


@pytest.fixture(scope="module")
def undisturbed(video: Path, settings: WorkerSettings) -> list[FrameRow]:
    return analyse_video(create_analyzer(settings), video, JobOptions(), create_limits(settings)).rows


def create_queue(redis_url: str, directory: Path) -> QueueSettings:
    """Settings that notice a death in a second or two."""
    return QueueSettings(
        redis_url=redis_url,
        media_dir=directory / "media",
        lease_seconds=2,
        sweep_seconds=0.2,
        doorbell_seconds=0.5,
        heartbeat_seconds=0.5,
    )


class Site:
    """A Redis that keeps its data, and a worker that most tests here share, as loading torch takes longest of all."""

    def __init__(self, directory: Path, settings: WorkerSettings, stack: ExitStack) -> None:
        self._server = RedisServer(directory, append_only=True)
        self._redis = self._server.start()
        stack.callback(lambda: stop_process(self._redis, grace_seconds=5))
        queue = create_queue(self._server.url, directory)
        self.client = Client(queue)
        stack.callback(self.client.close)
        self.worker = stack.enter_context(run_worker(queue, settings, log=directory / "worker.log"))

    def kill_redis(self) -> None:
        self._redis.kill()
        self._redis.wait()
        self._redis = self._server.start()

    def kill_analysis(self) -> None:
        (analysis,) = find_children(self.worker.pid)
        os.kill(analysis, signal.SIGKILL)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, settings: WorkerSettings) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(tmp_path_factory.mktemp("site"), settings, stack)


@pytest.fixture
def client(site: Site) -> Iterator[Client]:
    yield site.client
    assert site.worker.poll() is None, "no fault may end the worker"


@pytest.fixture
def lonely(redis_client: redis.Redis, redis_url: str, tmp_path: Path) -> Iterator[Client]:
    """A client without any worker; the test starts its own."""
    client = Client(create_queue(redis_url, tmp_path))
    yield client
    client.close()


def assert_undisturbed(client: Client, job_id: str, undisturbed: list[FrameRow]) -> None:
    job = client.wait_for_end(job_id)
    assert job.state is JobState.SUCCEEDED, job.failure
    assert_same_rows(list(client.store.iter_rows(job_id)), undisturbed)
    assert [track.frames for track in job.summary or ()] == [FRAMES]
    assert poll(lambda: not client.has_uploads())


def test_lost_message_only_delays_a_job(client: Client, video: Path, undisturbed: list[FrameRow]) -> None:
    job_id = client.submit(video.read_bytes(), rings=0)
    assert_undisturbed(client, job_id, undisturbed)


def test_lost_queue_only_delays_a_job(client: Client, video: Path, undisturbed: list[FrameRow]) -> None:
    job_id = client.submit(video.read_bytes())
    client.wait_for_frames(job_id)
    client.redis.delete(client.queue.queue_name)
    assert_undisturbed(client, job_id, undisturbed)


def test_messages_that_come_several_times_change_nothing(
    client: Client, video: Path, undisturbed: list[FrameRow]
) -> None:
    job_id = client.submit(video.read_bytes(), rings=3)
    client.wait_for_frames(job_id)
    for unit in [INDEX, *(str(segment) for segment in range(SEGMENTS)), FINISH]:
        ring(client.celery, Bell(job_id, unit))
        ring(client.celery, Bell(job_id, unit))
    assert_undisturbed(client, job_id, undisturbed)


def test_job_deleted_while_it_runs_leaves_nothing_and_frees_the_worker(
    client: Client, long_video: Path, video: Path, undisturbed: list[FrameRow]
) -> None:
    job_id = client.submit(long_video.read_bytes(), rings=0, plans=[fallback_plan()])
    client.wait_for_frames(job_id)
    client.store.delete(job_id)
    assert poll(lambda: client.redis.keys(f"*{job_id}*") == [] and not client.has_uploads())
    assert_undisturbed(client, client.submit(video.read_bytes()), undisturbed)


def test_killed_redis_comes_back_and_the_job_ends(
    site: Site, client: Client, video: Path, undisturbed: list[FrameRow]
) -> None:
    job_id = client.submit(video.read_bytes())
    client.wait_for_frames(job_id)
    site.kill_redis()
    assert_undisturbed(client, job_id, undisturbed)


def test_killed_analysis_is_started_again_by_its_worker(
    site: Site, client: Client, video: Path, undisturbed: list[FrameRow]
) -> None:
    job_id = client.submit(video.read_bytes())
    client.wait_for_frames(job_id)
    site.kill_analysis()
    assert_undisturbed(client, job_id, undisturbed)


def test_analysis_that_dies_at_every_start_is_poison_after_three(site: Site, client: Client, long_video: Path) -> None:
    job_id = client.submit(long_video.read_bytes(), rings=0, plans=[fallback_plan()])
    for start in (1, 2, 3):
        client.wait_for_start(job_id, "0", start=start)
        site.kill_analysis()
    failure = client.wait_for_end(job_id).failure
    assert failure is not None
    assert failure.code is ErrorCode.POISON
    assert poll(lambda: not client.has_uploads())


def test_killed_worker_leaves_a_job_that_the_next_one_ends(
    lonely: Client, settings: WorkerSettings, video: Path, undisturbed: list[FrameRow], tmp_path: Path
) -> None:
    with run_worker(lonely.queue, settings, log=tmp_path / "killed.log") as worker:
        job_id = lonely.submit(video.read_bytes())
        lonely.wait_for_frames(job_id)
        children = find_children(worker.pid)
        worker.kill()
        worker.wait()
        assert poll(lambda: not any(Path(f"/proc/{child}/exe").exists() for child in children)), "orphans"
    with run_worker(lonely.queue, settings, log=tmp_path / "next.log"):
        assert_undisturbed(lonely, job_id, undisturbed)


def test_stopped_worker_gives_its_segment_back_at_once(
    lonely: Client, settings: WorkerSettings, video: Path, tmp_path: Path
) -> None:
    with run_worker(lonely.queue, settings, log=tmp_path / "worker.log") as worker:
        job_id = lonely.submit(video.read_bytes())
        lonely.wait_for_frames(job_id)
        worker.terminate()
        assert worker.wait(timeout=10) == 0
    assert lonely.get(job_id).state is JobState.PROCESSING
    assert [lonely.starts(job_id, str(segment)) for segment in range(SEGMENTS)] == [0] * SEGMENTS
    assert lonely.store.count_workers() == 0


def test_two_workers_share_one_video(
    lonely: Client, settings: WorkerSettings, video: Path, undisturbed: list[FrameRow], tmp_path: Path
) -> None:
    logs = [tmp_path / "one.log", tmp_path / "two.log"]
    with ExitStack() as stack:
        for log in logs:
            stack.enter_context(run_worker(lonely.queue, settings, log=log))
        assert poll(lambda: all("loaded " in log.read_text() for log in logs), seconds=RECOVERY_SECONDS)
        job_id = lonely.submit(video.read_bytes())
        assert_undisturbed(lonely, job_id, undisturbed)
    assert [f"{job_id}: analysed segment" in log.read_text() for log in logs] == [True, True]

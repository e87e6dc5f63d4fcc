"""What happens to a job when processes really die: it ends once, within bounded time, with the rows of a quiet run."""

import os
import random
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis

from tests.end_to_end.random_faults import FAULTS, strike
from tests.end_to_end.site import RECOVERY_SECONDS, Client, Site, create_queue
from tests.model.miniature import write_tiny_checkpoint
from tests.videos import face_scene, write_constant_rate
from tests.worker.jobs import poll
from tests.worker.worker_process import find_children, run_worker
from worker.assembly import create_analyzer, create_limits
from worker.contract import ErrorCode, FrameRow, JobOptions, JobState
from worker.index import fallback_plan
from worker.pipeline import analyse_video
from worker.settings import WorkerSettings

# the waits are long enough for a machine with ten times as much to do; several stand in one test
pytestmark = pytest.mark.timeout(1200)

FRAMES = 80
SEGMENTS = 10


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> WorkerSettings:
    weights = write_tiny_checkpoint(tmp_path_factory.mktemp("weights") / "tiny.safetensors")
    return WorkerSettings(
        device="cpu",
        weights=weights,
        long_side=320,
        upscale_to=320,
        segment_frames=FRAMES // SEGMENTS,
        stall_seconds=10,
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


# the others have tests of their own, here or with the steps; `make test-faults` runs all of them many times
SAMPLED = FAULTS.keys() - {
    "worker killed",
    "worker stopped",
    "analysing process killed",
    "analysing process stopped",
    "redis killed",
    "memory refused",
}


@pytest.mark.parametrize("kind", sorted(SAMPLED))
def test_fault_at_a_random_moment_is_survived(
    site: Site, client: Client, video: Path, undisturbed: list[FrameRow], kind: str
) -> None:
    rng = random.Random(f"{os.environ.get('EMOCLIP_FAULT_SEED', '1')} {kind} 0")
    outcome = strike(site, kind, video=video.read_bytes(), rows=undisturbed, rng=rng, seconds=1.5)
    assert outcome.ended_workers == 0, "no fault may end the worker"


def test_lost_message_only_delays_a_job(client: Client, video: Path, undisturbed: list[FrameRow]) -> None:
    job_id = client.submit(video.read_bytes(), rings=0)
    client.assert_undisturbed(job_id, undisturbed)


def test_job_deleted_while_it_runs_leaves_nothing_and_frees_the_worker(
    client: Client, long_video: Path, video: Path, undisturbed: list[FrameRow]
) -> None:
    job_id = client.submit(long_video.read_bytes(), rings=0, plans=[fallback_plan()], frames=FRAMES)
    client.wait_for_frames(job_id)
    client.store.delete(job_id)
    assert poll(lambda: client.redis.keys(f"*{job_id}*") == [] and not client.has_uploads())
    client.assert_undisturbed(client.submit(video.read_bytes()), undisturbed)


def test_killed_redis_comes_back_and_the_job_ends(
    site: Site, client: Client, video: Path, undisturbed: list[FrameRow]
) -> None:
    job_id = client.submit(video.read_bytes())
    client.wait_for_frames(job_id)
    site.kill_redis()
    site.start_redis()
    client.assert_undisturbed(job_id, undisturbed)


def test_killed_analysis_is_started_again_by_its_worker(
    site: Site, client: Client, video: Path, undisturbed: list[FrameRow]
) -> None:
    job_id = client.submit(video.read_bytes())
    client.wait_for_frames(job_id)
    site.kill_analysis()
    client.assert_undisturbed(job_id, undisturbed)


def test_analysis_that_hangs_is_replaced_and_its_segment_started_again(
    site: Site, client: Client, long_video: Path
) -> None:
    job_id = client.submit(long_video.read_bytes(), rings=0, plans=[fallback_plan()], frames=FRAMES)
    client.wait_for_frames(job_id)
    (analysis,) = find_children(site.worker.pid)
    os.kill(analysis, signal.SIGSTOP)
    client.wait_for_start(job_id, "0", start=2)
    assert analysis not in find_children(site.worker.pid)
    client.store.delete(job_id)


def test_analysis_that_dies_at_every_start_is_poison_after_three(site: Site, client: Client, long_video: Path) -> None:
    job_id = client.submit(long_video.read_bytes(), rings=0, plans=[fallback_plan()], frames=FRAMES)
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
        lonely.assert_undisturbed(job_id, undisturbed)


def test_worker_that_takes_nothing_although_messages_wait_ends(
    lonely: Client, settings: WorkerSettings, video: Path, tmp_path: Path
) -> None:
    queue = lonely.queue.model_copy(update={"deaf_seconds": 2.0})
    log = tmp_path / "worker.log"
    with run_worker(queue, settings, log=log) as worker:
        assert poll(lambda: "loaded " in log.read_text(), seconds=RECOVERY_SECONDS)
        (analysis,) = find_children(worker.pid)
        os.kill(analysis, signal.SIGSTOP)
        lonely.submit(video.read_bytes())
        assert worker.wait(timeout=RECOVERY_SECONDS) == 1


def test_stopped_worker_gives_its_segment_back_at_once(
    lonely: Client, settings: WorkerSettings, video: Path, tmp_path: Path
) -> None:
    with run_worker(lonely.queue, settings, log=tmp_path / "worker.log") as worker:
        job_id = lonely.submit(video.read_bytes())
        lonely.wait_for_frames(job_id)
        worker.terminate()
        assert worker.wait(timeout=RECOVERY_SECONDS) == 0
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
        lonely.assert_undisturbed(job_id, undisturbed)
    assert [f"{job_id}: analysed segment" in log.read_text() for log in logs] == [True, True]

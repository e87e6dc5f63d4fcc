"""The steps of a job in this process: real Redis, real videos, real networks with random weights."""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.model.miniature import write_tiny_checkpoint
from tests.videos import face_scene, write_constant_rate
from tests.worker.jobs import assert_same_rows, create_facts, create_job, create_store, poll
from worker.assembly import create_analyzer, create_limits
from worker.contract import ErrorCode, FrameRow, JobOptions, JobRecord, JobSnapshot, JobState
from worker.index import fallback_plan, index_video, plan_segments
from worker.media import LocalMediaStore
from worker.pipeline import analyse_video
from worker.settings import WorkerSettings
from worker.steps import JobSteps
from worker.store import new_job_id
from worker.work_store import ERASE, FINISH, INDEX, Bell, WorkStore

LONG_FRAMES = 4000
FRAMES = 44  # five segments of a window each, and half a window


class Bench:
    """Store, uploads and the steps of one worker, whose bells are collected instead of sent."""

    def __init__(self, store: WorkStore, directory: Path, settings: WorkerSettings) -> None:
        self.store = store
        self.media = LocalMediaStore(directory, keep_free_bytes=0)
        self.bells: list[Bell] = []
        self.is_draining = False
        self.signs = 0
        self.steps = JobSteps(
            store,
            self.media,
            settings,
            ring=self.bells.append,
            is_draining=lambda: self.is_draining,
            on_sign=self.count_sign,
        )

    def count_sign(self) -> None:
        self.signs += 1

    def upload(self, content: bytes, options: JobOptions | None = None) -> str:
        job_id = new_job_id()
        with self.media.begin(job_id) as upload:
            upload.write(content)
            upload.commit()
        self.store.create(JobRecord(job_id=job_id, options=options or JobOptions()))
        self.bells.append(Bell(job_id, INDEX))
        return job_id

    def answer(self, bell: Bell) -> None:
        if bell.unit == INDEX:
            self.steps.index_job(bell.job_id)
        elif bell.unit == FINISH:
            self.steps.finish_job(bell.job_id)
        else:
            self.steps.analyze_segment(bell.job_id, int(bell.unit))

    def answer_all(self, *, times: int = 1) -> None:
        while self.bells:
            bell = self.bells.pop()  # the newest first: no step may rely on the order
            for _ in range(times):
                self.answer(bell)

    def get(self, job_id: str) -> JobSnapshot:
        job = self.store.get(job_id)
        assert job is not None
        return job

    def rows(self, job_id: str) -> list[FrameRow]:
        return list(self.store.iter_rows(job_id))

    def has_upload(self, job_id: str) -> bool:
        return job_id in self.media.iter_stale_ids(older_than_seconds=-60)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> WorkerSettings:
    weights = write_tiny_checkpoint(tmp_path_factory.mktemp("weights") / "tiny.safetensors")
    return WorkerSettings(device="cpu", weights=weights, long_side=320, upscale_to=320, segment_frames=8)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_constant_rate(tmp_path_factory.mktemp("video") / "face.mp4", FRAMES, scene=face_scene())


@pytest.fixture(scope="module")
def undisturbed(video: Path, settings: WorkerSettings) -> list[FrameRow]:
    return analyse_video(create_analyzer(settings), video, JobOptions(), create_limits(settings)).rows


@pytest.fixture(scope="module")
def loaded(redis_url: str, settings: WorkerSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with redis.Redis.from_url(redis_url) as client:
        yield Bench(create_store(client), tmp_path_factory.mktemp("media"), settings)


@pytest.fixture
def bench(loaded: Bench, redis_client: redis.Redis) -> Bench:
    """One process' steps for all tests, as its networks are loaded once; bells and database are new."""
    loaded.bells.clear()
    loaded.is_draining = False
    return loaded


def test_job_in_segments_gives_the_rows_of_one_pass(bench: Bench, video: Path, undisturbed: list[FrameRow]) -> None:
    job_id = bench.upload(video.read_bytes())
    bench.answer_all()
    job = bench.get(job_id)
    assert job.state is JobState.SUCCEEDED
    assert_same_rows(bench.rows(job_id), undisturbed)
    assert [track.frames for track in job.summary or ()] == [FRAMES]
    assert job.video is not None
    assert (job.video.frame_count, job.video.analysed_frames, job.video.width) == (FRAMES, FRAMES, 320)
    assert job.progress.frames_done == job.progress.frames_total == FRAMES
    assert job.model is not None
    assert len(job.model.sha256) == 64


def test_every_step_gives_signs_of_progress(bench: Bench, video: Path) -> None:
    bench.upload(video.read_bytes())
    silent = []
    while bench.bells:
        bell, before = bench.bells.pop(), bench.signs
        bench.answer(bell)
        silent += [bell.unit] if bench.signs == before else []
    assert silent == []


def test_sampled_job_counts_its_frames_and_those_of_the_video(bench: Bench, video: Path) -> None:
    job_id = bench.upload(video.read_bytes(), JobOptions(sample_fps=12.5))
    bench.answer_all()
    facts = bench.get(job_id).video
    assert facts is not None
    assert (facts.frame_count, facts.analysed_frames) == (FRAMES, FRAMES // 2)


def test_upload_is_erased_with_the_end_of_the_job(bench: Bench, video: Path) -> None:
    job_id = bench.upload(video.read_bytes())
    assert bench.has_upload(job_id)
    bench.answer_all()
    assert not bench.has_upload(job_id)
    assert bench.store.sweep() == []


def test_every_message_three_times_changes_nothing(bench: Bench, video: Path, undisturbed: list[FrameRow]) -> None:
    job_id = bench.upload(video.read_bytes())
    bench.answer_all(times=3)
    assert bench.get(job_id).state is JobState.SUCCEEDED
    assert_same_rows(bench.rows(job_id), undisturbed)


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", ErrorCode.UNSUPPORTED_MEDIA), (b"not a video\n" * 99, ErrorCode.UNSUPPORTED_MEDIA)],
    ids=["empty", "text"],
)
def test_bad_upload_fails_the_job_with_a_code_and_a_sentence(bench: Bench, content: bytes, code: ErrorCode) -> None:
    job_id = bench.upload(content)
    bench.answer_all()
    job = bench.get(job_id)
    assert job.state is JobState.FAILED
    assert job.failure is not None
    assert job.failure.code is code
    assert job.failure.message.endswith(".")
    assert not bench.has_upload(job_id)


def test_missing_upload_fails_the_job(bench: Bench) -> None:
    job_id = create_job(bench.store)
    bench.steps.index_job(job_id)
    failure = bench.get(job_id).failure
    assert failure is not None
    assert failure.code is ErrorCode.UPLOAD_MISSING


def test_upload_that_vanishes_between_two_steps_fails_the_job(bench: Bench, video: Path) -> None:
    job_id = bench.upload(video.read_bytes())
    bench.answer(bench.bells.pop())
    bench.media.delete(job_id)
    bench.answer_all()
    failure = bench.get(job_id).failure
    assert failure is not None
    assert failure.code is ErrorCode.UPLOAD_MISSING


def test_plan_that_the_decoder_contradicts_is_replaced_by_one_pass(
    bench: Bench, video: Path, settings: WorkerSettings, undisturbed: list[FrameRow]
) -> None:
    job_id = bench.upload(video.read_bytes())
    bench.bells.clear()
    index = index_video(video, sample_fps=None, limits=create_limits(settings))
    plans = plan_segments(index, segment_frames=8)
    wrong = plans[2].model_copy(update={"pts_seconds": tuple(time + 0.001 for time in plans[2].pts_seconds or ())})
    lease = bench.store.claim_index(job_id)
    assert lease is not None
    bench.store.put_plans(lease, index.facts(), [*plans[:2], wrong, *plans[3:]])
    bench.bells += [Bell(job_id, str(plan.segment)) for plan in plans]
    bench.answer_all()
    assert bench.get(job_id).state is JobState.SUCCEEDED
    assert_same_rows(bench.rows(job_id), undisturbed)


def test_cancel_stops_a_running_segment(bench: Bench, video: Path) -> None:
    job_id = create_long_segment(bench, video)
    worker = threading.Thread(target=bench.steps.analyze_segment, args=(job_id, 0))
    worker.start()
    assert poll(lambda: bench.get(job_id).progress.frames_done > 0, seconds=60)
    bench.store.cancel(job_id)
    worker.join(timeout=5)
    assert not worker.is_alive()
    assert bench.get(job_id).state is JobState.CANCELED
    assert bench.get(job_id).progress.frames_done < LONG_FRAMES
    assert bench.store.sweep() == [Bell(job_id, ERASE)]


def test_end_of_the_process_gives_the_segment_back_uncounted(bench: Bench, video: Path) -> None:
    job_id = create_long_segment(bench, video)
    worker = threading.Thread(target=bench.steps.analyze_segment, args=(job_id, 0))
    worker.start()
    assert poll(lambda: bench.get(job_id).progress.frames_done > 0, seconds=60)
    bench.is_draining = True
    worker.join(timeout=5)
    assert not worker.is_alive()
    assert bench.bells == [Bell(job_id, "0")]
    lease = bench.store.claim_segment(job_id, 0)
    assert lease is not None
    assert lease.attempt == 1


def test_bug_is_logged_in_full_and_told_to_nobody(
    redis_client: redis.Redis, tmp_path: Path, video: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights = tmp_path / "broken.safetensors"
    weights.write_bytes(b"not weights")
    bench = Bench(create_store(redis_client), tmp_path, WorkerSettings(device="cpu", weights=weights))
    job_id = bench.upload(video.read_bytes())
    with caplog.at_level(logging.ERROR):
        bench.answer_all()
    failure = bench.get(job_id).failure
    assert failure is not None
    assert failure.code is ErrorCode.INTERNAL_ERROR
    assert "safetensors" not in failure.message
    assert "Traceback" in caplog.text


def create_long_segment(bench: Bench, video: Path) -> str:
    """Plan a job of one segment that takes longer than any test waits."""
    long = video.with_name("long.mp4")
    if not long.exists():
        write_constant_rate(long, LONG_FRAMES)
    job_id = bench.upload(long.read_bytes())
    bench.bells.clear()
    lease = bench.store.claim_index(job_id)
    assert lease is not None
    assert bench.store.put_plans(lease, create_facts(LONG_FRAMES), [fallback_plan()])
    return job_id

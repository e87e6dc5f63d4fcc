"""A video's rows are the same whether it is analysed as one segment or as many, by one worker or by two."""

from contextlib import ExitStack
from pathlib import Path

import pytest
import redis

from model.labels import CLIP_FRAMES
from tests.model.miniature import write_tiny_checkpoint
from tests.videos import cut_scene, face_scene, two_faces_scene, write_variable_rate, write_video
from tests.worker.jobs import assert_same_rows, poll
from tests.worker.worker_process import run_worker
from worker.assembly import create_analyzer, create_limits
from worker.celery_app import create_celery, ring
from worker.contract import FrameRow, JobOptions, JobRecord, JobState, StitchState
from worker.index import index_video, plan_segments
from worker.media import LocalMediaStore
from worker.pipeline import Analyzer, analyse_video
from worker.settings import QueueSettings, WorkerSettings
from worker.store import new_job_id
from worker.tracking import stitch
from worker.work_store import INDEX, Bell, WorkStore

FRAMES = 76
CUT_AT = 44
"""Inside a window: two people before it, another picture of one of them after it."""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> WorkerSettings:
    weights = write_tiny_checkpoint(tmp_path_factory.mktemp("weights") / "tiny.safetensors")
    return WorkerSettings(device="cpu", weights=weights, segment_frames=CLIP_FRAMES, long_side=320, upscale_to=320)


@pytest.fixture(scope="module")
def analyzer(settings: WorkerSettings) -> Analyzer:
    return create_analyzer(settings)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scene = cut_scene(two_faces_scene(), face_scene(width=480, mirrored=True), at=CUT_AT)
    path = tmp_path_factory.mktemp("video") / "people.mp4"
    return write_video(path, FRAMES, scene=scene, options={"g": "12", "bf": "2"})


def analyse_in_segments(analyzer: Analyzer, path: Path, options: JobOptions, *, segment_frames: int) -> list[FrameRow]:
    """What workers do with a video, one segment after the other; segments and state travel as JSON there, too."""
    limits = create_limits(WorkerSettings())
    index = index_video(path, sample_fps=options.sample_fps, limits=limits)
    plans = plan_segments(index, segment_frames=segment_frames)
    assert len(plans) > 1
    assert plans[0].frames is not None, "segments, not the fallback of one decoding pass"
    rows: list[FrameRow] = []
    state = StitchState()
    for plan in plans:
        segment = analyzer.analyse_segment(path, plan, options, limits)
        stitched, state = stitch(StitchState.model_validate_json(state.model_dump_json()), segment)
        rows += stitched.rows
    return rows


@pytest.fixture(scope="module")
def rows_of_one_pass(analyzer: Analyzer, video: Path, settings: WorkerSettings) -> list[FrameRow]:
    return analyse_video(analyzer, video, JobOptions(), create_limits(settings)).rows


def test_the_video_has_tracks_that_cross_borders_and_a_cut(rows_of_one_pass: list[FrameRow]) -> None:
    seen = [{face.track for face in row.faces} for row in rows_of_one_pass]

    assert seen[:CUT_AT] == [{1, 2}] * CUT_AT
    assert seen[CUT_AT:] == [{3}] * (FRAMES - CUT_AT)


@pytest.mark.parametrize("windows", [1, 2, 3, 7])
def test_segments_give_the_rows_of_one_pass(
    analyzer: Analyzer, video: Path, rows_of_one_pass: list[FrameRow], windows: int
) -> None:
    rows = analyse_in_segments(analyzer, video, JobOptions(), segment_frames=windows * CLIP_FRAMES)

    assert_same_rows(rows, rows_of_one_pass)


def test_segments_of_sampled_frames_give_the_rows_of_one_pass(
    analyzer: Analyzer, video: Path, settings: WorkerSettings
) -> None:
    options = JobOptions(sample_fps=7)

    rows = analyse_in_segments(analyzer, video, options, segment_frames=CLIP_FRAMES)

    assert_same_rows(rows, analyse_video(analyzer, video, options, create_limits(settings)).rows)


def test_segments_of_a_variable_rate_give_the_rows_of_one_pass(
    analyzer: Analyzer, settings: WorkerSettings, tmp_path: Path
) -> None:
    path = write_variable_rate(tmp_path / "phone.mp4", 40, scene=face_scene())

    rows = analyse_in_segments(analyzer, path, JobOptions(), segment_frames=2 * CLIP_FRAMES)

    assert_same_rows(rows, analyse_video(analyzer, path, JobOptions(), create_limits(settings)).rows)


def test_two_workers_give_the_rows_of_one_pass(
    redis_url: str,
    redis_client: redis.Redis,
    settings: WorkerSettings,
    video: Path,
    rows_of_one_pass: list[FrameRow],
    tmp_path: Path,
) -> None:
    queue = QueueSettings(redis_url=redis_url, media_dir=tmp_path / "media", queue_name="segments")
    store, media = WorkStore(redis_client, queue), LocalMediaStore(queue.media_dir, keep_free_bytes=0)
    job_id = new_job_id()
    with media.begin(job_id) as upload:
        upload.write(video.read_bytes())
        upload.commit()

    with ExitStack() as workers:
        for name in ("one", "two"):
            workers.enter_context(run_worker(queue, settings, log=tmp_path / f"{name}.log"))
        store.create(JobRecord(job_id=job_id, options=JobOptions()))
        ring(create_celery(queue), Bell(job_id, INDEX))
        assert poll(lambda: (job := store.get(job_id)) and job.state.is_terminal, seconds=120)

    job = store.get(job_id)
    assert job is not None
    assert job.state is JobState.SUCCEEDED
    assert_same_rows(list(store.iter_rows(job_id)), rows_of_one_pass)

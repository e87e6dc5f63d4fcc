"""Jobs, plans and rows for the tests of the job store."""

import time
from collections.abc import Callable

import pytest
import redis

from model.labels import EMOTIONS, Emotion
from worker.contract import (
    CLIP_FRAMES,
    FaceRow,
    FrameRow,
    JobRecord,
    ModelVersion,
    Runtime,
    SegmentPlan,
    SegmentRows,
    StitchState,
    VideoFacts,
)
from worker.settings import QueueSettings
from worker.store import new_job_id
from worker.work_store import WorkStore

RUNTIME = Runtime(
    emoclip="0.1.0",
    python="3.11.9",
    torch="2.14.1",
    torchvision="0.29.1",
    numpy="2.3.5",
    opencv="4.12.0",
    pyav="18.1.0",
    ffmpeg={"libavcodec": "62.28.102", "libavformat": "62.12.102"},
    device="cpu",
    precision="float32",
    long_side=960,
    upscale_to=640,
    score_threshold=0.8,
)
MODEL = ModelVersion(
    name="tiny", sha256="0a" * 32, detector="retinaface-mobilenet0.25", detector_sha256="1b" * 32, runtime=RUNTIME
)


def create_store(client: redis.Redis, **settings: float) -> WorkStore:
    """Return a store with the default settings but for those given."""
    return WorkStore(client, QueueSettings.model_validate(settings))


def create_job(store: WorkStore, *, owner: str = "") -> str:
    """Write a queued job and return its id."""
    job_id = new_job_id()
    store.create(JobRecord(job_id=job_id, owner=owner))
    return job_id


def create_facts(frames: int) -> VideoFacts:
    """Facts of a video of so many frames at 25 a second."""
    return VideoFacts(
        duration_seconds=frames / 25,
        frame_count=frames,
        analysed_frames=frames,
        width=64,
        height=48,
        rotation_degrees=0,
        codec="h264",
    )


def create_plans(segments: int) -> list[SegmentPlan]:
    """Plans of segments of one window each."""
    return [
        SegmentPlan(
            segment=segment,
            first_position=segment * CLIP_FRAMES,
            frames=(frames := tuple(range(segment * CLIP_FRAMES, (segment + 1) * CLIP_FRAMES))),
            pts_seconds=tuple(frame / 25 for frame in frames),
            seek_pts=None,
        )
        for segment in range(segments)
    ]


def create_planned_job(store: WorkStore, *, segments: int) -> str:
    """Write a job and its plan of so many segments, ready to be claimed."""
    job_id = create_job(store)
    lease = store.claim_index(job_id)
    assert lease is not None
    assert store.put_plans(lease, create_facts(segments * CLIP_FRAMES), create_plans(segments))
    return job_id


def create_rows(plan: SegmentPlan, *, track: int = 1) -> SegmentRows:
    """Return rows of a segment with one face in every frame."""
    assert plan.frames is not None
    assert plan.pts_seconds is not None
    return SegmentRows(
        segment=plan.segment,
        rows=tuple(
            FrameRow(frame=frame, pts_seconds=pts_seconds, faces=(create_face(track=track),))
            for frame, pts_seconds in zip(plan.frames, plan.pts_seconds, strict=True)
        ),
    )


def create_face(*, track: int, emotion: Emotion = Emotion.HAPPINESS, probability: float = 0.7) -> FaceRow:
    """Return a face; the other six emotions share what the given one leaves."""
    probabilities = dict.fromkeys(EMOTIONS, (1 - probability) / 6) | {emotion: probability}
    point = (1.0, 2.0)
    return FaceRow(
        track=track,
        box=(0.0, 0.0, 8.0, 8.0),
        score=0.9,
        landmarks=(point, point, point, point, point),
        emotion=emotion,
        probabilities=probabilities,
    )


def analyse(store: WorkStore, job_id: str, segment: int) -> bool:
    """Claim a segment, put its rows and stitch as far as it goes; True when all rows are ready."""
    lease = store.claim_segment(job_id, segment)
    assert lease is not None
    plan = store.get_plan(lease)
    assert plan is not None
    assert store.put_segment(lease, create_rows(plan), model=MODEL)
    return store.advance_stitching(job_id, count_tracks)


def count_tracks(state: StitchState, segment: SegmentRows) -> tuple[SegmentRows, StitchState]:
    """Give each segment a track of its own: the least that a test of the order needs."""
    final = SegmentRows(
        segment=segment.segment,
        rows=tuple(
            row.model_copy(
                update={"faces": tuple(face.model_copy(update={"track": state.next_track}) for face in row.faces)}
            )
            for row in segment.rows
        ),
    )
    return final, StitchState(next_segment=state.next_segment + 1, next_track=state.next_track + 1)


def poll(condition: Callable[[], object], *, seconds: float = 10.0, every_seconds: float = 0.005) -> bool:
    """Ask again and again until the condition holds; False after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every_seconds)
    return True


def assert_same_rows(rows: list[FrameRow], expected: list[FrameRow]) -> None:
    """Frames, times, boxes and tracks identical; probabilities to the rounding of the network's sums."""
    without = {"faces": {"__all__": {"probabilities", "emotion"}}}
    assert [row.model_dump(exclude=without) for row in rows] == [row.model_dump(exclude=without) for row in expected]
    for face, other in zip((f for r in rows for f in r.faces), (f for r in expected for f in r.faces), strict=True):
        assert face.probabilities == pytest.approx(other.probabilities, abs=1e-3)

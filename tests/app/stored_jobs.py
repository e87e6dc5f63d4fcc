"""Jobs in the real store with rows of one's choice, put there by the steps that a worker takes."""

import math
from collections.abc import Sequence

from tests.worker.jobs import MODEL
from worker.contract import (
    CLIP_FRAMES,
    FrameRow,
    JobRecord,
    SegmentPlan,
    SegmentRows,
    StitchState,
    VideoFacts,
)
from worker.store import new_job_id
from worker.summary import summarise
from worker.work_store import WorkStore

SEGMENT_FRAMES = 5 * CLIP_FRAMES


def create_job(store: WorkStore, *, owner: str = "") -> str:
    """Write a queued job and return its id."""
    job_id = new_job_id()
    store.create(JobRecord(job_id=job_id, owner=owner, file_name="talk.mp4", size_bytes=1000, sha256="ab" * 32))
    return job_id


def create_job_with_rows(
    store: WorkStore,
    rows: Sequence[FrameRow],
    *,
    segments_done: int | None = None,
    segment_frames: int = SEGMENT_FRAMES,
    owner: str = "",
) -> str:
    """Write a job whose first segments are analysed, all by default; then the job is finished."""
    job_id = create_job(store, owner=owner)
    plan_job(store, job_id, rows, segment_frames=segment_frames)
    segments = math.ceil(len(rows) / segment_frames)
    for number in range(segments)[:segments_done]:
        put_segment(store, job_id, rows, number, segment_frames=segment_frames)
    if segments_done is None:
        finish_job(store, job_id, rows)
    return job_id


def plan_job(store: WorkStore, job_id: str, rows: Sequence[FrameRow], *, segment_frames: int = SEGMENT_FRAMES) -> None:
    """Take the step that follows a look into the video's packets."""
    starts = range(0, len(rows), segment_frames)
    lease = store.claim_index(job_id)
    assert lease is not None
    assert store.put_plans(
        lease, create_facts(rows), [_plan(number, rows, start) for number, start in enumerate(starts)]
    )


def put_segment(
    store: WorkStore, job_id: str, rows: Sequence[FrameRow], number: int, *, segment_frames: int = SEGMENT_FRAMES
) -> None:
    """Take the step that follows the analysis of a segment."""
    segment = tuple(rows[number * segment_frames : (number + 1) * segment_frames])
    lease = store.claim_segment(job_id, number)
    assert lease is not None
    assert store.put_segment(lease, SegmentRows(segment=number, rows=segment), model=MODEL)
    store.advance_stitching(job_id, _keep_tracks)


def finish_job(store: WorkStore, job_id: str, rows: Sequence[FrameRow]) -> None:
    """Take the last step."""
    lease = store.claim_finish(job_id)
    assert lease is not None
    assert store.succeed(lease, summarise(rows), video=create_facts(rows))


def create_facts(rows: Sequence[FrameRow]) -> VideoFacts:
    """Facts of a video that consists of these rows."""
    return VideoFacts(
        duration_seconds=len(rows) / 25,
        frame_count=len(rows),
        analysed_frames=len(rows),
        width=320,
        height=240,
        rotation_degrees=0,
        codec="h264",
    )


def _plan(number: int, rows: Sequence[FrameRow], start: int) -> SegmentPlan:
    return SegmentPlan(segment=number, first_position=start, frames=None, pts_seconds=None, seek_pts=None)


def _keep_tracks(state: StitchState, segment: SegmentRows) -> tuple[SegmentRows, StitchState]:
    return segment, StitchState(next_segment=state.next_segment + 1)

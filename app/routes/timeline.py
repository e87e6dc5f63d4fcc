"""The endpoint of the timeline: a whole video in as many points as a chart can show."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from app.downsampling import DownsampledTrack, downsample
from app.jobs import Jobs
from app.parameters import TimelineParameters
from app.routes.common import (
    BAD_PARAMETER,
    NO_JOB,
    RETRY_AFTER,
    JobsDependency,
    OwnerDependency,
    create_retry_after,
    document_problems,
)
from app.schemas import Timeline, TimelineTrack
from model.labels import EMOTIONS
from worker.contract import JobSnapshot, JobState

__all__ = ["router"]

router = APIRouter()

_DECIMALS = 4
"""Finer than any screen."""


@router.get(
    "/v1/jobs/{job_id}/timeline",
    summary="The video in few points: mean probabilities over equal spans of time",
    operation_id="get_timeline",
    tags=["results"],
    response_model=Timeline,
    responses={200: {"headers": RETRY_AFTER}, **document_problems(_404=NO_JOB, _422=BAD_PARAMETER)},
)
def get_timeline(
    jobs: JobsDependency, owner: OwnerDependency, job_id: str, parameters: Annotated[TimelineParameters, Query()]
) -> Response:
    """Return each track's means over `resolution` equal spans of time, also while the job runs."""
    job = jobs.get(job_id, owner=owner)
    rows_end_seconds = _find_rows_end(jobs, job, owner)
    end_seconds = max(job.video.duration_seconds if job.video else 0.0, rows_end_seconds)
    rows = max(job.rows_ready, job.progress.frames_total or 0, 1)
    found = downsample(
        jobs.iter_rows_so_far(job, smoothing_seconds=parameters.smoothing_seconds),
        spans=min(parameters.resolution, rows),
        end_seconds=end_seconds,
        # the last frame stays until the end, which only a finished analysis has reached
        rows_end_seconds=end_seconds if job.state is JobState.SUCCEEDED else rows_end_seconds,
    )
    body = Timeline.model_construct(
        job_id=job_id,
        state=job.state,
        smoothing_seconds=parameters.smoothing_seconds,
        end_seconds=found.end_seconds,
        span_seconds=found.end_seconds / found.spans,
        spans=found.spans,
        rows=found.rows,
        positions=found.positions,
        cuts=found.cuts,
        without_face=found.without_face,
        tracks=[_to_track(track) for track in found.tracks],
    )
    wait = {} if job.state.is_terminal else {"Retry-After": create_retry_after(job)}
    return Response(body.model_dump_json(), media_type="application/json", headers=wait)


def _find_rows_end(jobs: Jobs, job: JobSnapshot, owner: str) -> float:
    """Return until when the last row there is now is shown: as long as the one before it."""
    last = jobs.get_rows(
        job.record.job_id, owner=owner, start=max(job.rows_ready - 2, 0), limit=2, smoothing_seconds=0
    ).rows
    if not last:
        return 0.0
    return last[-1].pts_seconds + (last[-1].pts_seconds - last[0].pts_seconds)


def _to_track(track: DownsampledTrack) -> TimelineTrack:
    return TimelineTrack.model_construct(
        track=track.track,
        first_span=track.first_span,
        seen=[round(share, _DECIMALS) for share in track.seen],
        probabilities={
            emotion: [round(means[index], _DECIMALS) if means else None for means in track.means]
            for index, emotion in enumerate(EMOTIONS)
        },
    )

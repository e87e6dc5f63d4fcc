"""The endpoint of the timeline: whole videos in few points, raw or smoothed, also while the job runs."""

import httpx
import pytest

from app.schemas import Timeline
from app.smoothing import iter_smoothed
from model.labels import EMOTIONS, Emotion
from tests.app.rows import create_face, create_rows
from tests.app.stored_jobs import create_job, create_job_with_rows
from worker.contract import FrameRow, JobState
from worker.work_store import WorkStore


@pytest.fixture(scope="module")
def rows() -> list[FrameRow]:
    """Twenty-four seconds: a face whose expression changes every second; none in the last four."""
    return create_rows([[create_face(1, EMOTIONS[frame // 25 % 7])] if frame < 500 else [] for frame in range(600)])


def read(client: httpx.Client, job_id: str, **parameters: float) -> Timeline:
    response = client.get(f"/v1/jobs/{job_id}/timeline", params=parameters)
    assert response.status_code == 200, response.text
    return Timeline.model_validate_json(response.content)


def test_timeline_has_as_many_spans_as_asked_for(client: httpx.Client, store: WorkStore, rows: list[FrameRow]) -> None:
    timeline = read(client, create_job_with_rows(store, rows), resolution=24)

    assert (timeline.spans, timeline.span_seconds, timeline.end_seconds, timeline.rows) == (24, 1.0, 24.0, 600)
    assert timeline.positions == list(range(0, 600, 25))
    assert timeline.without_face == [(20.0, 24.0)]
    [track] = timeline.tracks
    assert len(track.probabilities[Emotion.ANGER]) == 20
    assert track.probabilities[Emotion.ANGER][:3] == [0.05, 0.7, 0.05]


def test_timeline_has_no_more_spans_than_frames(client: httpx.Client, store: WorkStore, rows: list[FrameRow]) -> None:
    assert read(client, create_job_with_rows(store, rows), resolution=4000).spans == 600


def test_timeline_is_smoothed_by_the_server(client: httpx.Client, store: WorkStore, rows: list[FrameRow]) -> None:
    job_id = create_job_with_rows(store, rows)

    timeline = read(client, job_id, resolution=600, smoothing_seconds=2)

    smoothed = list(iter_smoothed(rows, smoothing_seconds=2))[:500]
    expected = [row.faces[0].probabilities[Emotion.ANGER] for row in smoothed]
    assert timeline.tracks[0].probabilities[Emotion.ANGER] == pytest.approx(expected, abs=1e-4)


def test_timeline_of_a_running_job_reaches_as_far_as_its_rows(
    client: httpx.Client, store: WorkStore, rows: list[FrameRow]
) -> None:
    job_id = create_job_with_rows(store, rows, segments_done=3)

    timeline = read(client, job_id, resolution=24)

    assert (timeline.state, timeline.rows, timeline.end_seconds) == (JobState.PROCESSING, 120, 24.0)
    assert len(timeline.positions) == 5


def test_timeline_of_a_queued_job_is_empty(client: httpx.Client, store: WorkStore) -> None:
    timeline = read(client, create_job(store))

    assert (timeline.rows, timeline.tracks) == (0, [])


@pytest.mark.parametrize("resolution", ["0", "4001", "x"])
def test_resolution_has_limits(client: httpx.Client, store: WorkStore, rows: list[FrameRow], resolution: str) -> None:
    response = client.get(f"/v1/jobs/{create_job(store)}/timeline", params={"resolution": resolution})

    assert response.status_code == 422


def test_unknown_job_has_no_timeline(client: httpx.Client) -> None:
    assert client.get(f"/v1/jobs/{'0' * 32}/timeline").status_code == 404

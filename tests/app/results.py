"""Recipe for the head of a result: a provenance with every field set, the file's name a hostile one."""

from datetime import UTC, datetime

from app.exports.head import ResultHead, Source, Summary
from tests.worker.jobs import MODEL
from worker.contract import JobOptions, VideoFacts

HOSTILE_NAME = "=cmd|' /C calc'!A0 --> \"x\"\n\nWEBVTT\n\n1\n00:00.000 --> 00:09.000\n<script>é</script>.mp4"
"""A formula, the arrow of a cue, empty lines and a tag: everything that could break out of one of the formats."""


def create_head(*, rows: int = 1200, smoothing_seconds: float = 0.0) -> ResultHead:
    """Return the head of a job's result; the video has `rows` analysed frames at 25 a second."""
    return ResultHead(
        job_id="0193f2c41b7a4e0c8d5bb1b2a4f07e66",
        source=Source(file_name=HOSTILE_NAME, size_bytes=1000, sha256="ab" * 32),
        video=VideoFacts(
            duration_seconds=rows / 25,
            frame_count=rows,
            analysed_frames=rows,
            width=320,
            height=240,
            rotation_degrees=0,
            codec="h264",
        ),
        model=MODEL,
        options=JobOptions(sample_fps=25),
        smoothing_seconds=smoothing_seconds,
        created_at=datetime(2026, 11, 23, 18, 30, tzinfo=UTC),
        started_at=datetime(2026, 11, 23, 18, 30, 1, tzinfo=UTC),
        finished_at=datetime(2026, 11, 23, 18, 30, 9, tzinfo=UTC),
        summary=Summary(tracks=[]),
    )

"""Annotated videos, read back with PyAV: every frame at its time, the sound packet by packet, boxes, blurred faces."""

import os
import signal
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from app.palette import EMOTION_COLORS
from model.labels import Emotion
from tests.app.rows import create_face
from tests.videos import (
    face_scene,
    numbered_scene,
    read_number,
    reference_frames,
    variable_pts,
    write_constant_rate,
    write_negative_start,
    write_rotated,
    write_size_change,
    write_variable_rate,
    write_video,
    write_with_sound,
)
from worker.contract import Box, FaceRow, FrameRow
from worker.decode import DecodeLimits
from worker.errors import AnalysisError, DecoderCrashedError, DecodeTimeoutError
from worker.index import index_video
from worker.mux_process import MuxProcess
from worker.overlay import OverlayOptions, PictureEncoder, write_overlay

LIMITS = DecodeLimits()
OPTIONS = OverlayOptions(colors=EMOTION_COLORS)
STREAM_CLOCK, FRAME_RATE = Fraction(1, 90_000), Fraction(25)
BOX = (40.0, 50.0, 90.0, 100.0)
ANGER = np.array((0xD5, 0x5E, 0x00))


def annotate(
    video: Path,
    output: Path,
    *,
    faces: Sequence[FaceRow] = (),
    options: OverlayOptions = OPTIONS,
    on_progress: Callable[[int, int], None] | None = None,
) -> str:
    """Annotate a video with the same faces in every frame."""
    index = index_video(video, sample_fps=None, limits=LIMITS)
    rows = [FrameRow(frame=0, pts_seconds=0.0, faces=tuple(faces))]
    return write_overlay(video, output, rows, index, options, LIMITS, on_progress=on_progress)


def face(box: Box) -> FaceRow:
    return create_face(1, Emotion.ANGER).model_copy(update={"box": box})


def read_packets(path: Path) -> list[tuple[float, bytes]]:
    """Return time and content of the packets of the sound."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        return [
            (float(packet.pts * packet.time_base), bytes(packet))
            for packet in container.demux(stream)
            if packet.size and packet.pts is not None and packet.time_base
        ]


def read_video(path: Path) -> tuple[list[float], list[NDArray[np.uint8]]]:
    """Return times and pictures of all frames."""
    frames = list(reference_frames(path))
    with av.open(str(path)) as container:
        first = next(container.decode(video=0))
        assert first.pts is not None
        assert first.time_base is not None
        start = float(first.pts * first.time_base)
    return [start + seconds for seconds, _ in frames], [picture for _, picture in frames]


def test_every_frame_keeps_its_time_and_picture(tmp_path: Path) -> None:
    video = write_variable_rate(tmp_path / "vfr.mp4", 40, scene=numbered_scene(width=320, height=240))

    outcome = annotate(video, tmp_path / "out.mp4")

    times, pictures = read_video(tmp_path / "out.mp4")
    assert outcome == "none"
    assert times == [time / 90_000 for time in variable_pts(40)]
    assert [read_number(picture) for picture in pictures] == list(range(40))


@pytest.mark.parametrize("container", ["mkv", "mp4", "mov"])
def test_sound_is_copied_packet_by_packet(tmp_path: Path, container: str) -> None:
    video = write_with_sound(tmp_path / f"talk.{container}", pts=variable_pts(24))

    outcome = annotate(video, tmp_path / "out.mp4")

    before, after = read_packets(video), read_packets(tmp_path / "out.mp4")
    assert outcome == "copied"
    assert [content for _, content in after] == [content for _, content in before]
    assert [time for time, _ in after] == pytest.approx([time for time, _ in before], abs=0.001)  # Matroska's rounding
    assert len(read_video(tmp_path / "out.mp4")[0]) == 24


@pytest.mark.parametrize("sound_starts_ms", [-200, 300])
def test_sound_keeps_its_place_beside_the_pictures(tmp_path: Path, sound_starts_ms: int) -> None:
    # the pictures begin at 0.4 s on the file's clock, and at 0 in the output
    pts = [36_000 + number * 3600 for number in range(24)]
    video = write_with_sound(tmp_path / "talk.mkv", pts=pts, sound_starts_ms=400 + sound_starts_ms)

    annotate(video, tmp_path / "out.mp4")

    before, after = read_packets(video), read_packets(tmp_path / "out.mp4")
    times, _ = read_video(tmp_path / "out.mp4")
    assert times[0] == 0
    assert after[-1][0] == pytest.approx(before[-1][0] - 0.4, abs=0.001)


@pytest.mark.parametrize(
    ("container", "codec", "outcome"),
    [
        ("ts", "aac", "copied"),
        ("mkv", "libopus", "copied"),
        ("avi", "pcm_s16le", "transcoded"),
        ("mkv", "mp2", "transcoded"),
    ],
)
def test_sound_of_every_kind_arrives(tmp_path: Path, container: str, codec: str, outcome: str) -> None:
    video = write_with_sound(tmp_path / f"talk.{container}", codec=codec)

    assert annotate(video, tmp_path / "out.mp4") == outcome

    assert loudness(tmp_path / "out.mp4") == pytest.approx(loudness(video), rel=0.1)


def loudness(path: Path) -> float:
    """Return the root mean square of all samples, 0..1."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=48_000)
    with av.open(str(path)) as container:
        parts = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    samples = np.concatenate([part.to_ndarray().ravel() for part in parts])
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))


def test_boxes_are_where_the_faces_are(tmp_path: Path) -> None:
    video = write_constant_rate(tmp_path / "a.mp4", 8, scene=numbered_scene(width=320, height=240))

    annotate(video, tmp_path / "out.mp4", faces=[face(BOX)])

    for picture in read_video(tmp_path / "out.mp4")[1]:
        for x, y in [(65, 50), (65, 99), (40, 75), (89, 75)]:
            # a line of two pixels shares its colour with its neighbours in 4:2:0
            assert np.abs(picture[y - 1 : y + 2, x - 1 : x + 2].astype(int) - ANGER).sum(axis=2).min() < 90


def test_a_turned_video_is_written_upright(tmp_path: Path) -> None:
    video = write_rotated(tmp_path / "phone.mp4", 90, scene=numbered_scene(width=120, height=160))

    annotate(video, tmp_path / "out.mp4", faces=[face((20.0, 60.0, 100.0, 140.0))])

    _, pictures = read_video(tmp_path / "out.mp4")
    assert {picture.shape for picture in pictures} == {(160, 120, 3)}
    assert [read_number(picture) for picture in pictures] == list(range(16))


def test_frames_that_a_viewer_does_not_see_are_left_out(tmp_path: Path) -> None:
    video = write_negative_start(tmp_path / "cut.mp4", 30, hidden=5)

    annotate(video, tmp_path / "out.mp4")

    times, pictures = read_video(tmp_path / "out.mp4")
    assert [read_number(picture) for picture in pictures] == list(range(5, 30))
    assert times == pytest.approx([number / 25 for number in range(25)])


def test_an_odd_size_is_made_even(tmp_path: Path) -> None:
    video = write_video(tmp_path / "odd.mkv", 8, scene=numbered_scene(width=161, height=121), pixel_format="yuv444p")

    annotate(video, tmp_path / "out.mp4")

    _, pictures = read_video(tmp_path / "out.mp4")
    assert {picture.shape for picture in pictures} == {(122, 162, 3)}
    assert [read_number(picture) for picture in pictures] == list(range(8))


def test_a_stream_that_changes_its_size_stays_whole(tmp_path: Path) -> None:
    video = write_size_change(tmp_path / "sizes.ts", 24)

    annotate(video, tmp_path / "out.mp4")

    _, pictures = read_video(tmp_path / "out.mp4")
    assert {picture.shape for picture in pictures} == {(120, 160, 3)}
    assert [read_number(picture) for picture in pictures] == list(range(24))


def test_blurred_faces_cannot_be_seen_in_the_file(tmp_path: Path) -> None:
    video = write_video(tmp_path / "face.mp4", 8, scene=face_scene(pan_pixels=0))
    hidden = face((60.0, 60.0, 120.0, 150.0))

    annotate(video, tmp_path / "plain.mp4")
    annotate(video, tmp_path / "blurred.mp4", faces=[hidden], options=OverlayOptions(EMOTION_COLORS, blur_faces=True))

    plain, blurred = (read_video(tmp_path / name)[1][4][70:140, 70:110] for name in ("plain.mp4", "blurred.mp4"))
    assert detail(blurred) < detail(plain) / 5


def detail(picture: NDArray[np.uint8]) -> float:
    """Mean difference between neighbouring pixels."""
    return float(np.abs(np.diff(picture.astype(np.float64), axis=0)).mean())


def test_metadata_says_where_the_video_comes_from(tmp_path: Path) -> None:
    comment = '{"model": "é", "quotes": "\\"\\n"}'
    video = write_constant_rate(tmp_path / "a.mp4", 4)

    annotate(video, tmp_path / "out.mp4", options=OverlayOptions(EMOTION_COLORS, metadata={"comment": comment}))

    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.metadata["comment"] == comment


def test_progress_counts_the_frames(tmp_path: Path) -> None:
    done: list[tuple[int, int]] = []

    annotate(write_constant_rate(tmp_path / "a.mp4", 12), tmp_path / "out.mp4", on_progress=lambda *to: done.append(to))

    assert done == [(number, 12) for number in range(1, 13)]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    video, output = write_constant_rate(tmp_path / "a.mp4", 12), tmp_path / "out.mp4"
    output.write_text("kept")
    index = index_video(video, sample_fps=None, limits=LIMITS)
    video.write_bytes(b"not a video any more")

    with pytest.raises(AnalysisError):
        write_overlay(video, output, [FrameRow(frame=0, pts_seconds=0.0)], index, OPTIONS, LIMITS)

    assert output.read_text() == "kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "out.mp4"]


def test_a_folder_that_cannot_be_written_to_is_an_os_error(tmp_path: Path) -> None:
    video = write_constant_rate(tmp_path / "a.mp4", 4)

    with pytest.raises(OSError, match="none"):
        annotate(video, tmp_path / "none" / "out.mp4")


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_the_encoder_keeps_times_as_fine_as_it_can(codec: str) -> None:
    encoder = PictureEncoder(size=(64, 48), time_base=STREAM_CLOCK, frame_rate=FRAME_RATE, codec=codec)
    picture = np.zeros((48, 64, 3), np.uint8)

    packets = [
        packet for seconds in (0.0, 0.0205, 0.5) for packet in encoder.encode(picture, pts_seconds=seconds)
    ] + encoder.finish()

    times = sorted(float(packet.pts * encoder.time_base) for packet in packets if packet.pts is not None)
    assert times == pytest.approx([0.0, 0.0205, 0.5], abs=1e-4)


def start_muxing(tmp_path: Path, *, limits: DecodeLimits = LIMITS) -> tuple[MuxProcess, PictureEncoder]:
    video = write_with_sound(tmp_path / "talk.mp4")
    encoder = PictureEncoder(size=(64, 48), time_base=STREAM_CLOCK, frame_rate=FRAME_RATE)
    muxer = MuxProcess(
        video,
        tmp_path / "out.mp4",
        codec=encoder.codec,
        size=encoder.size,
        frame_rate=FRAME_RATE,
        time_base=encoder.time_base,
        start_seconds=0.0,
        metadata={},
        limits=limits,
    )
    return muxer, encoder


def test_a_muxing_process_that_dies_is_an_error(tmp_path: Path) -> None:
    muxer, encoder = start_muxing(tmp_path)

    os.kill(muxer.pid, signal.SIGKILL)
    with muxer, pytest.raises(DecoderCrashedError):
        write_forever(muxer, encoder)


def test_a_muxing_process_that_stands_still_is_an_error(tmp_path: Path) -> None:
    muxer, encoder = start_muxing(tmp_path, limits=DecodeLimits(stall_seconds=0.2))

    os.kill(muxer.pid, signal.SIGSTOP)
    with muxer, pytest.raises(DecodeTimeoutError):
        write_forever(muxer, encoder)


def write_forever(muxer: MuxProcess, encoder: PictureEncoder) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    number = 0
    while True:
        for packet in encoder.encode(noise, pts_seconds=number / 25):
            muxer.write(packet)
        number += 1

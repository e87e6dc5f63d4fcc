"""Captions: spans as cues, read back by webvtt-py; provenance that no file name can break out of."""

import json
from pathlib import Path

import pytest
import webvtt

from app.exports.captions import CaptionOptions, iter_srt, iter_vtt
from app.exports.head import Provenance
from app.timeline import create_timeline
from model.labels import Emotion
from tests.app.results import HOSTILE_NAME, create_head
from tests.app.rows import create_face, create_rows
from worker.contract import FrameRow

HEAD = create_head()
DEFAULTS = CaptionOptions()


@pytest.fixture(scope="module")
def rows() -> list[FrameRow]:
    """Track 1 turns from neutral to happy after a second, with a flicker; track 2 comes after two seconds."""

    def emotion(frame: int) -> Emotion:
        return Emotion.FEAR if 40 <= frame < 43 else Emotion.NEUTRAL if frame < 25 else Emotion.HAPPINESS

    return create_rows(
        [
            [create_face(1, emotion(frame)), create_face(2, Emotion.SADNESS, probability=0.9)][: 1 + (frame >= 50)]
            for frame in range(100)
        ]
    )


def read(path: Path, content: bytes) -> list[webvtt.Caption]:
    path.write_bytes(content)
    captions = webvtt.read(str(path)) if path.suffix == ".vtt" else webvtt.from_srt(str(path))
    return captions.captions


@pytest.mark.parametrize("suffix", ["vtt", "srt"])
def test_cues_are_the_spans_of_all_tracks_in_order_of_time(rows: list[FrameRow], tmp_path: Path, suffix: str) -> None:
    content = iter_vtt(HEAD, rows, DEFAULTS) if suffix == "vtt" else iter_srt(rows, DEFAULTS)

    captions = read(tmp_path / f"captions.{suffix}", b"".join(content))

    assert [(caption.start, caption.end, caption.text) for caption in captions] == [
        ("00:00:00.000", "00:00:01.000", "Track 1: neutral 70%"),
        ("00:00:01.000", "00:00:04.000", "Track 1: happiness 67%"),
        ("00:00:02.000", "00:00:04.000", "Track 2: sadness 90%"),
    ]


def test_cues_are_those_of_the_timeline(rows: list[FrameRow], tmp_path: Path) -> None:
    captions = read(tmp_path / "a.vtt", b"".join(iter_vtt(HEAD, rows, CaptionOptions(min_span_seconds=0))))

    assert len(captions) == len(create_timeline(rows, min_span_seconds=0)) == 5


def test_hysteresis_keeps_a_span_over_a_small_lead() -> None:
    rows = create_rows([[create_face(1, Emotion.ANGER if frame < 50 else Emotion.FEAR)] for frame in range(100)])

    assert b"".join(iter_srt(rows, CaptionOptions(hysteresis=0.1))).count(b"-->") == 2
    assert b"".join(iter_srt(rows, CaptionOptions(hysteresis=0.9))).count(b"-->") == 1


def test_identifiers_name_track_and_span(rows: list[FrameRow], tmp_path: Path) -> None:
    captions = read(tmp_path / "a.vtt", b"".join(iter_vtt(HEAD, rows, DEFAULTS)))

    assert [caption.identifier for caption in captions] == ["1-1", "1-2", "2-1"]


def test_note_holds_the_provenance_whatever_the_file_is_called(rows: list[FrameRow]) -> None:
    text = b"".join(iter_vtt(HEAD, rows, DEFAULTS)).decode()

    header, note, *cues = text.split("\n\n")
    assert header == "WEBVTT"
    assert note.startswith("NOTE\n")
    assert "-->" not in note
    content = json.loads(note.removeprefix("NOTE\n"))
    assert content.pop("captions") == {"min_span_seconds": 0.5, "hysteresis": 0.1}
    assert Provenance.model_validate(content).source.file_name == HOSTILE_NAME
    assert len(cues) == 3


def test_a_single_frame_has_a_cue_that_lasts(tmp_path: Path) -> None:
    captions = read(tmp_path / "a.vtt", b"".join(iter_vtt(HEAD, create_rows([[create_face(1)]]), DEFAULTS)))

    assert [(caption.start, caption.end) for caption in captions] == [("00:00:00.000", "00:00:00.001")]


def test_hours_are_written_out() -> None:
    rows = create_rows([[create_face(1)]] * 3, times={0: 36_000.0, 1: 36_000.5, 2: 36_001.0})

    assert b"10:00:00,000 --> 10:00:01,500" in b"".join(iter_srt(rows, DEFAULTS))


def test_a_video_without_faces_has_no_cue(tmp_path: Path) -> None:
    assert read(tmp_path / "a.vtt", b"".join(iter_vtt(HEAD, create_rows([[], []]), DEFAULTS))) == []
    assert b"".join(iter_srt(create_rows([[], []]), DEFAULTS)) == b""

"""What the command line shows of results: one in full, or a line for each of several."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.exports.head import Result, Summary
from app.palette import EMOTION_COLORS
from app.timeline import Span, create_timeline
from model.labels import EMOTIONS, Emotion

__all__ = ["ReportLine", "print_report", "print_table"]

_MOST_SPANS = 40
_MOST_TRACKS = 12
_LETTERS: Mapping[Emotion, str] = dict(zip(EMOTIONS, "NADFHSU", strict=True))
"""A letter each, so that the strips can be read without colours."""
_NO_FACE = "·"


@dataclass(frozen=True, slots=True)
class ReportLine:
    """What is shown of one video among several."""

    video: str
    seconds: float
    frames: int
    tracks: int
    shares: Mapping[Emotion, float]
    """Share of the faces in all frames that an expression leads, in falling order."""
    files: tuple[Path, ...]

    @classmethod
    def of(cls, result: Result, *, files: Iterable[Path]) -> Self:
        """Return the line of a result."""
        tracks = result.summary.tracks
        leads: Counter[Emotion] = Counter()
        for track in tracks:
            leads.update({emotion: round(share * track.frames) for emotion, share in track.shares.items()})
        faces = max(leads.total(), 1)
        return cls(
            video=result.source.file_name,
            seconds=result.video.duration_seconds,
            frames=len(result.rows),
            tracks=len(tracks),
            shares={emotion: count / faces for emotion, count in leads.most_common()},
            files=tuple(files),
        )


def print_table(console: Console, lines: Sequence[ReportLine]) -> None:
    """Print a line for each video."""
    table = Table()
    for header in ("video", "seconds", "frames", "tracks", "share of faces", "result"):
        table.add_column(header, justify="right" if header in ("seconds", "frames", "tracks") else "left")
    for line in lines:
        table.add_row(
            Text(line.video, overflow="fold"),
            f"{line.seconds:.2f}",
            str(line.frames),
            str(line.tracks),
            _format_shares(line.shares) if line.tracks else Text("no face found", style="dim"),
            Text(", ".join(path.name for path in line.files), overflow="fold"),
        )
    console.print(table)


def print_report(console: Console, *, title: str, result: Result) -> None:
    """Print the facts of the video, one line a track, and each track's spans of time."""
    video, model = result.video, result.model
    faceless = sum(not row.faces for row in result.rows)
    console.print(
        Text.assemble(
            (title, "bold"),
            f"  {video.width} x {video.height}, {video.duration_seconds:.2f} s, "
            f"{video.analysed_frames} of {video.frame_count} frames analysed, {faceless} without a face",
        )
    )
    console.print(
        f"model {model.name} ({model.sha256[:12]}), detector {model.detector} ({model.detector_sha256[:12]})",
        style="dim",
        highlight=False,
    )
    if not result.summary.tracks:
        console.print("no face found")
        return
    console.print(_create_track_table(result.summary))
    spans = list(create_timeline(result.rows))
    _print_strips(console, spans, seconds=video.duration_seconds)
    console.print(_create_span_table(spans[:_MOST_SPANS]))
    if len(spans) > _MOST_SPANS:
        console.print(f"and {len(spans) - _MOST_SPANS} spans more; --format vtt writes all of them", style="dim")
    console.print("spans shorter than half a second are part of their neighbours", style="dim")


def _create_track_table(summary: Summary) -> Table:
    table = Table(title="Tracks", title_justify="left")
    for header in ("track", "seconds", "frames", "expression", "mean", "share of frames"):
        table.add_column(header, justify="right" if header in ("track", "frames", "mean") else "left")
    for track in summary.tracks:
        table.add_row(
            str(track.track),
            f"{track.start_seconds:.2f} - {track.end_seconds:.2f}",
            str(track.frames),
            _format_emotion(track.emotion),
            f"{track.mean_probabilities[track.emotion]:.2f}",
            _format_shares(dict(sorted(track.shares.items(), key=lambda item: -item[1]))),
        )
    return table


def _print_strips(console: Console, spans: Sequence[Span], *, seconds: float) -> None:
    """Print each track over time as a strip: a cell is what leads in its middle."""
    frames: Counter[int] = Counter()
    for span in spans:
        frames[span.track] += span.frames
    shown = sorted(track for track, _ in frames.most_common(_MOST_TRACKS))
    label = len(str(shown[-1]))
    cells = max(min(console.width - label - 3, 120), 20)
    present = {span.emotion for span in spans if span.track in shown}
    legend = ", ".join(f"{_LETTERS[emotion]} {emotion.value}" for emotion in EMOTIONS if emotion in present)
    hidden = f"; the {len(shown)} longest of {len(frames)} tracks" if len(frames) > len(shown) else ""
    console.print(Text(f"0 - {seconds:.2f} s: {legend}, {_NO_FACE} no face{hidden}", style="italic"))
    for track in shown:
        own = [span for span in spans if span.track == track]
        strip = Text(f" {track:>{label}} ")
        for cell in range(cells):
            middle = (cell + 0.5) * seconds / cells
            emotion = next((span.emotion for span in own if span.start_seconds <= middle < span.end_seconds), None)
            if emotion is None:
                strip.append(_NO_FACE, style="dim")
            else:
                strip.append(_LETTERS[emotion], style=f"black on {EMOTION_COLORS[emotion]}")
        console.print(strip, no_wrap=True, overflow="crop")


def _create_span_table(spans: Sequence[Span]) -> Table:
    table = Table(title="Timeline", title_justify="left")
    for header in ("track", "from", "to", "expression", "probability"):
        table.add_column(header, justify="left" if header == "expression" else "right")
    previous = None
    for span in spans:
        table.add_row(
            str(span.track) if span.track != previous else "",
            f"{span.start_seconds:.2f}",
            f"{span.end_seconds:.2f}",
            _format_emotion(span.emotion),
            f"{span.mean_probability:.2f}",
        )
        previous = span.track
    return table


def _format_emotion(emotion: Emotion) -> Text:
    return Text.assemble(("■ ", EMOTION_COLORS[emotion]), emotion.value)


def _format_shares(shares: Mapping[Emotion, float]) -> Text:
    return Text(", ").join(
        _format_emotion(emotion).append(f" {share:.0%}") for emotion, share in shares.items() if share >= 0.005
    )

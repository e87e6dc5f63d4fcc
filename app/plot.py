"""Timeline of a video as a PNG: for each track the seven probabilities over time, stacked.

Hatched spans hold no face of the track; dotted lines mark frames where all tracks change at once, as at a cut.
Draws with matplotlib's object interface: no global figure, no display.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from app.palette import EMOTION_COLORS
from app.timeline import create_timeline
from model.labels import EMOTIONS
from worker.contract import FrameRow

__all__ = ["plot_timeline"]

_MAX_TRACKS = 8
_WIDTH_INCHES, _TRACK_INCHES, _FRAME_INCHES = 11.0, 1.15, 1.5
_DPI = 120
_LABEL_SHARE = 0.07
"""A span's expression is written into it where the span is at least this share of the time axis."""
_STYLE = {"font.size": 9.0, "axes.spines.top": False, "axes.spines.right": False, "hatch.linewidth": 0.5}


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A track's faces on consecutive analysed frames."""

    starts: tuple[float, ...]
    end: float
    probabilities: tuple[tuple[float, ...], ...]  # (frames, 7)


def plot_timeline(path: Path, rows: Sequence[FrameRow], *, title: str) -> None:
    """Write the timeline of all rows; of a video with many tracks the ones seen longest.

    Args:
        path: PNG to write; its folder exists.
        rows: All rows of a video, raw or smoothed.
        title: What stands above the figure, such as the video's name.
    """
    lengths: dict[int, int] = {}
    for row in rows:
        for face in row.faces:
            lengths[face.track] = lengths.get(face.track, 0) + 1
    shown = sorted(sorted(lengths, key=lambda track: -lengths[track])[:_MAX_TRACKS])
    ends = _end_times(rows)
    with mpl.rc_context(_STYLE):  # type: ignore[arg-type]  # matplotlib's key type lists every setting by name
        figure = Figure(figsize=(_WIDTH_INCHES, _FRAME_INCHES + _TRACK_INCHES * max(1, len(shown))), dpi=_DPI)
        FigureCanvasAgg(figure)
        axes = figure.subplots(max(1, len(shown)), 1, sharex=True, squeeze=False)[:, 0]
        for axis, track in zip(axes, shown, strict=False):
            _draw_track(axis, rows, ends, track)
            axis.set_ylabel(f"track {track}", rotation=0, ha="right", va="center")
        if not shown:
            axes[0].text(0.5, 0.5, "no face found", ha="center", va="center", transform=axes[0].transAxes)
        for axis in axes:
            _frame_axis(axis, end=ends[-1] if ends else 1.0)
            for seconds in _iter_cuts(rows):
                axis.axvline(seconds, color="black", linestyle=":", linewidth=1.2)
        axes[-1].set_xlabel("seconds")
        hidden = f"   (the {len(shown)} longest of {len(lengths)} tracks)" if len(lengths) > len(shown) else ""
        _arrange(figure, title + hidden)
        figure.savefig(path)


def _draw_track(axis: Axes, rows: Sequence[FrameRow], ends: Sequence[float], track: int) -> None:
    axis.axhspan(0, 1, facecolor="none", edgecolor="#CCCCCC", hatch="////", linewidth=0, zorder=0)
    for stretch in _iter_stretches(rows, ends, track):
        # a step per frame: what is drawn at a time is what the frame shown at that time says
        times = [*stretch.starts, stretch.end]
        values = [[*column, column[-1]] for column in zip(*stretch.probabilities, strict=True)]
        axis.axvspan(stretch.starts[0], stretch.end, facecolor="white", zorder=1)
        axis.stackplot(times, values, colors=list(EMOTION_COLORS.values()), step="post", linewidth=0, zorder=2)
    whole = ends[-1]
    for span in create_timeline([_only_track(row, track) for row in rows]):
        if span.end_seconds - span.start_seconds >= _LABEL_SHARE * whole:
            middle = (span.start_seconds + span.end_seconds) / 2
            label = f"{span.emotion.value} {span.mean_probability:.2f}"
            box = {"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
            axis.text(middle, 0.5, label, ha="center", va="center", fontsize=8, bbox=box, zorder=4)


def _iter_stretches(rows: Sequence[FrameRow], ends: Sequence[float], track: int) -> Iterator[_Stretch]:
    starts: list[float] = []
    probabilities: list[tuple[float, ...]] = []
    end = 0.0
    for row, row_end in zip(rows, ends, strict=True):
        face = next((face for face in row.faces if face.track == track), None)
        if face is None:
            if starts:
                yield _Stretch(tuple(starts), end, tuple(probabilities))
                starts, probabilities = [], []
            continue
        starts.append(row.pts_seconds)
        probabilities.append(tuple(face.probabilities[emotion] for emotion in EMOTIONS))
        end = row_end
    if starts:
        yield _Stretch(tuple(starts), end, tuple(probabilities))


def _iter_cuts(rows: Sequence[FrameRow]) -> Iterator[float]:
    """Yield the times at which faces stay in the picture, but every one of them is a new track."""
    for before, after in pairwise(rows):
        old, new = ({face.track for face in row.faces} for row in (before, after))
        if old and new and old.isdisjoint(new):
            yield after.pts_seconds


def _end_times(rows: Sequence[FrameRow]) -> list[float]:
    """Return until when each row's frame is shown: the next one's start; the last as long as the one before it."""
    starts = [row.pts_seconds for row in rows]
    if len(starts) < 2:
        return [start + 0.04 for start in starts]
    return [*starts[1:], 2 * starts[-1] - starts[-2]]


def _only_track(row: FrameRow, track: int) -> FrameRow:
    return row.model_copy(update={"faces": tuple(face for face in row.faces if face.track == track)})


def _frame_axis(axis: Axes, *, end: float) -> None:
    axis.set_xlim(0, end)
    axis.set_ylim(0, 1)
    axis.set_yticks([0, 0.5, 1])
    axis.margins(0)


def _arrange(figure: Figure, title: str) -> None:
    handles = [Patch(facecolor=color, label=emotion.value) for emotion, color in EMOTION_COLORS.items()]
    handles.append(Patch(facecolor="white", edgecolor="#CCCCCC", hatch="////", label="no face"))
    height = figure.get_size_inches()[1]
    figure.text(0.012, 1 - 0.28 / height, title, fontsize=12, fontweight="bold", va="center")
    figure.legend(
        handles=handles, ncols=len(handles), loc="center left", bbox_to_anchor=(0.004, 1 - 0.62 / height),
        frameon=False, handlelength=1.2, columnspacing=1.4,
    )  # fmt: skip
    figure.subplots_adjust(left=0.085, right=0.985, top=1 - 0.9 / height, bottom=0.5 / height, hspace=0.25)

"""WebVTT and SRT: a cue for each span of app.timeline, so that a player shows who looks how.

Cues of several tracks overlap, as the faces do. WebVTT carries the provenance in a NOTE, which players skip; SRT has no
comments. Source: W3C WebVTT 1, sections 4 (syntax) and 4.1.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from app.exports.head import ResultHead
from app.timeline import DEFAULT_HYSTERESIS, DEFAULT_MIN_SPAN_SECONDS, Span, create_timeline
from worker.contract import FrameRow

__all__ = ["CaptionOptions", "iter_srt", "iter_vtt"]


@dataclass(frozen=True, slots=True)
class CaptionOptions:
    """How probabilities become spans."""

    min_span_seconds: float = DEFAULT_MIN_SPAN_SECONDS
    """Shorter spans join a neighbour."""
    hysteresis: float = DEFAULT_HYSTERESIS
    """Lead in probability, 0..1, that another expression needs to begin a new span."""


def iter_vtt(head: ResultHead, rows: Iterable[FrameRow], options: CaptionOptions) -> Iterator[bytes]:
    """Yield WebVTT; a cue's identifier is track and number of the span in it."""
    provenance = head.model_dump_json(exclude={"summary"}).removesuffix("}")
    spans = f'"captions":{{"min_span_seconds":{options.min_span_seconds},"hysteresis":{options.hysteresis}}}'
    # a name of the client's may hold the arrow that would end the NOTE; in JSON it can be written without
    note = f"{provenance},{spans}}}".replace(">", "\\u003e")
    yield f"WEBVTT\n\nNOTE\n{note}\n".encode()
    numbers: dict[int, int] = {}
    for span in _sort_spans(rows, options):
        number = numbers[span.track] = numbers.get(span.track, 0) + 1
        yield f"\n{span.track}-{number}\n{_format_times(span, '.')}\n{_format_text(span)}\n".encode()


def iter_srt(rows: Iterable[FrameRow], options: CaptionOptions) -> Iterator[bytes]:
    """Yield SRT, UTF-8."""
    for number, span in enumerate(_sort_spans(rows, options), start=1):
        yield f"{number}\n{_format_times(span, ',')}\n{_format_text(span)}\n\n".encode()


def _sort_spans(rows: Iterable[FrameRow], options: CaptionOptions) -> list[Span]:
    spans = create_timeline(rows, min_span_seconds=options.min_span_seconds, margin=options.hysteresis)
    # WebVTT wants cues in the order of their beginnings
    return sorted(spans, key=lambda span: (span.start_seconds, span.track))


def _format_text(span: Span) -> str:
    # nothing to escape: a number, a label of ours and a number
    return f"Track {span.track}: {span.emotion.value} {span.mean_probability:.0%}"


def _format_times(span: Span, point: str) -> str:
    start = round(span.start_seconds * 1000)
    # the only frame of a video is shown for no known time, but a cue must last
    end = max(round(span.end_seconds * 1000), start + 1)
    return f"{_format_time(start, point)} --> {_format_time(end, point)}"


def _format_time(milliseconds: int, point: str) -> str:
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{milliseconds:03}"

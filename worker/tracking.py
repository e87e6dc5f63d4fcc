"""Who is who from frame to frame: faces -> tracklets inside one window, tracklets -> tracks over the whole video.

A window is CLIP_FRAMES analysed frames on the global grid. Tracklets are found from the window's own frames alone;
`stitch` then joins them, window after window, to the tracks that may still go on. Both use the one rule `link`.
Nothing depends on where a segment begins, so a video that was split over workers gets the tracks of an unsplit one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from model.labels import CLIP_FRAMES
from worker.contract import Box, FrameRow, SegmentRows, StitchState, TrackEnd
from worker.shots import decode_signature, is_cut

MAX_GAP_SECONDS = 1.0
"""A face may be out of sight for so long and keep its track..."""
MAX_GAP_FRAMES = 2
"""...or for two sampling intervals, one missed frame between, where that is longer."""
REACH, REACH_PER_SECOND = 0.5, 1.0
"""How far a face may move, in face sizes: at once, and more for every second (up to one) since it was last seen."""
SPEED, FARTHEST = 8.0, 2.0
"""Between two frames in a row a face may be as fast as this (face sizes a second, at most so many sizes): a child that
runs past the camera is. One that was out of sight may not: another person beside it would be taken for it."""
GROWTH, GROWTH_PER_SECOND = 1.6, 0.6
"""By what factor a face may grow or shrink: at once, and more for every second (up to one) since it was last seen."""


@dataclass(frozen=True, slots=True)
class Sight:
    """One face seen at one time."""

    box: Box
    pts_seconds: float
    position: int
    """Number of the analysed frame; only differences count."""


@dataclass(frozen=True, slots=True)
class Tracklet:
    """One face through one window."""

    places: tuple[tuple[int, int], ...]
    """(index of the frame in the window, index of the face in that frame), frames rising."""


def link(earlier: Sequence[Sight], later: Sequence[Sight]) -> list[tuple[int, int]]:
    """Pairs (index into earlier, index into later) that show one face: the one rule, inside windows and between.

    Each side is used at most once; the pairs are those of the cheapest assignment, by overlap, distance and growth.
    """
    if not earlier or not later:
        return []
    costs = _link_costs(earlier, later)
    rows, columns = linear_sum_assignment(costs)
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if costs[i, j] < 1]


def _link_costs(earlier: Sequence[Sight], later: Sequence[Sight]) -> NDArray[np.float64]:
    """(E, L) costs in 0..1; 1 is a pair that cannot be, as dear as leaving both alone."""
    a = np.array([sight.box for sight in earlier], np.float64)[:, None]  # (E, 1, 4)
    b = np.array([sight.box for sight in later], np.float64)[None]  # (1, L, 4)
    pts_a, pts_b = (np.array([sight.pts_seconds for sight in sights]) for sights in (earlier, later))
    seconds = np.maximum(pts_b[None] - pts_a[:, None], 0)
    frames = np.array([s.position for s in later])[None] - np.array([s.position for s in earlier])[:, None]
    sides_a, sides_b = (np.maximum(box[..., 2:] - box[..., :2], 1e-3) for box in (a, b))
    area_a, area_b = sides_a.prod(-1), sides_b.prod(-1)

    common = np.maximum(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0).prod(-1)
    iou = common / (area_a + area_b - common)
    size = np.sqrt(np.sqrt(area_a * area_b))  # side of the mean square
    patience = np.minimum(seconds, 1)
    distance = np.linalg.norm((a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2, axis=-1) / size
    reach = REACH + np.where(frames == 1, np.minimum(SPEED * seconds, FARTHEST - REACH), REACH_PER_SECOND * patience)
    moved = distance / reach
    grown = np.abs(np.log(area_b / area_a)) / 2 / np.log(GROWTH + GROWTH_PER_SECOND * patience)

    costs: NDArray[np.float64] = ((1 - iou) + np.maximum(moved, grown)) / 2
    in_time = (seconds <= MAX_GAP_SECONDS) | (frames <= MAX_GAP_FRAMES)
    costs[~in_time | (moved > 1) | (grown > 1)] = 1
    return costs


def link_tracklets(
    boxes: Sequence[Sequence[Box]], pts_seconds: Sequence[float], cuts: Sequence[int] = ()
) -> list[Tracklet]:
    """Tracklets of one window, in order of first sight; every face belongs to exactly one.

    `boxes[i]` are the faces of the window's frame i; a cut at frame i ends every tracklet before it.
    """
    sights: list[list[Sight]] = []
    places: list[list[tuple[int, int]]] = []
    live: list[int] = []
    for index, (found, seconds) in enumerate(zip(boxes, pts_seconds, strict=True)):
        if index in cuts:
            live = []
        here = [Sight(box, seconds, index) for box in found]
        tracklet_of = {face: live[end] for end, face in link([sights[t][-1] for t in live], here)}
        for face, sight in enumerate(here):
            if face not in tracklet_of:
                tracklet_of[face] = len(sights)
                sights.append([])
                places.append([])
                live.append(tracklet_of[face])
            sights[tracklet_of[face]].append(sight)
            places[tracklet_of[face]].append((index, face))
    return [Tracklet(tuple(each)) for each in places]


def stitch(state: StitchState, segment: SegmentRows) -> tuple[SegmentRows, StitchState]:
    """Replace a segment's tracklet numbers by the video's track numbers, given all segments before it.

    Pure: the same tracks come out whether a video arrives as one segment or as many, cut at multiples of CLIP_FRAMES.

    Raises:
        ValueError: the segment is not the next one.
    """
    if segment.segment != state.next_segment:
        raise ValueError(f"expected segment {state.next_segment}, got {segment.segment = }")
    ends, next_track = list(state.ends), state.next_track
    cuts = set(segment.cuts)
    if _is_cut_between(state.last_signature, segment.first_signature):
        cuts.add(segment.first_signature_row)
    rows: list[FrameRow] = []
    for start in range(0, len(segment.rows), CLIP_FRAMES):
        window = segment.rows[start : start + CLIP_FRAMES]
        window_cuts = [cut - start for cut in cuts if start <= cut < start + CLIP_FRAMES]
        tracks, ends, next_track = _join_window(window, window_cuts, ends, next_track)
        rows += [_renumber(row, tracks) for row in window]
    stitched = segment.model_copy(update={"rows": tuple(rows), "cuts": tuple(sorted(cuts))})
    return stitched, StitchState(
        next_segment=state.next_segment + 1,
        next_track=next_track,
        ends=tuple(ends),
        last_signature=segment.last_signature or state.last_signature,
    )


def _is_cut_between(before: str, after: str) -> bool:
    return bool(before and after) and is_cut(decode_signature(before), decode_signature(after))


def _join_window(
    window: Sequence[FrameRow], cuts: Sequence[int], ends: Sequence[TrackEnd], next_track: int
) -> tuple[dict[int, int], list[TrackEnd], int]:
    """Track of each of the window's tracklets, the ends that may go on after it, and the next free track number."""
    first: dict[int, Sight] = {}
    last: dict[int, Sight] = {}
    for tracklet, sight in _iter_sights(window):
        first.setdefault(tracklet, sight)
        last[tracklet] = sight
    first_cut, last_cut = min(cuts, default=len(window)), max(cuts, default=0)

    candidates = [tracklet for tracklet in first if first[tracklet].position < first_cut]
    waiting = [Sight(end.box, end.pts_seconds, -1 - end.missed_frames) for end in ends]
    pairs = link(waiting, [first[tracklet] for tracklet in candidates])
    tracks = {candidates[j]: ends[i].track for i, j in pairs}
    for tracklet in first:
        if tracklet not in tracks:
            tracks[tracklet] = next_track
            next_track += 1

    joined = {i for i, _ in pairs}
    missed = len(window)
    still = (
        []
        if cuts
        else [
            end.model_copy(update={"missed_frames": end.missed_frames + missed})
            for i, end in enumerate(ends)
            if i not in joined
        ]
    )
    still += [
        TrackEnd(track=tracks[t], box=s.box, pts_seconds=s.pts_seconds, missed_frames=missed - 1 - s.position)
        for t, s in last.items()
        if s.position >= last_cut
    ]
    now = window[-1].pts_seconds
    return tracks, [end for end in still if _may_go_on(end, now=now)], next_track


def _iter_sights(window: Sequence[FrameRow]) -> Iterator[tuple[int, Sight]]:
    for position, row in enumerate(window):
        for face in row.faces:
            yield face.track, Sight(face.box, row.pts_seconds, position)


def _may_go_on(end: TrackEnd, *, now: float) -> bool:
    """Whether any later face can still be linked to this end: keeps the state small."""
    return now - end.pts_seconds <= MAX_GAP_SECONDS or end.missed_frames + 1 <= MAX_GAP_FRAMES


def _renumber(row: FrameRow, tracks: dict[int, int]) -> FrameRow:
    faces = sorted((face.model_copy(update={"track": tracks[face.track]}) for face in row.faces), key=lambda f: f.track)
    return row.model_copy(update={"faces": tuple(faces)})

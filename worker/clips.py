"""One window of the global frame grid: its faces, who is who, and the clips of aligned crops for the network.

A window is CLIP_FRAMES analysed frames (fewer only at the end of the video). A clip is a tracklet's crops in the
window, in order; where the face is missing in some frames the clip is shorter, and zeros fill its end before the
network, as the paper pads the tail of a video.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.labels import CLIP_FRAMES
from worker.alignment import align_face
from worker.contract import JobOptions
from worker.decode import Frame
from worker.faces import Face
from worker.shots import Signature, find_cuts, is_informative, picture_signature
from worker.tracking import Tracklet, link_tracklets


@dataclass(frozen=True, slots=True)
class Clip:
    """One face through one window."""

    tracklet: Tracklet
    crops: NDArray[np.uint8]
    """(T, 256, 256, 3) RGB, T <= CLIP_FRAMES: one aligned crop for each of the tracklet's frames."""


@dataclass(frozen=True, slots=True)
class Window:
    """What detection found in one window; the pictures themselves are gone."""

    numbers: tuple[int, ...]
    """Frame numbers."""
    pts_seconds: tuple[float, ...]
    faces: tuple[tuple[Face, ...], ...]
    """Kept faces of each frame, largest first."""
    clips: tuple[Clip, ...]
    cuts: tuple[int, ...]
    """Indices of frames that begin a new shot, as far as this window alone can tell."""
    first_signature: Signature | None
    """Of the first frame that shows anything; None where the whole window is black or white."""
    last_signature: Signature | None


def select_faces(faces: Sequence[Face], options: JobOptions) -> tuple[Face, ...]:
    """Faces that the client wants, largest first."""
    sides = {id(face): face.box[2:] - face.box[:2] for face in faces}
    smallest = options.min_face_pixels or 0
    wanted = [face for face in faces if sides[id(face)].min() >= smallest]
    # Equal areas keep the detector's order, best score first: the sort is stable.
    wanted.sort(key=lambda face: float(sides[id(face)].prod()), reverse=True)
    return tuple(wanted[: options.max_faces])


def create_window(frames: Sequence[Frame], faces: Sequence[Sequence[Face]], options: JobOptions) -> Window:
    """Track and cut out the faces of one window, given what the detector found in each of its frames."""
    if not 0 < len(frames) <= CLIP_FRAMES:
        raise ValueError(f"expected 1 to {CLIP_FRAMES} frames, got {len(frames) = }")
    kept = tuple(select_faces(found, options) for found in faces)
    pts_seconds = tuple(frame.pts_seconds for frame in frames)
    signatures = [picture_signature(frame.image) for frame in frames]
    cuts = find_cuts(signatures)
    telling = [signature for signature in signatures if is_informative(signature)]
    boxes = [[_box(face) for face in found] for found in kept]
    clips = tuple(
        Clip(
            tracklet,
            np.stack([align_face(frames[i].image, kept[i][face].landmarks) for i, face in tracklet.places]),
        )
        for tracklet in link_tracklets(boxes, pts_seconds, cuts)
    )
    return Window(
        numbers=tuple(frame.number for frame in frames),
        pts_seconds=pts_seconds,
        faces=kept,
        clips=clips,
        cuts=tuple(cuts),
        first_signature=telling[0] if telling else None,
        last_signature=telling[-1] if telling else None,
    )


def _box(face: Face) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = face.box.tolist()
    return x0, y0, x1, y1

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
class FrameFaces:
    """What detection found in one frame; the picture itself is gone."""

    number: int
    pts_seconds: float
    signature: Signature
    faces: tuple[Face, ...]
    """Kept faces, largest first."""
    crops: tuple[NDArray[np.uint8], ...]
    """(256, 256, 3) RGB, aligned: one for each face."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One face through one window."""

    tracklet: Tracklet
    crops: NDArray[np.uint8]
    """(T, 256, 256, 3) RGB, T <= CLIP_FRAMES: one aligned crop for each of the tracklet's frames."""


@dataclass(frozen=True, slots=True)
class Window:
    """Who is who in one window."""

    frames: tuple[FrameFaces, ...]
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


def cut_out_faces(frame: Frame, found: Sequence[Face], options: JobOptions) -> FrameFaces:
    """Align the faces of a frame that the client wants, given all that the detector found."""
    faces = select_faces(found, options)
    return FrameFaces(
        number=frame.number,
        pts_seconds=frame.pts_seconds,
        signature=picture_signature(frame.image),
        faces=faces,
        crops=tuple(align_face(frame.image, face.landmarks) for face in faces),
    )


def create_window(frames: Sequence[FrameFaces]) -> Window:
    """Tell the faces of one window apart and gather their clips."""
    if not 0 < len(frames) <= CLIP_FRAMES:
        raise ValueError(f"expected 1 to {CLIP_FRAMES} frames, got {len(frames) = }")
    signatures = [frame.signature for frame in frames]
    telling = [signature for signature in signatures if is_informative(signature)]
    cuts = find_cuts(signatures)
    boxes = [[_box(face) for face in frame.faces] for frame in frames]
    tracklets = link_tracklets(boxes, [frame.pts_seconds for frame in frames], cuts)
    return Window(
        frames=tuple(frames),
        clips=tuple(
            Clip(tracklet, np.stack([frames[i].crops[face] for i, face in tracklet.places])) for tracklet in tracklets
        ),
        cuts=tuple(cuts),
        first_signature=telling[0] if telling else None,
        last_signature=telling[-1] if telling else None,
    )


def _box(face: Face) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = face.box.tolist()
    return x0, y0, x1, y1

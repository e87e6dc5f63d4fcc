"""Makes sample.mp4 beside this file: one smiling face, seven seconds, a hard cut and a span without a face.

The picture is scikit-image's data.astronaut(), NASA's portrait of Eileen Collins (public domain). A virtual camera
pans and zooms over it, so that the face moves and changes its size as it would in a real video.
"""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

FPS = 25
WIDTH, HEIGHT = 480, 360


@dataclass(frozen=True, slots=True)
class View:
    """Where the camera looks: the middle and the width of its view, in pixels of the photo."""

    x: float
    y: float
    width: float


@dataclass(frozen=True, slots=True)
class Move:
    """A camera move between two views, eased at both ends."""

    start: View
    end: View
    seconds: float


WHOLE = View(256, 192, 500)
FACE = View(224, 118, 210)
SHUTTLE = View(398, 130, 220)
FACE_LEFT = View(262, 126, 300)

MOVES = (
    Move(WHOLE, FACE, 2.0),  # the face grows
    Move(FACE, FACE, 0.6),
    Move(FACE, SHUTTLE, 1.0),  # and leaves the picture
    Move(SHUTTLE, SHUTTLE, 0.8),
    Move(FACE_LEFT, FACE, 1.2),  # a hard cut back to it
    Move(FACE, WHOLE, 1.4),
)


def plan_views() -> list[View]:
    """Return the camera's view of every frame."""
    views = []
    for move in MOVES:
        steps = round(move.seconds * FPS)
        for step in range(steps):
            progress = (1 - np.cos(np.pi * step / steps)) / 2
            views.append(
                View(
                    x=move.start.x + (move.end.x - move.start.x) * progress,
                    y=move.start.y + (move.end.y - move.start.y) * progress,
                    # zoom by equal factors, not by equal steps: that is what looks even
                    width=move.start.width * (move.end.width / move.start.width) ** progress,
                )
            )
    return views


def look(photo: NDArray[np.uint8], view: View) -> NDArray[np.uint8]:
    """Return what the camera sees: (HEIGHT, WIDTH, 3) RGB."""
    scale = WIDTH / view.width
    matrix = np.array([[scale, 0, WIDTH / 2 - scale * view.x], [0, scale, HEIGHT / 2 - scale * view.y]])
    frame = cv2.warpAffine(photo, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(frame, dtype=np.uint8)


def write_sample(path: Path) -> None:
    """Write the video as H.264 in MP4."""
    photo = data.astronaut()
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "24", "preset": "slow", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.time_base = Fraction(1, FPS)
        for view in plan_views():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(look(photo, view), format="rgb24")))
        container.mux(stream.encode(None))


if __name__ == "__main__":
    write_sample(Path(__file__).with_name("sample.mp4"))

"""Five landmarks -> aligned face crop, by the similarity transform of least squared error (Umeyama, PAMI 1991)."""

import cv2
import numpy as np
from numpy.typing import NDArray

CROP_SIZE = 256
"""Side of an aligned crop in pixels (paper, section III.A)."""

TEMPLATE = np.array([[0.325, 0.38], [0.675, 0.38], [0.5, 0.59], [0.36, 0.757], [0.64, 0.757]], np.float64)
"""Where eyes, nose and mouth corners land, as shares of the crop's side.

The mean of the detector's landmarks over FERPlus training faces, made symmetric: whole stills of that framing, used
where no face is found, then look like aligned ones, and forehead and chin stay inside.
"""


def similarity_to_template(landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
    """Affine matrix (2, 3) that maps image pixels to crop pixels: rotation, one scale, shift, no mirroring."""
    target = TEMPLATE * CROP_SIZE
    source = landmarks.astype(np.float64)
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    source_centred, target_centred = source - source_mean, target - target_mean
    # As complex numbers the best rotation with scale is one quotient.
    s, t = source_centred @ [1, 1j], target_centred @ [1, 1j]
    power = np.vdot(s, s).real
    # Landmarks that all fall on one point have no direction: centre them, unscaled.
    turn = np.vdot(s, t) / power if power > 1e-6 else 1.0 + 0j
    rotation = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return np.hstack([rotation, (target_mean - rotation @ source_mean)[:, None]])


def align_face(image: NDArray[np.uint8], landmarks: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Cut the aligned face (256, 256, 3) uint8 out of an image (H, W, 3) uint8, given its landmarks (5, 2) in pixels.

    Pixels beyond the border repeat it. Faces much larger than the crop are averaged down first, since sampling alone
    would alias.
    """
    matrix = similarity_to_template(landmarks)
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if scale < 0.5:
        image, matrix = _shrink_around_crop(image, matrix, scale)
    aligned = cv2.warpAffine(
        image, matrix, (CROP_SIZE, CROP_SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(aligned, np.uint8)


def _shrink_around_crop(
    image: NDArray[np.uint8], matrix: NDArray[np.float64], scale: float
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Cut out the part of the image that the crop sees and average it down to about the crop's resolution."""
    corners = np.array([[0, 0], [CROP_SIZE, 0], [0, CROP_SIZE], [CROP_SIZE, CROP_SIZE]], np.float64)
    seen = (corners - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    height, width = image.shape[:2]
    x0, y0 = np.clip(np.floor(seen.min(axis=0)).astype(int) - 2, 0, [width - 1, height - 1])
    x1, y1 = np.clip(np.ceil(seen.max(axis=0)).astype(int) + 2, [x0 + 1, y0 + 1], [width, height])
    size = (max(1, round((x1 - x0) * scale)), max(1, round((y1 - y0) * scale)))
    small = cv2.resize(image[y0:y1, x0:x1], size, interpolation=cv2.INTER_AREA)
    stretch = np.array([(x1 - x0) / size[0], (y1 - y0) / size[1]])
    # Pixel centres: x_image = (x_small + 0.5) * stretch - 0.5 + x0
    origin = np.array([x0, y0]) + 0.5 * stretch - 0.5
    return np.asarray(small, np.uint8), np.hstack(
        [matrix[:, :2] * stretch, (matrix[:, 2] + matrix[:, :2] @ origin)[:, None]]
    )

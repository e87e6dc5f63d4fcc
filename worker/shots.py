"""Hard cuts: a small picture signature for every analysed frame, and whether two of them belong to different shots.

A cut changes where things are AND how much there is of each colour; motion changes only the first, a flash or an
exposure step only the second. Measured on the talking and signing people of the shared test videos: no cut seen in
pairs of one video, half a second to six seconds apart, 99.9 % of 1,500 pairs of different videos told apart (one
signer before one wall set aside); the thresholds were chosen on these same videos. Dissolves and fades are not cuts.
"""

import base64
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Signature = NDArray[np.uint8]
"""(18, 32, 3) uint8: the frame as a thumbnail, whatever its shape."""

HEIGHT, WIDTH = 18, 32
MIN_STRUCTURE = 0.7
"""Correlation under which two thumbnails show different things. One shot: 0.72 and up; two videos: 0.38 (median)."""
MIN_COLOUR_CHANGE = 0.025
"""Mean change of the sorted colour values (0..1) above which the palette is another one. One shot: 0.01 (median)."""
MIN_CONTRAST = 2.0
"""Standard deviation of brightness (0..255) under which a frame (black, white) tells nothing about its shot."""


def picture_signature(image: NDArray[np.uint8]) -> Signature:
    """Thumbnail (18, 32, 3) of an image (H, W, 3) uint8."""
    height, width = image.shape[:2]
    # Every n-th pixel of large frames is enough for a thumbnail and keeps the cost at a fraction of a millisecond.
    rows, columns = max(1, height // (8 * HEIGHT)), max(1, width // (8 * WIDTH))
    return np.asarray(
        cv2.resize(image[::rows, ::columns], (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), dtype=np.uint8
    )


def is_informative(signature: Signature) -> bool:
    """Whether the frame shows anything at all."""
    return float(signature.mean(axis=2).std()) >= MIN_CONTRAST


def is_cut(before: Signature, after: Signature) -> bool:
    """Whether a hard cut lies between two informative frames."""
    return _colour_change(before, after) > MIN_COLOUR_CHANGE and _structure(before, after) < MIN_STRUCTURE


def find_cuts(signatures: Sequence[Signature]) -> list[int]:
    """Indices of frames that begin a new shot, each compared with the last informative frame before it.

    So a black or white frame between two pictures of one shot is no cut, and a cut hidden behind one is found.
    """
    cuts: list[int] = []
    last: Signature | None = None
    for index, signature in enumerate(signatures):
        if not is_informative(signature):
            continue
        if last is not None and is_cut(last, signature):
            cuts.append(index)
        last = signature
    return cuts


def encode_signature(signature: Signature) -> str:
    """Base64 text of a signature, for messages."""
    return base64.b64encode(signature.tobytes()).decode("ascii")


def decode_signature(text: str) -> Signature:
    """Signature from its base64 text."""
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(HEIGHT, WIDTH, 3)


def _colour_change(a: Signature, b: Signature) -> float:
    """Mean distance of the sorted values of each channel, 0..1: blind to where a colour stands, so to motion."""
    sorted_a, sorted_b = (np.sort(x.reshape(-1, 3).astype(np.float32), axis=0) for x in (a, b))
    return float(np.abs(sorted_a - sorted_b).mean()) / 255


def _structure(a: Signature, b: Signature) -> float:
    """Best correlation (-1..1) of the thumbnails, or of the middle of one anywhere in the other: follows pans."""
    dy, dx = HEIGHT // 4, WIDTH // 4
    middle_a, middle_b = (x[dy : HEIGHT - dy, dx : WIDTH - dx] for x in (a, b))
    return max(_correlation(a, b), _correlation(a, middle_b), _correlation(b, middle_a))


def _correlation(picture: Signature, template: Signature) -> float:
    scores = cv2.matchTemplate(picture, np.ascontiguousarray(template), cv2.TM_CCOEFF_NORMED)
    return float(np.nan_to_num(scores).max())

"""Aligned crops as JPEG files on disk."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

JPEG_QUALITY = 95


def write_jpeg(path: Path, image: NDArray[np.uint8]) -> None:
    """Write an RGB image whole or not at all, so that a resumed run may trust every file it finds."""
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise OSError(f"could not encode {path}")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    temporary.write_bytes(data.tobytes())
    temporary.replace(path)

"""Single images -> aligned crops in the same folders, for training; where no face is found the whole image is used."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from model.errors import DatasetError
from model.image_tree import ImageTree, decode_image, is_image
from worker.alignment import CROP_SIZE, align_face
from worker.crop_files import write_jpeg
from worker.faces import Face, FaceDetector

STILL_SIDE = 192
"""Longer side of stills for detection: 48-pixel faces were found in 98.8 % of cases so, in 97.5 % at 128 pixels."""
STILL_MARGIN = 24
"""Pixels of gray around a still: faces cut off at the border are found more often."""
STILL_THRESHOLD = 0.5
"""A still shows a face for certain, so a fainter detection than in a video is believed."""
BATCH = 32
TABLES = ".csv"
"""Files so named are copied beside the crops: they hold the labels."""
REPORT = "extract.json"
WITHOUT_FACE = "without_face.txt"
"""Names of the stills whose whole image was used, one a line, so that a resumed run counts those before it."""


@dataclass(slots=True)
class StillCounts:
    """What became of the stills, those of earlier runs into the same folder included."""

    images: int = 0
    without_face: int = 0
    unreadable: int = 0
    already_there: int = 0


def extract_stills(source: Path, out: Path, detector: FaceDetector, *, console: Console) -> StillCounts:
    """Align every image under `source` into the same place under `out`, as `<name>.jpg`; count in `extract.json`.

    Raises:
        DatasetError: `source` is neither a folder nor a zip file, or holds no image.
    """
    tree = ImageTree(source)
    names = [name for name in tree.names() if is_image(name)]
    if not names:
        raise DatasetError.at(source, expected="images", actual="none")
    counts = StillCounts(images=len(names))
    targets = _name_crops(out, names)
    todo = [name for name in names if not targets[name].exists()]
    counts.already_there = len(names) - len(todo)
    with Progress(console=console) as progress:
        task = progress.add_task("aligning stills", total=len(todo))
        for batch in _batched(todo, BATCH):
            images = list(_iter_readable(tree, batch, counts))
            for name, crop, found in _align_stills(images, detector):
                if not found:
                    _append_line(
                        out / WITHOUT_FACE, name
                    )  # before the crop: a crop that exists is never looked at again
                write_jpeg(targets[name], crop)
            progress.update(task, advance=len(batch))
    for name in tree.names():
        if name.endswith(TABLES):
            (out / name).write_bytes(tree.read(name))
    counts.without_face = len(_read_lines(out / WITHOUT_FACE) & set(names))
    (out / REPORT).write_text(json.dumps(asdict(counts), indent=1) + "\n", encoding="utf-8")
    return counts


def _batched(items: Sequence[str], size: int) -> Iterator[tuple[str, ...]]:
    for start in range(0, len(items), size):
        yield tuple(items[start : start + size])


def _iter_readable(
    tree: ImageTree, names: Sequence[str], counts: StillCounts
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    for name in names:
        data = tree.read(name)
        try:
            yield name, decode_image(data, source=name)
        except DatasetError:
            counts.unreadable += 1


def _align_stills(
    images: Sequence[tuple[str, NDArray[np.uint8]]], detector: FaceDetector
) -> Iterator[tuple[str, NDArray[np.uint8], bool]]:
    """Yield name, crop (256, 256, 3) and whether a face was found."""
    canvases = [_on_canvas(image) for _, image in images]
    found = detector.detect([canvas for canvas, _ in canvases])
    for (name, image), (_, scale), faces in zip(images, canvases, found, strict=True):
        if faces:
            landmarks = (_foremost(faces).landmarks - STILL_MARGIN + 0.5) / scale - 0.5
            yield name, align_face(image, landmarks), True
        else:
            yield name, _whole(image), False


def _on_canvas(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    """The image scaled into a square gray canvas, so that stills of any shape share a batch; and the scale."""
    scale = STILL_SIDE / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    side = STILL_SIDE + 2 * STILL_MARGIN
    canvas = np.full((side, side, 3), 127, np.uint8)
    canvas[STILL_MARGIN : STILL_MARGIN + size[1], STILL_MARGIN : STILL_MARGIN + size[0]] = scaled
    return canvas, scale


def _foremost(faces: Sequence[Face]) -> Face:
    """The face that the still is about: large and certain."""
    return max(faces, key=lambda face: face.score * float(np.prod(face.box[2:] - face.box[:2])))


def _whole(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The centred square of the image as a crop."""
    side = min(image.shape[:2])
    y, x = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    square = image[y : y + side, x : x + side]
    interpolation = cv2.INTER_AREA if side > CROP_SIZE else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(square, (CROP_SIZE, CROP_SIZE), interpolation=interpolation), np.uint8)


def _name_crops(out: Path, names: Sequence[str]) -> dict[str, Path]:
    """`a.png` becomes `a.jpg`; where that is taken by `a.bmp`, `a.png.jpg`."""
    targets: dict[str, Path] = {}
    taken: set[Path] = set()
    for name in sorted(names):
        target = out / Path(name).with_suffix(".jpg")
        targets[name] = target if target not in taken else out / f"{name}.jpg"
        taken.add(targets[name])
    return targets


def _append_line(path: Path, line: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


def _read_lines(path: Path) -> set[str]:
    return set(path.read_text(encoding="utf-8").splitlines()) if path.exists() else set()

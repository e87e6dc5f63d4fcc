"""Images of a data set, in a folder or in a zip file, read by name; the only place of `model` that decodes pictures."""

import os
import zipfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from model.errors import DatasetError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})


def is_image(name: str) -> bool:
    """Tell whether the name ends like a picture's."""
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


@dataclass(slots=True)
class ImageTree:
    """A folder, or a zip file that stands for one; names are relative, with forward slashes.

    May be pickled and used in several processes: each opens the zip file for itself.

    Raises:
        DatasetError: `root` is neither a folder nor a zip file.
    """

    root: Path
    _zip: zipfile.ZipFile | None = field(default=None, init=False, repr=False, compare=False)
    _zip_owner: int = field(default=0, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the root at once, so that a wrong path is told before any work starts."""
        if not self.root.is_dir() and not zipfile.is_zipfile(self.root):
            actual = "another kind of file" if self.root.exists() else "nothing there"
            raise DatasetError.at(self.root, expected="a folder or a zip file", actual=actual)

    def names(self, *, under: str = "") -> list[str]:
        """Return the names of all files in order; hidden ones and macOS's shadow copies are left out."""
        if self.root.is_dir():
            top = self.root / under
            found = [
                (Path(folder) / file).relative_to(self.root).as_posix()
                for folder, _, files in os.walk(top, followlinks=True)
                for file in files
            ]
        else:
            prefix = f"{under.rstrip('/')}/" if under else ""
            found = [i.filename for i in self._open().infolist() if not i.is_dir() and i.filename.startswith(prefix)]
        return sorted(name for name in found if not _is_hidden(name))

    def exists(self, name: str) -> bool:
        """Tell whether there is a file of that name."""
        if self.root.is_dir():
            return (self.root / name).is_file()
        return name in self._open().NameToInfo

    def read(self, name: str) -> bytes:
        """Return the bytes of one file.

        Raises:
            DatasetError: It is missing or unreadable.
        """
        try:
            return (self.root / name).read_bytes() if self.root.is_dir() else self._open().read(name)
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise DatasetError.at(self.root / name, expected="a readable file", actual=str(error)) from error

    def read_lines(self, name: str) -> list[str]:
        """Return the lines of a text file without their ends; a byte order mark is dropped.

        Raises:
            DatasetError: It is missing or not UTF-8.
        """
        try:
            return self.read(name).decode("utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise DatasetError.at(self.root / name, expected="UTF-8 text", actual=str(error)) from error

    def image(self, name: str) -> NDArray[np.uint8]:
        """Return one picture as (H, W, 3) uint8 RGB.

        Raises:
            DatasetError: It is missing or no picture.
        """
        return decode_image(self.read(name), source=self.root / name)

    def _open(self) -> zipfile.ZipFile:
        # a file position shared with a forked parent would mix up the reads of both
        if self._zip is None or self._zip_owner != os.getpid():
            self._zip, self._zip_owner = zipfile.ZipFile(self.root), os.getpid()
        return self._zip

    def __getstate__(self) -> Path:
        """Pickle the path alone: an open file does not travel."""
        return self.root

    def __setstate__(self, state: Path) -> None:
        """Come back unopened."""
        self.root, self._zip, self._zip_owner = state, None, 0


def decode_image(data: bytes, *, source: Path | str) -> NDArray[np.uint8]:
    """Decode a picture to (H, W, 3) uint8 RGB; gray pictures get three equal channels.

    Raises:
        DatasetError: The bytes are no picture.
    """
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB) if data else None
    if image is None:
        raise DatasetError.at(source, expected="a picture", actual=f"{len(data)} bytes that do not decode")
    return image.astype(np.uint8, copy=False)


def resize_to(image: NDArray[np.uint8], *, height: int, width: int) -> NDArray[np.uint8]:
    """Resize to (height, width, 3); averages areas on the way down so that nothing is aliased."""
    if image.shape[:2] == (height, width):
        return image
    smaller = height <= image.shape[0] and width <= image.shape[1]
    interpolation = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=interpolation).astype(np.uint8, copy=False)


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)

"""From the arguments of a command to the videos that are meant: files, folders and patterns."""

import glob
from collections.abc import Sequence
from pathlib import Path

__all__ = ["VIDEO_SUFFIXES", "find_videos"]

VIDEO_SUFFIXES = frozenset(
    (
        ".3gp",
        ".asf",
        ".avi",
        ".flv",
        ".m2ts",
        ".m4v",
        ".mkv",
        ".mov",
        ".mp4",
        ".mpeg",
        ".mpg",
        ".mts",
        ".mxf",
        ".ogv",
        ".ts",
        ".vob",
        ".webm",
        ".wmv",
    )
)
"""What counts as a video inside a folder; a file that is named is taken whatever it is called."""


def find_videos(arguments: Sequence[str], *, recursive: bool = False) -> tuple[list[Path], list[str]]:
    """Return the videos, each once and in the order of the arguments, and a sentence for each argument without any.

    Args:
        arguments: Paths of files, taken as they are, of folders, whose videos are taken, and patterns, for shells
            that leave them to the program.
        recursive: Whether the folders inside of a folder count.
    """
    videos: dict[Path, Path] = {}
    fruitless = []
    for argument in arguments:
        try:
            found, lack = _find(argument, recursive=recursive)
        except OSError as error:  # such as a folder of somebody else
            found, lack = [], f"cannot be read: {error.strerror}"
        if not found:
            fruitless.append(f"{argument}: {lack}")
        for file in found:
            videos.setdefault(file.resolve(), file)
    return list(videos.values()), fruitless


def _find(argument: str, *, recursive: bool) -> tuple[list[Path], str]:
    """Return the videos of one argument, and what to say if there is none."""
    path = Path(argument)
    if path.is_dir():
        files = sorted(path.rglob("*") if recursive else path.iterdir())
        videos = [file for file in files if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file()]
        return videos, "no video in this folder"
    if path.exists() or not glob.has_magic(argument):
        return [path] if path.is_file() else [], "not a file" if path.exists() else "no such file"
    matches = map(Path, sorted(glob.glob(argument, recursive=True)))
    return [match for match in matches if match.is_file()], "no file matches"

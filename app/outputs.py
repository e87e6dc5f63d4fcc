"""Which results the command line writes and where: a name for each video in a folder, or files for one video."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.exports.formats import ExportFormat
from app.replacing import plan_replacement

__all__ = [
    "FORMATS",
    "OVERLAY",
    "OVERLAY_SUFFIXES",
    "PLOT",
    "STDOUT",
    "Output",
    "OutputError",
    "Outputs",
    "choose_names",
    "plan_outputs",
]

STDOUT = Path("-")
PLOT = "png"
"""The timeline as a picture."""
OVERLAY = "mp4"
"""The video with its faces drawn onto it."""
OVERLAY_SUFFIXES = (".mp4", ".m4v", ".mov")
FORMATS: tuple[str, ...] = (*(form.value for form in ExportFormat), PLOT, OVERLAY)


class OutputError(Exception):
    """A result cannot be written; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Output:
    """One form of one video's result."""

    form: str
    """One of FORMATS."""
    path: Path
    """`-` is standard output."""


Outputs = dict[Path, list[Output]]
"""What is written of each video."""


def plan_outputs(
    videos: Sequence[Path], *, named: Sequence[Output], forms: Sequence[str], folder: Path | None
) -> Outputs:
    """Return what is written of each video.

    Args:
        videos: The videos.
        named: Results whose files were named, which only one video can have.
        forms: Results whose files were not: into the folder, named after their videos, or to standard output.
        folder: Made if it is missing.

    Raises:
        OutputError: That is not possible, which is better known before the work than after it.
    """
    if unknown := [form for form in forms if form not in FORMATS]:
        raise OutputError(f"there is no format {unknown[0]!r}, only {', '.join(FORMATS)}")
    if folder is None:
        named = [*named, *(Output(form, STDOUT) for form in forms)]
    named = list(dict.fromkeys(named))
    if named and len(videos) > 1:
        raise OutputError(f"{len(videos)} videos need a folder for their results: give --out, and --format for more")
    outputs: Outputs = {video: list(named) for video in videos}
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder} cannot be a folder for results: {error.strerror}") from error
        for video, name in zip(videos, choose_names(videos), strict=True):
            in_folder = (Output(form, folder / f"{name}.{_suffix(form)}") for form in forms or ("json",))
            outputs[video] = list(dict.fromkeys([*named, *in_folder]))
    planned = [output for several in outputs.values() for output in several]
    for output in planned:
        _check_place(output, videos)
    _check_each_has_a_place_of_its_own(planned)
    return outputs


def choose_names(videos: Sequence[Path]) -> list[str]:
    """Return a name for each video's results that no other has, upper and lower case being the same.

    The video's own without its suffix; with it where another has the same; numbered where that is not enough.
    """
    stems = Counter(video.stem.lower() for video in videos)
    names: list[str] = []
    taken: set[str] = set()
    for video in videos:
        base = video.stem if stems[video.stem.lower()] == 1 else video.name
        name, number = base, 1
        while name.lower() in taken:
            number += 1
            name = f"{base}-{number}"
        taken.add(name.lower())
        names.append(name)
    return names


def _check_place(output: Output, videos: Sequence[Path]) -> None:
    if output.path == STDOUT:
        if output.form == PLOT:
            raise OutputError("a picture needs a file: give --plot or --out")
        if output.form == OVERLAY:
            raise OutputError("a video needs a file: give --overlay or --out")
        return
    if output.form == OVERLAY and output.path.suffix.lower() not in OVERLAY_SUFFIXES:
        raise OutputError(f"{output.path} will be an MP4: its name must end in {', '.join(OVERLAY_SUFFIXES)}")
    place = output.path.resolve()
    if place.is_dir():
        raise OutputError(f"{output.path} is a folder, not a place for a result")
    if not place.parent.is_dir():
        raise OutputError(f"the folder of {output.path} does not exist")
    if place in {video.resolve() for video in videos}:
        raise OutputError(f"{output.path} is a video to analyse, not a place for its result")


def _check_each_has_a_place_of_its_own(outputs: Sequence[Output]) -> None:
    if sum(output.path == STDOUT for output in outputs) > 1:
        raise OutputError("standard output takes one result: give --out for several")
    taken: dict[Path, Output] = {}
    for output in outputs:
        replacement = None if output.path == STDOUT else plan_replacement(output.path)
        if replacement is None:  # a device, such as /dev/null, takes any number
            continue
        other = taken.setdefault(replacement.place, output)
        if other is not output:
            raise OutputError(
                f"two results would be written to {output.path} ({other.form}, {output.form}): give each its own file"
            )


def _suffix(form: str) -> str:
    if form == OVERLAY:
        return "annotated.mp4"  # not the name that the video itself most likely has
    return PLOT if form == PLOT else ExportFormat(form).suffix

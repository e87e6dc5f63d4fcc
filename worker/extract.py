"""Command line: raw videos or stills -> aligned 256 x 256 crops on disk, through the serving path, for training.

`python -m worker.extract VIDEOS OUT` writes Aff-Wild2's layout, `python -m worker.extract --stills DIR_OR_ZIP OUT`
keeps the folders of single images. Both go on where they were stopped.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from model.errors import ModelError
from model.hardware import choose_device
from worker.assembly import create_limits
from worker.extract_stills import STILL_MARGIN, STILL_SIDE, STILL_THRESHOLD, extract_stills
from worker.extract_videos import extract_videos
from worker.faces import create_detector
from worker.settings import WorkerSettings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m worker.extract", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--stills", action="store_true", help="SOURCE is a folder or zip file of single images")
    parser.add_argument("source", type=Path, metavar="SOURCE", help="a folder of videos or one video; or the images")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    options = parser.parse_args(arguments)
    console = Console(stderr=True)
    try:
        device = choose_device(options.device)
        if options.stills:
            detector = create_detector(
                device=device, long_side=STILL_SIDE + 2 * STILL_MARGIN, score_threshold=STILL_THRESHOLD
            )
            counts = extract_stills(options.source, options.out, detector, console=console)
            console.print(
                f"{counts.images} stills, {counts.already_there} of them already there: "
                f"{counts.without_face} without a face (whole image used), {counts.unreadable} unreadable"
            )
            return 0
        limits = create_limits(WorkerSettings())
        report = extract_videos(options.source, options.out, create_detector(device=device), limits, console=console)
    except (ModelError, OSError, ValueError) as error:
        console.print(f"error: {error}", markup=False)
        return 2
    failed = [name for name, video in report.items() if video.error]
    for name in failed:
        console.print(f"{name}: {report[name].error}", markup=False)
    console.print(
        f"{len(report) - len(failed)} videos: {sum(video.crops for video in report.values())} crops, "
        f"{sum(video.without_face for video in report.values())} frames without a face left out"
    )
    return 2 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

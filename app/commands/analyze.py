"""`emoclip analyze`: videos analysed in this process, without Redis."""

import argparse
from pathlib import Path

from rich.console import Console

from app.commands.exit_codes import ExitCode
from app.commands.parsers import Commands, create_command

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """Describe the command."""
    parser = create_command(commands, "analyze", _analyze, help="analyse one video in this process")
    parser.add_argument("video", type=Path)
    parser.add_argument("--json", type=Path, metavar="F", help="write everything: video, model, summary, rows")
    parser.add_argument("--csv", type=Path, metavar="F", help="write one line a face and frame")
    parser.add_argument("--plot", type=Path, metavar="F.png", help="draw the timeline")
    parser.add_argument("--sample-fps", type=float, metavar="N", help="analyse at most N frames a second")
    parser.add_argument("--max-faces", type=int, metavar="N", help="keep the N largest faces of a frame")
    parser.add_argument("--min-face-pixels", type=int, metavar="N", help="ignore faces narrower or lower than N")


def _analyze(options: argparse.Namespace, errors: Console) -> int:
    from app.analyze import NetworksError, Outputs, VideoError, analyze
    from worker.contract import JobOptions

    wanted = JobOptions(
        sample_fps=options.sample_fps, max_faces=options.max_faces, min_face_pixels=options.min_face_pixels
    )
    outputs = Outputs(json=options.json, csv=options.csv, plot=options.plot)
    try:
        analyze(options.video, wanted, outputs, console=Console())
    except VideoError as error:
        errors.print(f"{options.video}: {error}")
        return ExitCode.NOTHING_DONE
    except NetworksError as error:
        errors.print(str(error))
        return ExitCode.FAILED
    return ExitCode.DONE

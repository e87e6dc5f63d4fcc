"""`emoclip analyze`: videos analysed in this process, without Redis."""

import argparse
from pathlib import Path

from rich.console import Console

from app.commands.exit_codes import ExitCode
from app.commands.parsers import Commands, add_job_options, create_command

__all__ = ["add_parser"]

_DESCRIPTION = """Analyse videos in this process: no server, no Redis. The networks are loaded once for all of them.

A video that cannot be analysed is told and does not stop the others. The report of one video is a timeline, that of
several a line each. Progress and errors go to standard error, so standard output can be read by a program:

  emoclip analyze talk.mp4
  emoclip analyze talk.mp4 --format csv >rows.csv
  emoclip analyze holidays/ 'clips/**/*.mov' --out results --format json,vtt,png"""


def add_parser(commands: Commands) -> None:
    """Describe the command."""
    parser = create_command(
        commands, "analyze", _analyze, help="analyse videos in this process", description=_DESCRIPTION
    )
    parser.add_argument("videos", nargs="+", metavar="VIDEO", help="file, folder of videos, or quoted pattern")
    parser.add_argument("-r", "--recursive", action="store_true", help="take the folders inside of folders, too")
    several = parser.add_argument_group("results of any number of videos")
    several.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="DIR",
        help="write them here, named after the videos; what is there is replaced",
    )
    several.add_argument(
        "-f",
        "--format",
        action="append",
        default=[],
        metavar="F",
        help="json, ndjson, csv, parquet, vtt, srt, provenance, png or mp4 (annotated), several with commas "
        "(default with --out: json); "
        "without --out, one format of one video goes to standard output",
    )
    one = parser.add_argument_group("results of one video (- is standard output)")
    one.add_argument("--json", type=Path, metavar="F", help="everything: video, model, summary, rows")
    one.add_argument("--csv", type=Path, metavar="F", help="one line a face and frame")
    one.add_argument("--plot", type=Path, metavar="F.png", help="the timeline as a picture")
    one.add_argument("--overlay", type=Path, metavar="F.mp4", help="the video with its faces drawn onto it, with sound")
    add_job_options(parser.add_argument_group("analysis"))
    parser.add_argument("--blur-faces", action="store_true", help="make faces in annotated videos unrecognisable")
    parser.add_argument("-q", "--quiet", action="store_true", help="print errors only")


def _analyze(options: argparse.Namespace, errors: Console) -> int:
    from app.outputs import OVERLAY, PLOT, STDOUT, Output, OutputError, plan_outputs
    from app.video_paths import find_videos
    from worker.contract import JobOptions

    wanted = JobOptions(
        sample_fps=options.sample_fps,
        max_faces=options.max_faces,
        min_face_pixels=options.min_face_pixels,
        purpose=options.purpose,
    )
    videos, fruitless = find_videos(options.videos, recursive=options.recursive)
    named = [("json", options.json), ("csv", options.csv), (PLOT, options.plot), (OVERLAY, options.overlay)]
    try:
        outputs = plan_outputs(
            videos,
            named=[Output(form, path) for form, path in named if path is not None],
            forms=[form for forms in options.format for form in forms.split(",")],
            folder=options.out,
        )
    except OutputError as error:
        errors.print(str(error))
        return ExitCode.NOTHING_DONE
    if options.blur_faces and not any(output.form == OVERLAY for planned in outputs.values() for output in planned):
        errors.print("--blur-faces is for annotated videos: give --overlay, or --format mp4")
        return ExitCode.NOTHING_DONE
    for sentence in fruitless:
        errors.print(sentence)
    if not videos:
        return ExitCode.NOTHING_DONE

    # from here on it takes seconds: PyTorch is loaded
    from app.analyze import AnalyzerError
    from app.batch import Terminal, analyze_videos

    takes_stdout = any(output.path == STDOUT for planned in outputs.values() for output in planned)
    terminal = Terminal(
        report=Console(stderr=takes_stdout, quiet=options.quiet),
        progress=Console(stderr=True, quiet=options.quiet, highlight=False, markup=False, soft_wrap=True),
        errors=errors,
    )
    try:
        outcome = analyze_videos(outputs, wanted, terminal, blur_faces=options.blur_faces)
    except AnalyzerError as error:
        errors.print(str(error))
        return ExitCode.FAILED
    failed = outcome.failed + len(fruitless)
    if failed and len(options.videos) + len(videos) > 2:
        errors.print(f"{outcome.analysed} analysed, {failed} not")
    if not outcome.analysed:
        return ExitCode.NOTHING_DONE
    return ExitCode.FAILED if failed else ExitCode.DONE

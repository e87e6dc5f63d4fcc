"""The main job end to end, as `make demo` shows it: start the service, send a video, wait, read the rows, stop.

Run: python -m app.demo VIDEO [--out DIR]. Writes DIR/demo.json and DIR/demo.png, and leaves no process behind.
"""

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from app.client import Client, ClientError, JobFailedError, JobState, Progress, Result
from app.commands.exit_codes import ExitCode
from app.embedded import EmbeddedServiceError, Service, run_service
from app.plot import plot_timeline
from app.processes import sigterm_as_interrupt
from app.progress_bars import create_progress, show_progress
from app.report import print_report

__all__ = ["main"]

_POLL_SECONDS = 0.25


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; returns 0, or 1 if the service failed, 2 if the video is missing or cannot be analysed."""
    parser = argparse.ArgumentParser(prog="python -m app.demo", description="Analyse a video through the service.")
    parser.add_argument("video", type=Path)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for demo.json and demo.png")
    options = parser.parse_args(arguments)
    console, errors = Console(), Console(stderr=True, style="red", markup=False, highlight=False, soft_wrap=True)
    if not options.video.is_file():
        errors.print(f"{options.video}: no such file")
        return ExitCode.NOTHING_DONE
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        errors.print(f"{options.out} cannot be a folder for the result: {error.strerror}")
        return ExitCode.NOTHING_DONE
    try:
        _run(options.video, options.out, console=console)
    except ClientError as error:
        errors.print(f"{options.video}: {error}")
        return ExitCode.NOTHING_DONE
    except EmbeddedServiceError as error:
        errors.print(str(error))
        return ExitCode.FAILED
    except KeyboardInterrupt:
        errors.print("stopped")
        return ExitCode.INTERRUPTED
    return ExitCode.DONE


def _run(video: Path, out: Path, *, console: Console) -> None:
    with contextlib.ExitStack() as stack:
        stack.enter_context(sigterm_as_interrupt())
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="emoclip-"))
        with console.status("starting redis-server, a worker and the API"):
            service = stack.enter_context(run_service(Path(folder)))
        console.print(f"service ready on {service.url}", highlight=False)
        result = _analyze(service, video, out / "demo.json", console=console)
    print_report(console, title=video.name, result=result)
    plot_timeline(out / "demo.png", result.rows, title=video.name)
    console.print(f"wrote {out / 'demo.json'} and {out / 'demo.png'}", highlight=False)


def _analyze(service: Service, video: Path, json_path: Path, *, console: Console) -> Result:
    with Client(service.url, trust_env=False) as client, create_progress(console) as bars:
        show = show_progress(bars, video.name)

        def watch(progress: Progress) -> None:
            service.ensure_running()
            show(progress)

        job = client.submit(video, on_progress=watch)
        job = client.wait(job.id, poll_seconds=_POLL_SECONDS, on_progress=watch)
        if job.state is not JobState.SUCCEEDED:
            raise JobFailedError(job)
        client.download(job.id, json_path)
    return Result.model_validate_json(json_path.read_bytes())


if __name__ == "__main__":
    sys.exit(main())

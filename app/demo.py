"""The main job end to end, as `make demo` shows it: start the service, upload a video, poll, read the rows, stop.

Run: python -m app.demo VIDEO [--out DIR]. Writes DIR/demo.json and DIR/demo.png, and leaves no process behind.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from rich.console import Console

from app.embedded import EmbeddedServiceError, run_service
from app.exports.head import Result
from app.plot import plot_timeline
from app.processes import sigterm_as_interrupt
from app.report import create_progress, print_report
from app.schemas import Job
from worker.contract import JobState

__all__ = ["DemoError", "analyse_over_http", "main"]

_POLL_SECONDS = 0.25
_HTTP_SECONDS = 60.0


class DemoError(Exception):
    """The service refused the video or could not analyse it."""


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; returns 0, or 1 if the service failed, 2 if the video is missing or cannot be analysed."""
    parser = argparse.ArgumentParser(prog="python -m app.demo", description="Analyse a video through the service.")
    parser.add_argument("video", type=Path)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for demo.json and demo.png")
    options = parser.parse_args(arguments)
    console, errors = Console(), Console(stderr=True, style="red", markup=False, highlight=False, soft_wrap=True)
    if not options.video.is_file():
        errors.print(f"{options.video}: no such file")
        return 2
    try:
        _run(options.video, options.out, console=console)
    except DemoError as error:
        errors.print(f"{options.video}: {error}")
        return 2
    except EmbeddedServiceError as error:
        errors.print(str(error))
        return 1
    except KeyboardInterrupt:
        errors.print("stopped")
        return 130
    return 0


def _run(video: Path, out: Path, *, console: Console) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        stack.enter_context(sigterm_as_interrupt())
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="emoclip-"))
        with console.status("starting redis-server, a worker and the API"):
            service = stack.enter_context(run_service(Path(folder)))
        console.print(f"service ready on {service.url}", highlight=False)
        content = analyse_over_http(service.url, video, console=console, on_poll=service.ensure_running)
    result = Result.model_validate_json(content)
    print_report(console, title=video.name, result=result)
    (out / "demo.json").write_bytes(content)
    plot_timeline(out / "demo.png", result.rows, title=video.name)
    console.print(f"wrote {out / 'demo.json'} and {out / 'demo.png'}", highlight=False)


def analyse_over_http(url: str, video: Path, *, console: Console, on_poll: Callable[[], None]) -> bytes:
    """Upload a video, wait for the end of its job, and return the result's JSON.

    Args:
        url: Where the service listens.
        video: File to upload.
        console: Shows the progress bar.
        on_poll: Called between two looks at the job.

    Raises:
        DemoError: The service refused the video, or the job failed.
    """
    with httpx.Client(base_url=url, timeout=_HTTP_SECONDS, trust_env=False) as client, create_progress(console) as bar:
        task = bar.add_task("uploading", total=None)
        with video.open("rb") as file:
            job = _read_job(client.post("/v1/jobs", params={"file_name": video.name}, content=file))
        while not job.state.is_terminal:
            time.sleep(_POLL_SECONDS)
            on_poll()
            job = _read_job(client.get(job.links.self))
            bar.update(
                task,
                description=job.state.value,
                completed=job.progress.frames_done,
                total=job.progress.frames_total,
            )
        if job.state is not JobState.SUCCEEDED or job.links.result is None:
            raise DemoError(job.error.message if job.error else f"the job was {job.state.value}")
        return client.get(job.links.result).raise_for_status().content


def _read_job(response: httpx.Response) -> Job:
    if response.is_client_error:
        problem = response.json()
        raise DemoError(problem.get("detail") or problem["title"])
    return Job.model_validate_json(response.raise_for_status().content)


if __name__ == "__main__":
    sys.exit(main())

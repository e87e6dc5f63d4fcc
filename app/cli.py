"""The command `emoclip`: the whole service (`serve`), its single processes (`api`, `worker`), one video (`analyze`).

Exit codes: 0 done, or a service stopped by Ctrl-C or SIGTERM; 1 the service failed; 2 wrong usage, or a video that is
missing or cannot be analysed; 130 an analysis stopped by Ctrl-C. Each command imports its libraries when it runs:
`emoclip api` never loads torch.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console

__all__ = ["create_parser", "main"]

_LOOK_SECONDS = 0.5
"""How often the one-command service looks whether all its processes run."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = create_parser().parse_args(arguments)
    errors = Console(stderr=True, style="red", markup=False, highlight=False, soft_wrap=True)
    try:
        code: int = options.run(options, errors)
    except ValidationError as error:
        for problem in error.errors():
            errors.print(f"{' '.join(str(part) for part in problem['loc'])}: {problem['msg']}")
        return 2
    except KeyboardInterrupt:
        errors.print("stopped")
        return 130
    return code


def create_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(prog="emoclip", description="Expressions of the faces in a video, over time.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    analyze = commands.add_parser("analyze", help="analyse one video in this process")
    analyze.add_argument("video", type=Path)
    analyze.add_argument("--json", type=Path, metavar="F", help="write everything: video, model, summary, rows")
    analyze.add_argument("--csv", type=Path, metavar="F", help="write one line a face and frame")
    analyze.add_argument("--plot", type=Path, metavar="F.png", help="draw the timeline")
    analyze.add_argument("--sample-fps", type=float, metavar="N", help="analyse at most N frames a second")
    analyze.add_argument("--max-faces", type=int, metavar="N", help="keep the N largest faces of a frame")
    analyze.add_argument("--min-face-pixels", type=int, metavar="N", help="ignore faces narrower or lower than N")
    analyze.set_defaults(run=_analyze)

    serve = commands.add_parser("serve", help="run the whole service: Redis, workers and API")
    serve.add_argument("--host", help="address to listen on (default: EMOCLIP_HOST, else 127.0.0.1)")
    serve.add_argument("--port", type=int, help="port to listen on (default: EMOCLIP_PORT, else 8000)")
    serve.add_argument("--workers", type=int, default=1, metavar="N", help="worker processes (default: 1)")
    serve.add_argument("--data-dir", type=Path, metavar="DIR", help="keep jobs and logs here (default: forgotten)")
    serve.set_defaults(run=_serve)

    api = commands.add_parser("api", help="run the API alone; Redis is at EMOCLIP_REDIS_URL")
    api.add_argument("--host", help="address to listen on (default: EMOCLIP_HOST, else 127.0.0.1)")
    api.add_argument("--port", type=int, help="port to listen on (default: EMOCLIP_PORT, else 8000)")
    api.set_defaults(run=_api)

    worker = commands.add_parser("worker", help="run one worker; Redis is at EMOCLIP_REDIS_URL")
    worker.add_argument("--check", action="store_true", help="only tell whether a worker of this host is alive")
    worker.set_defaults(run=_worker)
    return parser


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
        return 2
    except NetworksError as error:
        errors.print(str(error))
        return 1
    return 0


def _serve(options: argparse.Namespace, errors: Console) -> int:
    from app.embedded import EmbeddedServiceError, run_service
    from app.processes import sigterm_as_interrupt
    from app.settings import ApiSettings

    settings = ApiSettings()
    console = Console(highlight=False, soft_wrap=True)
    with contextlib.ExitStack() as stack:
        stack.enter_context(sigterm_as_interrupt())
        if options.data_dir is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="emoclip-")))
        else:
            directory = options.data_dir.resolve()
            directory.mkdir(parents=True, exist_ok=True)
        try:
            with console.status("starting redis-server, workers and the API"):
                service = stack.enter_context(
                    run_service(
                        directory,
                        host=options.host or settings.host,
                        port=(settings.port if options.port is None else options.port) or None,
                        workers=options.workers,
                    )
                )
            console.print(f"emoclip is ready on {service.url} (documentation: {service.url}/docs)")
            console.print(f"logs: {service.log_directory}; Ctrl-C stops it")
            while True:
                time.sleep(_LOOK_SECONDS)
                service.ensure_running()
        except EmbeddedServiceError as error:
            errors.print(str(error))
            return 1
        except KeyboardInterrupt:  # the way in which a service is meant to end
            console.print("stopping")
            return 0


def _api(options: argparse.Namespace, errors: Console) -> int:
    import uvicorn

    from app.logs import create_log_config
    from app.main import create_app
    from app.processes import sigterm_as_interrupt
    from app.settings import ApiSettings

    settings = ApiSettings()
    try:
        app = create_app(settings)
    except (OSError, ValueError) as error:  # such as a file of API keys that cannot be read
        if isinstance(error, ValidationError):
            raise
        errors.print(str(error))
        return 2
    # uvicorn ends itself by the signal that stopped it; being stopped is no failure
    with contextlib.suppress(KeyboardInterrupt), sigterm_as_interrupt():
        uvicorn.run(
            app,
            host=options.host or settings.host,
            port=settings.port if options.port is None else options.port,
            server_header=False,
            access_log=False,  # app.request_ids logs requests, without the names that a query may hold
            log_config=create_log_config(),
            timeout_graceful_shutdown=10,  # an upload may take an hour; what it left is cleaned up when it is cut off
        )
    return 0


def _worker(options: argparse.Namespace, _errors: Console) -> int:
    if options.check:
        from app.health import has_worker_here

        return 0 if has_worker_here() else 1
    from worker.tasks import run_worker

    return run_worker()


if __name__ == "__main__":
    sys.exit(main())

"""`emoclip serve`: the whole service in one command, until Ctrl-C."""

import argparse
import contextlib
import tempfile
import time
from pathlib import Path

from rich.console import Console

from app.commands.exit_codes import ExitCode
from app.commands.parsers import Commands, add_address, create_command

__all__ = ["add_parser"]

_LOOK_SECONDS = 0.5
"""How often the one-command service looks whether all its processes run."""


def add_parser(commands: Commands) -> None:
    """Describe the command."""
    parser = create_command(commands, "serve", _serve, help="run the whole service: Redis, workers and API")
    add_address(parser)
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="worker processes (default: 1)")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="keep jobs and logs here (default: forgotten)")


def _serve(options: argparse.Namespace, errors: Console) -> int:
    from app.auth import check_access
    from app.embedded import EmbeddedServiceError, run_service
    from app.processes import sigterm_as_interrupt
    from app.settings import ApiSettings

    settings = ApiSettings()
    host = options.host or settings.host
    try:
        check_access(settings, host=host)
    except (OSError, ValueError) as error:
        errors.print(str(error))
        return ExitCode.NOTHING_DONE
    console = Console(highlight=False, soft_wrap=True)
    with contextlib.ExitStack() as stack:
        stack.enter_context(sigterm_as_interrupt())
        if options.data_dir is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="emoclip-")))
        else:
            directory = options.data_dir.resolve()
            try:
                directory.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                errors.print(f"{options.data_dir} cannot be a folder for the service: {error.strerror}")
                return ExitCode.NOTHING_DONE
        try:
            with console.status("starting redis-server, workers and the API"):
                service = stack.enter_context(
                    run_service(
                        directory,
                        host=host,
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
            return ExitCode.FAILED
        except KeyboardInterrupt:  # the way in which a service is meant to end
            console.print("stopping")
            return ExitCode.DONE

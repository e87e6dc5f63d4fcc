"""`emoclip worker`: one worker process, for production."""

import argparse

from rich.console import Console

from app.commands.exit_codes import ExitCode
from app.commands.parsers import Commands, create_command

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """Describe the command."""
    parser = create_command(commands, "worker", _worker, help="run one worker; Redis is at EMOCLIP_REDIS_URL")
    parser.add_argument("--check", action="store_true", help="only tell whether a worker of this host is alive")


def _worker(options: argparse.Namespace, _errors: Console) -> int:
    if options.check:
        from app.health import has_worker_here

        return ExitCode.DONE if has_worker_here() else ExitCode.FAILED
    from worker.tasks import run_worker

    return run_worker()

"""What commands share: how one is described, options that several have, and lines for people and programs."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.console import Console

from app.commands.exit_codes import EPILOG

if TYPE_CHECKING:  # generic for the type checker only
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Commands = argparse._SubParsersAction

__all__ = ["Commands", "Run", "add_address", "add_job_options", "create_command", "print_line"]

Run = Callable[[argparse.Namespace, Console], int]
"""Takes the options and where errors are printed, returns the exit code."""


def create_command(
    commands: Commands, name: str, run: Run, *, help: str, description: str | None = None
) -> argparse.ArgumentParser:
    """Add a command and return its parser.

    Args:
        commands: Where it is added.
        name: As it is typed.
        run: What it does.
        help: One line for the list of commands.
        description: Text of the command's own help; the line by default.
    """
    parser = commands.add_parser(
        name,
        help=help,
        description=description or f"{help[0].upper()}{help[1:]}.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def add_job_options(parser: argparse._ActionsContainer) -> None:
    """Add how videos are analysed, to a parser or to a group of its options."""
    parser.add_argument("--sample-fps", type=float, metavar="N", help="analyse at most N frames a second")
    parser.add_argument("--max-faces", type=int, metavar="N", help="keep the N largest faces of a frame")
    parser.add_argument("--min-face-pixels", type=int, metavar="N", help="ignore faces narrower or lower than N")
    parser.add_argument("--purpose", metavar="P", help="what the videos are analysed for, shown with their results")


def add_address(parser: argparse.ArgumentParser) -> None:
    """Add where the API listens."""
    parser.add_argument("--host", help="address to listen on (default: EMOCLIP_HOST, else 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (default: EMOCLIP_PORT, else 8000)")


def print_line(line: str, *, stderr: bool = False) -> None:
    """Print a line as it is, however long: to standard output, where programs read it, or beside it."""
    Console(stderr=stderr, highlight=False, soft_wrap=True, markup=False).print(line)

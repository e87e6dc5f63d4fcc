"""How a command is described: its parser, the function that runs it, and the exit codes below its help."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.console import Console

from app.commands.exit_codes import EPILOG

if TYPE_CHECKING:  # generic for the type checker only
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Commands = argparse._SubParsersAction

__all__ = ["Commands", "Run", "create_command"]

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

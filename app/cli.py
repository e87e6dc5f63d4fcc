"""The command `emoclip`: the whole service, its single processes, videos analysed here, jobs on a server.

What a command does stands in its file in app.commands; a new one is a line in `_COMMANDS`. Each imports its libraries
when it runs: `emoclip api` never loads torch.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from pydantic import ValidationError
from rich.console import Console

from app.commands import analyze, api, jobs, keys, serve, worker
from app.commands.exit_codes import EPILOG, ExitCode

__all__ = ["create_parser", "main"]

_COMMANDS = (
    analyze,
    jobs,
    serve,
    api,
    worker,
    keys,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = create_parser().parse_args(arguments)
    errors = Console(stderr=True, style="red", markup=False, highlight=False, soft_wrap=True)
    try:
        code: int = options.run(options, errors)
    except ValidationError as error:
        for problem in error.errors():
            errors.print(f"{' '.join(str(part) for part in problem['loc'])}: {problem['msg']}")
        return ExitCode.NOTHING_DONE
    except BrokenPipeError:  # such as that of `head`, which has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is buffered has no reader either
        return ExitCode.FAILED
    except KeyboardInterrupt:
        errors.print("stopped")
        return ExitCode.INTERRUPTED
    return code


def create_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="emoclip",
        description="Expressions of the faces in a video, over time.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add_parser(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""The exit codes of every command, and the sentence that `--help` shows of each."""

from enum import IntEnum

__all__ = ["EPILOG", "ExitCode"]


class ExitCode(IntEnum):
    """What a shell sees."""

    DONE = 0
    FAILED = 1
    NOTHING_DONE = 2
    """argparse's own code for wrong usage, too."""
    INTERRUPTED = 130


EPILOG = """exit codes:
  0    done, or a service stopped by Ctrl-C or SIGTERM
  1    failed: some of several videos, a job, the networks, the service or the server
  2    nothing was done: wrong usage or settings, or no video that can be analysed
  130  stopped by Ctrl-C"""

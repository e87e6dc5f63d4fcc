"""`emoclip jobs`: the jobs of a service, here or elsewhere, through its API."""

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console

from app.commands.exit_codes import ExitCode
from app.commands.parsers import Commands, add_job_options, create_command, print_line

if TYPE_CHECKING:  # the client is loaded when a command runs
    from app.client import Client, Job

__all__ = ["add_parser"]

_URL_VARIABLE, _KEY_VARIABLE = "EMOCLIP_URL", "EMOCLIP_KEY"
_DEFAULT_URL = "http://127.0.0.1:8000"
_FIRST_CONTACT_SECONDS = 2.0
"""A person waits."""
_POLL_SECONDS = 1.0
_DESCRIPTION = f"""The jobs of a service. Its address is --url or {_URL_VARIABLE} (default: {_DEFAULT_URL}),
the API key --key or {_KEY_VARIABLE}, which other users of this machine cannot see. With --json, standard output has
one job a line.

  job=$(emoclip jobs submit talk.mp4)
  emoclip jobs wait "$job" && emoclip jobs result "$job" --format csv >rows.csv"""

Act = Callable[[argparse.Namespace, "Client", Console], int]
Item = TypeVar("Item", str, Path)


def add_parser(commands: Commands) -> None:
    """Describe the command."""
    parser = create_command(
        commands, "jobs", _jobs, help="submit, list, show, wait for, cancel and delete jobs", description=_DESCRIPTION
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    submit = _add_verb(verbs, "submit", _submit, help="send videos; prints the id of each job")
    submit.add_argument("videos", nargs="+", type=Path, metavar="VIDEO")
    add_job_options(submit)
    shown = _add_verb(verbs, "list", _list, help="list jobs, newest first")
    shown.add_argument("--limit", type=int, default=20, metavar="N", help="most jobs to list (default: 20; 0: all)")
    _add_ids(_add_verb(verbs, "show", _show, help="show all that is known of jobs"))
    wait = _add_verb(verbs, "wait", _wait, help="wait until jobs have ended; fails unless all of them succeeded")
    _add_ids(wait)
    wait.add_argument("--timeout", type=float, metavar="S", help="wait for each job at most S seconds")
    result = _add_verb(verbs, "result", _result, help="fetch the result of a job that succeeded")
    result.add_argument("job", metavar="JOB")
    result.add_argument("-f", "--format", default="json", metavar="F", help="json, csv or any other of the service")
    result.add_argument("-o", "--out", type=Path, metavar="F", help="file to write (default: standard output)")
    result.add_argument("--smoothing-seconds", type=float, default=0.0, metavar="S", help="smooth over S seconds")
    _add_ids(_add_verb(verbs, "cancel", _cancel, help="stop jobs; what they have found stays until it expires"))
    _add_ids(_add_verb(verbs, "delete", _delete, help="stop jobs and erase them, their videos and rows at once"))


def _add_verb(verbs: Commands, name: str, act: Act, *, help: str) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.")
    parser.add_argument("--url", help=f"address of the service (default: {_URL_VARIABLE}, else {_DEFAULT_URL})")
    parser.add_argument("--key", help=f"API key (default: {_KEY_VARIABLE})")
    parser.add_argument("--json", action="store_true", help="print jobs as JSON, one a line")
    parser.set_defaults(act=act)
    return parser


def _add_ids(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("jobs", nargs="+", metavar="JOB", help="id of a job")


def _jobs(options: argparse.Namespace, errors: Console) -> int:
    from app.client import Client, ClientError

    act: Act = options.act
    try:
        client = Client(
            options.url or os.environ.get(_URL_VARIABLE) or _DEFAULT_URL,
            options.key or os.environ.get(_KEY_VARIABLE) or None,
            first_contact_seconds=_FIRST_CONTACT_SECONDS,
        )
    except ValueError as error:
        errors.print(str(error))
        return ExitCode.NOTHING_DONE
    with client:
        try:
            return act(options, client, errors)
        except ClientError as error:
            errors.print(_explain(error))
            return ExitCode.FAILED


def _explain(error: Exception) -> str:
    from app.client import NoAnswerError, UnauthorizedError

    match error:
        case NoAnswerError():
            return f"{error} Is the service running there? Its address is set by --url or {_URL_VARIABLE}."
        case UnauthorizedError():
            return f"The service asks for a valid API key: set {_KEY_VARIABLE} or give --key."
    return str(error)


def _submit(options: argparse.Namespace, client: "Client", errors: Console) -> int:
    from app.jobs_report import print_json
    from app.progress_bars import create_progress, show_progress

    def send(video: Path) -> None:
        with create_progress(Console(stderr=True)) as bars:
            job = client.submit(
                video,
                sample_fps=options.sample_fps,
                max_faces=options.max_faces,
                min_face_pixels=options.min_face_pixels,
                purpose=options.purpose,
                on_progress=show_progress(bars, video.name),
            )
        if options.json:
            print_json(job)
        else:
            print_line(job.id)

    return _for_each(options.videos, send, errors)


def _list(options: argparse.Namespace, client: "Client", _errors: Console) -> int:
    from app.jobs_report import print_jobs, print_json

    jobs = client.jobs(limit=options.limit or None)
    if options.json:
        for job in jobs:
            print_json(job)
    else:
        print_jobs(Console(), list(jobs))
    return ExitCode.DONE


def _show(options: argparse.Namespace, client: "Client", errors: Console) -> int:
    return _for_each(options.jobs, lambda job_id: _print_job(client.job(job_id), options), errors)


def _wait(options: argparse.Namespace, client: "Client", errors: Console) -> int:
    from app.client import JobState
    from app.jobs_report import describe_end
    from app.progress_bars import create_progress, show_progress

    def wait(job_id: str) -> None:
        with create_progress(Console(stderr=True)) as bars:
            job = client.wait(
                job_id,
                timeout_seconds=options.timeout,
                poll_seconds=_POLL_SECONDS,
                on_progress=show_progress(bars, job_id),
            )
        if options.json:
            _print_job(job, options)
        else:
            print_line(f"{job_id}: {describe_end(job)}")
        ended_well.append(job.state is JobState.SUCCEEDED)

    ended_well: list[bool] = []
    code = _for_each(options.jobs, wait, errors)
    return code if all(ended_well) else ExitCode.FAILED


def _result(options: argparse.Namespace, client: "Client", errors: Console) -> int:
    target = sys.stdout.buffer if options.out is None or options.out == Path("-") else options.out

    def fetch(job_id: str) -> None:
        client.download(job_id, target, format=options.format, smoothing_seconds=options.smoothing_seconds)

    return _for_each([options.job], fetch, errors)


def _cancel(options: argparse.Namespace, client: "Client", errors: Console) -> int:
    def cancel(job_id: str) -> None:
        job = client.cancel(job_id)
        if options.json:
            _print_job(job, options)
        else:
            print_line(f"{job_id}: {job.state.value}")

    return _for_each(options.jobs, cancel, errors)


def _delete(options: argparse.Namespace, client: "Client", errors: Console) -> int:
    def delete(job_id: str) -> None:
        client.delete(job_id)
        if not options.json:
            print_line(f"{job_id}: deleted")

    return _for_each(options.jobs, delete, errors)


def _for_each(items: Iterable[Item], act: Callable[[Item], None], errors: Console) -> int:
    """Do something with each; one that is refused is told and does not stop the others."""
    from app.client import ClientError, NoAnswerError, UnauthorizedError

    code = ExitCode.DONE
    for item in items:
        try:
            act(item)
        except (NoAnswerError, UnauthorizedError, BrokenPipeError):
            raise  # the next one would fare no better
        except (ClientError, OSError) as error:
            errors.print(f"{item}: {error.strerror or error}" if isinstance(error, OSError) else f"{item}: {error}")
            code = ExitCode.FAILED
    return code


def _print_job(job: "Job", options: argparse.Namespace) -> None:
    from app.jobs_report import print_job, print_json

    if options.json:
        print_json(job)
    else:
        print_job(Console(), job)

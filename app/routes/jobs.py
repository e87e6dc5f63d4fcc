"""The endpoints of jobs: make, list, show, erase."""

from contextlib import suppress
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Header, Query, Request, Response

from app.errors import TooManyStreamsError
from app.live import until_client_leaves
from app.parameters import CreateParameters, ListParameters
from app.preferences import LONGEST_WAIT_SECONDS, parse_wait
from app.routes.common import (
    BAD_PARAMETER,
    DIGEST_HELP,
    JOB_HEADERS,
    NO_JOB,
    RETRY_AFTER,
    AcceptanceDependency,
    CallbacksDependency,
    JobsDependency,
    LiveDependency,
    OwnerDependency,
    create_retry_after,
    document_header,
    document_problems,
    to_job,
    to_wish,
)
from app.schemas import Job, JobPage

__all__ = ["router"]

router = APIRouter()

_PREFER = (
    "`wait=SECONDS` (RFC 7240): answer when the job has ended, or after so many seconds, "
    f"of which at most {LONGEST_WAIT_SECONDS} are granted."
)

_VIDEO_BODY: dict[str, Any] = {
    "parameters": [
        document_header(
            "Idempotency-Key",
            "Any string of 1 to 255 visible characters, such as a UUID: a request that is made again with the same key "
            "makes no second job. The key is yours alone and is forgotten with the job.",
        ),
        document_header("Content-Digest", DIGEST_HELP),
        document_header("Repr-Digest", DIGEST_HELP),
    ],
    "requestBody": {
        "required": True,
        "description": "The video: as the field `video` of a form, or as the raw body.",
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["video"],
                    "properties": {"video": {"type": "string", "format": "binary"}},
                }
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "video/*": {"schema": {"type": "string", "format": "binary"}},
        },
    },
}
_CREATE: dict[str, Any] = {
    "status_code": 202,
    "response_model": Job,
    "openapi_extra": _VIDEO_BODY,
    "tags": ["jobs"],
    "responses": {
        200: {
            "description": "The job that an earlier request with this Idempotency-Key made, at whatever state it is.",
            "headers": JOB_HEADERS,
            "model": Job,
        },
        202: {"description": "Accepted; poll the job at `Location`.", "headers": JOB_HEADERS},
        **document_problems(
            _400="The form is malformed or cut off, a header is malformed, or the body is not what its digest says.",
            _408="The upload is too slow.",
            _409="Another request with this Idempotency-Key is being served.",
            _413="The video is too large.",
            _415="By its Content-Type or Content-Encoding the body is no plain video.",
            _422="The video is empty or missing, a parameter is refused, or the Idempotency-Key is taken.",
            _429="Too many uploads at the same time, or a limit of the key: requests, jobs on their way, bytes a day.",
            _507="No room for the video.",
        ),
    },
}


@router.post("/v1/jobs", summary="Analyse a video", operation_id="create_job", **_CREATE)
@router.put("/v1/jobs", summary="Analyse a video (curl -T)", operation_id="create_job_by_put", **_CREATE)
async def create_job(
    request: Request,
    response: Response,
    acceptance: AcceptanceDependency,
    callbacks: CallbacksDependency,
    owner: OwnerDependency,
    parameters: Annotated[CreateParameters, Query()],
) -> Job:
    """Queue a video for analysis. `curl -T` sends PUT, which does the same as POST.

    The SHA-256 of what arrived is the job's `upload.sha256`.
    """
    await callbacks.check(parameters.callback_url)
    accepted = await acceptance.accept(request, to_wish(parameters, owner=owner))
    if not accepted.is_new:
        response.status_code = 200
    job = to_job(request, accepted.job)
    response.headers["Location"] = job.links.self
    response.headers["Retry-After"] = create_retry_after(accepted.job)
    return job


@router.get(
    "/v1/jobs",
    summary="List jobs, newest first",
    operation_id="list_jobs",
    tags=["jobs"],
    responses=document_problems(_422=BAD_PARAMETER),
)
def list_jobs(
    request: Request, jobs: JobsDependency, owner: OwnerDependency, parameters: Annotated[ListParameters, Query()]
) -> JobPage:
    """Return the jobs that belong to the API key, by pages."""
    found, following = jobs.list_jobs(owner=owner, limit=parameters.limit, before=parameters.cursor)
    return JobPage(jobs=[to_job(request, snapshot) for snapshot in found], next=following)


@router.get(
    "/v1/jobs/{job_id}",
    summary="State, progress and summary of a job",
    operation_id="get_job",
    tags=["jobs"],
    responses={
        200: {
            "headers": {
                **RETRY_AFTER,
                "Preference-Applied": {
                    "description": "`wait=SECONDS`, where the request waited or could have.",
                    "schema": {"type": "string"},
                },
            }
        },
        **document_problems(_404=NO_JOB),
    },
)
async def get_job(
    request: Request,
    response: Response,
    jobs: JobsDependency,
    live: LiveDependency,
    owner: OwnerDependency,
    job_id: str,
    prefer: Annotated[list[str] | None, Header(description=_PREFER)] = None,
) -> Job:
    """Return all that is known of a job; poll it until its state is terminal, or let it answer when it is."""
    snapshot = await to_thread.run_sync(lambda: jobs.get(job_id, owner=owner))
    wait_seconds = parse_wait(prefer or [])
    if wait_seconds and not snapshot.state.is_terminal:
        # a preference need not be met: with too many waiting requests this one is answered at once
        with suppress(TooManyStreamsError), live.slots.hold(owner):
            async with until_client_leaves(request):
                await live.watcher.wait_for_end(job_id, seconds=wait_seconds)
            response.headers["Preference-Applied"] = f"wait={wait_seconds}"
            snapshot = await to_thread.run_sync(lambda: jobs.get(job_id, owner=owner))
    elif wait_seconds:
        response.headers["Preference-Applied"] = f"wait={wait_seconds}"
    if not snapshot.state.is_terminal:
        response.headers["Retry-After"] = create_retry_after(snapshot)
    return to_job(request, snapshot)


@router.delete(
    "/v1/jobs/{job_id}",
    summary="Cancel and erase a job",
    operation_id="delete_job",
    tags=["jobs"],
    status_code=204,
    response_class=Response,
    responses=document_problems(_404=NO_JOB),
)
def delete_job(jobs: JobsDependency, owner: OwnerDependency, job_id: str) -> None:
    """Stop the analysis if it runs, and erase the upload, the rows and the record at once."""
    jobs.delete(job_id, owner=owner)

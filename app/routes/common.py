"""What all routes share: how they reach the jobs, how refusals are documented, how a job is shown."""

import math
from typing import Annotated, Any

from fastapi import Depends, Request

from app.acceptance import Acceptance, JobWish
from app.auth import get_owner
from app.exports.head import Summary
from app.jobs import Jobs
from app.live import Live
from app.parameters import CreateParameters
from app.schemas import Job, JobLinks, Upload, Webhook
from app.webhook_target import parse_webhook_url
from app.webhooks import Callbacks
from worker.contract import JobOptions, JobSnapshot

__all__ = [
    "BAD_PARAMETER",
    "DIGEST_HELP",
    "HOST_PROBLEM",
    "JOB_HEADERS",
    "NO_JOB",
    "PROBLEM_CONTENT",
    "RETRY_AFTER",
    "AcceptanceDependency",
    "CallbacksDependency",
    "JobsDependency",
    "LiveDependency",
    "OwnerDependency",
    "create_retry_after",
    "document_header",
    "document_problems",
    "get_job_path",
    "get_prefix",
    "show_job",
    "to_job",
    "to_wish",
]


def _get_jobs(request: Request) -> Jobs:
    jobs: Jobs = request.app.state.jobs
    return jobs


def _get_acceptance(request: Request) -> Acceptance:
    acceptance: Acceptance = request.app.state.acceptance
    return acceptance


def _get_live(request: Request) -> Live:
    live: Live = request.app.state.live
    return live


def _get_callbacks(request: Request) -> Callbacks:
    callbacks: Callbacks = request.app.state.callbacks
    return callbacks


AcceptanceDependency = Annotated[Acceptance, Depends(_get_acceptance)]
CallbacksDependency = Annotated[Callbacks, Depends(_get_callbacks)]
JobsDependency = Annotated[Jobs, Depends(_get_jobs)]
LiveDependency = Annotated[Live, Depends(_get_live)]
OwnerDependency = Annotated[str, Depends(get_owner)]

RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait before asking again.", "schema": {"type": "integer"}}}
JOB_HEADERS = {"Location": {"description": "URL of the job.", "schema": {"type": "string"}}, **RETRY_AFTER}
DIGEST_HELP = (
    "Digest of the body, as `sha-256=:BASE64:` or `sha-512=:BASE64:` (RFC 9530): checked when the body is there."
)
PROBLEM_CONTENT = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_HOST_REFUSED = "`Host` or `Origin` names another machine, where no keys are asked for."
HOST_PROBLEM: dict[int | str, dict[str, Any]] = {403: {"description": _HOST_REFUSED, "content": PROBLEM_CONTENT}}


def document_header(name: str, description: str, *, required: bool = False) -> dict[str, Any]:
    """Document a header of requests that is read by hand, because what is wrong with it is no 422."""
    schema = {"type": "string"}
    return {"name": name, "in": "header", "description": description, "required": required, "schema": schema}


def document_problems(**descriptions: str) -> dict[int | str, dict[str, Any]]:
    """Document refusals: `_404="no such job"`; 401, 403, 429 and 503 can happen to every request that touches jobs."""
    common = {
        "_401": "No valid API key, where keys are asked for.",
        "_403": _HOST_REFUSED,
        "_429": "The API key has made as many requests as it may a minute.",
        "_503": "The job store does not answer.",
    }
    return {
        name.removeprefix("_"): {"description": text, "content": PROBLEM_CONTENT}
        | ({"headers": RETRY_AFTER} if name in ("_429", "_503") else {})
        for name, text in {**common, **descriptions}.items()
    }


NO_JOB = "No such job, or not yours."
BAD_PARAMETER = "A parameter is refused; `errors` names it."


def get_prefix(request: Request) -> str:
    """Return what stands before our paths as clients see them: the prefix under which a proxy serves us, if any."""
    prefix: str = request.scope.get("root_path", "")
    return prefix.rstrip("/")


def get_job_path(request: Request, job_id: str) -> str:
    """Return the path of a job as the client sees it."""
    return f"{get_prefix(request)}/v1/jobs/{job_id}"


def to_job(request: Request, snapshot: JobSnapshot) -> Job:
    """Return what the API says of a job."""
    return show_job(snapshot, own=get_job_path(request, snapshot.record.job_id))


def show_job(snapshot: JobSnapshot, *, own: str) -> Job:
    """Return the same, given the path at which clients find the job."""
    record = snapshot.record
    return Job(
        id=record.job_id,
        state=snapshot.state,
        created_at=snapshot.created_at,
        started_at=snapshot.started_at,
        finished_at=snapshot.finished_at,
        expires_at=snapshot.expires_at,
        options=record.options,
        upload=Upload(file_name=record.file_name, size_bytes=record.size_bytes, sha256=record.sha256),
        progress=snapshot.progress,
        rows_ready=snapshot.rows_ready,
        video=snapshot.video,
        model=snapshot.model,
        error=snapshot.failure,
        summary=Summary(tracks=list(snapshot.summary)) if snapshot.summary is not None else None,
        webhook=Webhook(
            url=parse_webhook_url(record.callback_url).origin,
            state=snapshot.webhook.state,
            attempts=list(snapshot.webhook.attempts),
            next_attempt_at=snapshot.webhook.next_attempt_at,
        )
        if snapshot.webhook is not None and record.callback_url is not None
        else None,
        links=JobLinks(
            self=own,
            frames=f"{own}/frames",
            events=f"{own}/events",
            result=f"{own}/result" if snapshot.summary is not None else None,
        ),
    )


def to_wish(parameters: CreateParameters, *, owner: str) -> JobWish:
    """Return what the parameters of a new job ask for."""
    return JobWish(
        owner=owner,
        options=JobOptions.model_validate(parameters.model_dump(include=set(JobOptions.model_fields))),
        file_name=parameters.file_name,
        callback_url=parameters.callback_url,
    )


def create_retry_after(snapshot: JobSnapshot) -> str:
    """Return seconds: a tenth of what is left to do, within reason."""
    eta_seconds = snapshot.progress.eta_seconds or 0.0
    return str(min(max(math.ceil(eta_seconds / 10), 1), 30))

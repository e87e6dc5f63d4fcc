"""The endpoints: what a request means and what its answer looks like. The work is in app.jobs."""

import math
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse

from app.auth import get_owner
from app.errors import NotReadyError
from app.exports import Summary, iter_csv, iter_json
from app.jobs import Jobs, create_result_head
from app.schemas import (
    CreateParameters,
    FramesPage,
    FramesParameters,
    Health,
    Job,
    JobLinks,
    JobPage,
    ListParameters,
    Readiness,
    ResultParameters,
    Upload,
)
from worker.contract import JobOptions, JobSnapshot
from worker.store import StoreUnavailableError

__all__ = ["router"]

router = APIRouter()


def _get_jobs(request: Request) -> Jobs:
    jobs: Jobs = request.app.state.jobs
    return jobs


JobsDependency = Annotated[Jobs, Depends(_get_jobs)]
OwnerDependency = Annotated[str, Depends(get_owner)]

_RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait before asking again.", "schema": {"type": "integer"}}}
_PROBLEM_CONTENT = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


def _problems(**descriptions: str) -> dict[int | str, dict[str, Any]]:
    """Document refusals: `_404="no such job"`; 401 and 503 can happen to every request that touches jobs."""
    common = {"_401": "No valid API key, where keys are asked for.", "_503": "The job store does not answer."}
    return {
        name.removeprefix("_"): {"description": text, "content": _PROBLEM_CONTENT}
        for name, text in {**common, **descriptions}.items()
    }


_NO_JOB = "No such job, or not yours."
_BAD_PARAMETER = "A parameter is refused; `errors` names it."
_VIDEO_BODY: dict[str, Any] = {
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
    }
}
_CREATE: dict[str, Any] = {
    "status_code": 202,
    "response_model": Job,
    "openapi_extra": _VIDEO_BODY,
    "tags": ["jobs"],
    "responses": {
        202: {
            "description": "Accepted; poll the job at `Location`.",
            "headers": {
                "Location": {"description": "URL of the job.", "schema": {"type": "string"}},
                **_RETRY_AFTER,
            },
        },
        **_problems(
            _400="The form is malformed or cut off.",
            _408="The upload is too slow.",
            _413="The video is too large.",
            _415="By its Content-Type or Content-Encoding the body is no plain video.",
            _422="The video is empty or missing, or a parameter is refused.",
            _429="Too many uploads at the same time.",
            _507="No room for the video.",
        ),
    },
}


@router.post("/v1/jobs", summary="Analyse a video", operation_id="create_job", **_CREATE)
@router.put("/v1/jobs", summary="Analyse a video (curl -T)", operation_id="create_job_by_put", **_CREATE)
async def create_job(
    request: Request,
    response: Response,
    jobs: JobsDependency,
    owner: OwnerDependency,
    parameters: Annotated[CreateParameters, Query()],
) -> Job:
    """Queue a video for analysis. `curl -T` sends PUT, which does the same as POST."""
    options = JobOptions.model_validate(parameters.model_dump(exclude={"file_name"}))
    snapshot = await jobs.accept(request, owner=owner, options=options, file_name=parameters.file_name)
    job = _to_job(request, snapshot)
    response.headers["Location"] = job.links.self
    response.headers["Retry-After"] = _retry_after(snapshot)
    return job


@router.get(
    "/v1/jobs",
    summary="List jobs, newest first",
    operation_id="list_jobs",
    tags=["jobs"],
    responses=_problems(_422=_BAD_PARAMETER),
)
def list_jobs(
    request: Request, jobs: JobsDependency, owner: OwnerDependency, parameters: Annotated[ListParameters, Query()]
) -> JobPage:
    """Return the jobs that belong to the API key, by pages."""
    found, following = jobs.list_jobs(owner=owner, limit=parameters.limit, before=parameters.cursor)
    return JobPage(jobs=[_to_job(request, snapshot) for snapshot in found], next=following)


@router.get(
    "/v1/jobs/{job_id}",
    summary="State, progress and summary of a job",
    operation_id="get_job",
    tags=["jobs"],
    responses={200: {"headers": _RETRY_AFTER}, **_problems(_404=_NO_JOB)},
)
def get_job(request: Request, response: Response, jobs: JobsDependency, owner: OwnerDependency, job_id: str) -> Job:
    """Return all that is known of a job; poll it until its state is terminal."""
    snapshot = jobs.get(job_id, owner=owner)
    if not snapshot.state.is_terminal:
        response.headers["Retry-After"] = _retry_after(snapshot)
    return _to_job(request, snapshot)


@router.get(
    "/v1/jobs/{job_id}/frames",
    summary="Rows: faces and probabilities for each analysed frame",
    operation_id="list_frames",
    tags=["results"],
    response_model=FramesPage,
    responses={200: {"headers": _RETRY_AFTER}, **_problems(_404=_NO_JOB, _422=_BAD_PARAMETER)},
)
def list_frames(
    jobs: JobsDependency, owner: OwnerDependency, job_id: str, parameters: Annotated[FramesParameters, Query()]
) -> Response:
    """Return rows by pages, also while the job runs: what is returned is final."""
    page = jobs.get_rows(
        job_id,
        owner=owner,
        start=parameters.start,
        limit=parameters.limit,
        smoothing_seconds=parameters.smoothing_seconds,
    )
    body = FramesPage.model_construct(
        job_id=job_id,
        state=page.job.state,
        start=page.start,
        smoothing_seconds=parameters.smoothing_seconds,
        rows=page.rows,
        next=page.next,
    )
    wait = {} if page.job.state.is_terminal else {"Retry-After": _retry_after(page.job)}
    # dumped here, once: through the framework a thousand rows would be checked and copied again
    return Response(body.model_dump_json(), media_type="application/json", headers=wait)


@router.get(
    "/v1/jobs/{job_id}/result",
    summary="The whole result as a file",
    operation_id="get_result",
    tags=["results"],
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "JSON: `video`, `model`, `options`, `summary`, `rows`. CSV: one line a face and frame.",
            "content": {"application/json": {}, "text/csv": {}},
        },
        **_problems(_404=_NO_JOB, _409="The job has not succeeded.", _422=_BAD_PARAMETER),
    },
)
def get_result(
    jobs: JobsDependency, owner: OwnerDependency, job_id: str, parameters: Annotated[ResultParameters, Query()]
) -> StreamingResponse:
    """Return everything a succeeded job found, streamed."""
    job = jobs.get(job_id, owner=owner)
    head = create_result_head(job, smoothing_seconds=parameters.smoothing_seconds)
    rows = jobs.iter_result(job, smoothing_seconds=parameters.smoothing_seconds)
    is_csv = parameters.format == "csv"
    return StreamingResponse(
        iter_csv(rows) if is_csv else iter_json(head, rows),
        media_type="text/csv; charset=utf-8; header=present" if is_csv else "application/json",
        headers={"Content-Disposition": f'attachment; filename="emoclip-{job_id}.{parameters.format}"'},
    )


@router.delete(
    "/v1/jobs/{job_id}",
    summary="Cancel and erase a job",
    operation_id="delete_job",
    tags=["jobs"],
    status_code=204,
    response_class=Response,
    responses=_problems(_404=_NO_JOB),
)
def delete_job(jobs: JobsDependency, owner: OwnerDependency, job_id: str) -> None:
    """Stop the analysis if it runs, and erase the upload, the rows and the record at once."""
    jobs.delete(job_id, owner=owner)


@router.get("/healthz", summary="Whether the process answers", operation_id="get_health", tags=["service"])
async def get_health() -> Health:
    """Return at once; touches nothing."""
    return Health()


@router.get(
    "/readyz",
    summary="Whether jobs would be worked on",
    operation_id="get_readiness",
    tags=["service"],
    responses={503: {"description": "Redis does not answer, or no worker does.", "content": _PROBLEM_CONTENT}},
)
def get_readiness(jobs: JobsDependency) -> Readiness:
    """Ask Redis for the workers that gave a sign of life lately."""
    try:
        workers = jobs.count_workers()
    except StoreUnavailableError as error:
        raise NotReadyError("Redis does not answer.") from error
    if not workers:
        raise NotReadyError("No worker has been heard from lately; jobs are accepted and wait.")
    return Readiness(workers=workers)


def _to_job(request: Request, snapshot: JobSnapshot) -> Job:
    record = snapshot.record
    # behind a proxy that serves us under a prefix
    own = f"{request.scope.get('root_path', '').rstrip('/')}/v1/jobs/{record.job_id}"
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
        links=JobLinks(
            self=own, frames=f"{own}/frames", result=f"{own}/result" if snapshot.summary is not None else None
        ),
    )


def _retry_after(snapshot: JobSnapshot) -> str:
    """Return seconds: a tenth of what is left to do, within reason."""
    eta_seconds = snapshot.progress.eta_seconds or 0.0
    return str(min(max(math.ceil(eta_seconds / 10), 1), 30))

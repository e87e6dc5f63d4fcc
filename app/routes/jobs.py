"""The endpoints of jobs: make, list, show, erase."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from app.routes.common import (
    BAD_PARAMETER,
    NO_JOB,
    RETRY_AFTER,
    JobsDependency,
    OwnerDependency,
    create_retry_after,
    document_problems,
    to_job,
)
from app.schemas import CreateParameters, Job, JobPage, ListParameters
from worker.contract import JobOptions

__all__ = ["router"]

router = APIRouter()

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
                **RETRY_AFTER,
            },
        },
        **document_problems(
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
    job = to_job(request, snapshot)
    response.headers["Location"] = job.links.self
    response.headers["Retry-After"] = create_retry_after(snapshot)
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
    responses={200: {"headers": RETRY_AFTER}, **document_problems(_404=NO_JOB)},
)
def get_job(request: Request, response: Response, jobs: JobsDependency, owner: OwnerDependency, job_id: str) -> Job:
    """Return all that is known of a job; poll it until its state is terminal."""
    snapshot = jobs.get(job_id, owner=owner)
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

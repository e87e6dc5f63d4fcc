"""The endpoint that stops a job and keeps what it has found; erasing a job is in app.routes.jobs."""

from fastapi import APIRouter, Request

from app.routes.common import NO_JOB, JobsDependency, OwnerDependency, document_problems, to_job
from app.schemas import Job

__all__ = ["router"]

router = APIRouter()


@router.post(
    "/v1/jobs/{job_id}/cancel",
    summary="Cancel a job and keep its rows",
    operation_id="cancel_job",
    tags=["jobs"],
    responses=document_problems(_404=NO_JOB),
)
def cancel_job(request: Request, jobs: JobsDependency, owner: OwnerDependency, job_id: str) -> Job:
    """Stop the analysis within one batch and erase the upload; rows found so far can be read until they expire.

    The answer tells how the job ended: one that had succeeded or failed stays so, and canceling twice changes nothing.
    """
    return to_job(request, jobs.cancel(job_id, owner=owner))

"""The endpoints of what a job found: rows by pages, and the whole result as a file."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from app.exports.csv import iter_csv
from app.exports.json import iter_json
from app.jobs import create_result_head
from app.routes.common import (
    BAD_PARAMETER,
    NO_JOB,
    RETRY_AFTER,
    JobsDependency,
    OwnerDependency,
    create_retry_after,
    document_problems,
)
from app.schemas import FramesPage, FramesParameters, ResultParameters

__all__ = ["router"]

router = APIRouter()


@router.get(
    "/v1/jobs/{job_id}/frames",
    summary="Rows: faces and probabilities for each analysed frame",
    operation_id="list_frames",
    tags=["results"],
    response_model=FramesPage,
    responses={200: {"headers": RETRY_AFTER}, **document_problems(_404=NO_JOB, _422=BAD_PARAMETER)},
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
    wait = {} if page.job.state.is_terminal else {"Retry-After": create_retry_after(page.job)}
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
        **document_problems(_404=NO_JOB, _409="The job has not succeeded.", _422=BAD_PARAMETER),
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

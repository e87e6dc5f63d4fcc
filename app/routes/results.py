"""The endpoints of what a job found: rows by pages, and the whole result as a file."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from app.errors import InvalidParameterError, NotAcceptableError
from app.exports.captions import CaptionOptions
from app.exports.formats import CAPTIONS, MEDIA_TYPES, OFFERS, ExportFormat, iter_export
from app.exports.head import Result
from app.jobs import create_result_head
from app.negotiation import choose_media_type
from app.parameters import FramesParameters, ResultParameters
from app.routes.common import (
    BAD_PARAMETER,
    NO_JOB,
    RETRY_AFTER,
    JobsDependency,
    OwnerDependency,
    create_retry_after,
    document_problems,
    get_job_path,
)
from app.schemas import FramesPage

__all__ = ["router"]

router = APIRouter()

_RESULT = """
Every format carries its provenance: weights, labels, versions, options, times and the file's SHA-256.

* `json`: one object with `source`, `video`, `model`, `options`, `summary` and all `rows`.
* `ndjson`: a line of `"type": "head"`, one of `"type": "row"` for each analysed frame, `"type": "end"` at last.
* `csv`: one line a face and frame, and one for each frame without a face. Numbers and labels only.
* `parquet`: the same table with types; the provenance is the key `emoclip` of the file's metadata.
* `vtt`, `srt`: a cue for each span of one dominant expression, per track; WebVTT has the provenance in a NOTE.
* `provenance`: all of `json` but the rows, for CSV and SRT, which have no place for it; `Link` leads to it.
""".strip()


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
            "description": _RESULT,
            "model": Result,
            "content": {
                media_type: {"schema": {"type": "string"}}
                for media_type in dict.fromkeys(kind.partition(";")[0] for kind in MEDIA_TYPES.values())
                if media_type != "application/json"
            },
            "headers": {
                "Content-Disposition": {"description": "Name for the file.", "schema": {"type": "string"}},
                "Link": {"description": "`describedby`: the provenance.", "schema": {"type": "string"}},
                "Vary": {"description": "`Accept`.", "schema": {"type": "string"}},
            },
        },
        **document_problems(
            _404=NO_JOB,
            _406="None of the formats is accepted.",
            _409="The job has not succeeded.",
            _422=BAD_PARAMETER,
        ),
    },
)
def get_result(
    request: Request,
    jobs: JobsDependency,
    owner: OwnerDependency,
    job_id: str,
    parameters: Annotated[ResultParameters, Query()],
) -> StreamingResponse:
    """Return everything a succeeded job found, streamed, in the form that `format` or else `Accept` asks for."""
    export_format, media_type = _choose_format(request, parameters)
    job = jobs.get(job_id, owner=owner)
    head = create_result_head(job, smoothing_seconds=parameters.smoothing_seconds)
    captions = CaptionOptions(min_span_seconds=parameters.min_span_seconds, hysteresis=parameters.hysteresis)
    rows = jobs.iter_result(job, smoothing_seconds=parameters.smoothing_seconds)
    described_by = f"{get_job_path(request, job_id)}/result?format=provenance"
    if parameters.smoothing_seconds:
        described_by += f"&smoothing_seconds={parameters.smoothing_seconds}"
    return StreamingResponse(
        iter_export(export_format, head, rows, captions=captions),
        media_type=media_type,
        headers={
            "Content-Disposition": f'attachment; filename="emoclip-{job_id}.{export_format.suffix}"',
            "Link": f'<{described_by}>; rel="describedby"; type="application/json"',
            "Vary": "Accept",
        },
    )


def _choose_format(request: Request, parameters: ResultParameters) -> tuple[ExportFormat, str]:
    """Return the format and its media type."""
    chosen = parameters.format
    if chosen is None:
        accept = choose_media_type(", ".join(request.headers.getlist("accept")), OFFERS)
        if accept is None:
            raise NotAcceptableError(f"The result can be had as {', '.join(OFFERS)}, or by ?format=.")
        chosen = OFFERS[accept]
    unused = parameters.model_fields_set & {"min_span_seconds", "hysteresis"}
    if unused and chosen not in CAPTIONS:
        raise InvalidParameterError(f"{' and '.join(sorted(unused))} can only be given with the formats vtt and srt.")
    return chosen, MEDIA_TYPES[chosen]

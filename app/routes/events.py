"""The endpoint of live results: the events of one job as a stream."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from app.events import EventStream, JobEvents, Place
from app.parameters import EventsParameters
from app.routes.common import (
    BAD_PARAMETER,
    NO_JOB,
    JobsDependency,
    LiveDependency,
    OwnerDependency,
    document_problems,
    to_job,
)
from app.schemas import EndEvent, Job, ProgressEvent, ResetEvent, RowsEvent

__all__ = ["router"]

router = APIRouter()

_EXAMPLE = """retry: 2000

event: state
data: {"id":"0193f2c41b7a4e0c8d5bb1b2a4f07e66","state":"processing", ...}
id: 1-0

event: progress
data: {"state":"processing","frames_done":100,"frames_total":250,"frames_per_second":19.9, ...}
id: 1-0

event: rows
data: {"start":0,"smoothing_seconds":0.0,"rows":[{"frame":0,"pts_seconds":0.0,"faces":[ ... ]}, ...],"next":80}
id: 1-80

event: end
data: {"reason":"ended","job":{"id":"0193f2c41b7a4e0c8d5bb1b2a4f07e66","state":"succeeded", ...}}
id: 1-250-end

"""
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": (
            "Events until the job has ended; the `data` of each is JSON. `state`: the job, at first and when its "
            "state, video or model changes. `progress`: frames done. `rows`: rows that are final, in order. `reset`: "
            "the video is analysed in another way, the rows so far are void and come anew. `end`, the last: the job at "
            "its end. A silent stream carries comments. One that breaks without `end` goes on with `Last-Event-ID`."
        ),
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": _EXAMPLE,
                "x-event-data": {
                    name: {"$ref": f"#/components/schemas/{model.__name__}"}
                    for name, model in {
                        "state": Job,
                        "progress": ProgressEvent,
                        "rows": RowsEvent,
                        "reset": ResetEvent,
                        "end": EndEvent,
                    }.items()
                },
            }
        },
    },
    204: {"description": "`end` was the last event seen: nothing follows, and a browser asks no more."},
    **document_problems(_404=NO_JOB, _422=BAD_PARAMETER, _429="Too many streams are open."),
}


async def _hold_slot(live: LiveDependency, owner: OwnerDependency) -> AsyncIterator[None]:
    with live.slots.hold(owner):  # until the response is over, however it ends
        yield


@router.get(
    "/v1/jobs/{job_id}/events",
    summary="Follow a job: state, progress and new rows as they come",
    operation_id="follow_job",
    tags=["results"],
    response_class=StreamingResponse,
    responses=_EVENTS,
    dependencies=[Depends(_hold_slot)],
)
async def follow_job(
    request: Request,
    jobs: JobsDependency,
    owner: OwnerDependency,
    live: LiveDependency,
    job_id: str,
    parameters: Annotated[EventsParameters, Query()],
    last_event_id: Annotated[
        str | None, Header(description="Id of the last event seen: the stream goes on there.")
    ] = None,
) -> Response:
    """Return a stream of server-sent events (`EventSource` in a browser); it ends when the job has ended.

    All rows are sent, from the first one or from where the last stream broke off.
    """
    await to_thread.run_sync(lambda: jobs.get(job_id, owner=owner))
    place = Place.parse(last_event_id or parameters.last_event_id)
    if place.is_end:
        return Response(status_code=204)
    events = JobEvents(
        jobs,
        job_id,
        owner=owner,
        show=lambda snapshot: to_job(request, snapshot),
        place=place,
        with_rows=parameters.rows,
        smoothing_seconds=parameters.smoothing_seconds,
    )
    return EventStream(events.iterate(live.watcher, live.readers, heartbeat_seconds=live.heartbeat_seconds))

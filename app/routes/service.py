"""The endpoints of the service itself: is it alive, would jobs be worked on."""

from fastapi import APIRouter

from app.errors import NotReadyError
from app.routes.common import HOST_PROBLEM, PROBLEM_CONTENT, JobsDependency
from app.schemas import Health, Readiness
from worker.store import StoreUnavailableError

__all__ = ["router"]

router = APIRouter()


@router.get(
    "/healthz",
    summary="Whether the process answers",
    operation_id="get_health",
    tags=["service"],
    responses=HOST_PROBLEM,
)
async def get_health() -> Health:
    """Return at once; touches nothing."""
    return Health()


@router.get(
    "/readyz",
    summary="Whether jobs would be worked on",
    operation_id="get_readiness",
    tags=["service"],
    responses={
        **HOST_PROBLEM,
        503: {"description": "Redis does not answer, or no worker does.", "content": PROBLEM_CONTENT},
    },
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

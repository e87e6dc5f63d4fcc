"""The endpoint that Prometheus scrapes."""

from fastapi import APIRouter, Request, Response

from app.auth import METRICS_PATH
from app.metrics import Metrics
from app.routes.common import document_problems

__all__ = ["router"]

router = APIRouter()


@router.get(
    METRICS_PATH,
    summary="Figures for Prometheus",
    operation_id="get_metrics",
    tags=["service"],
    response_class=Response,
    responses={
        200: {
            "description": "Prometheus' text format, or OpenMetrics where `Accept` asks for it.",
            "content": {"text/plain": {"schema": {"type": "string"}}, "application/openmetrics-text": {}},
        },
        **{status: text for status, text in document_problems().items() if status in ("401", "403", "429")},
    },
)
def get_metrics(request: Request) -> Response:
    """Return jobs by state, age of the queue, frames, stage seconds, failures, workers, uploads and requests."""
    metrics: Metrics = request.app.state.metrics
    page, media_type = metrics.render(request.headers.get("accept", ""))
    return Response(page, media_type=media_type)

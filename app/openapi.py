"""The OpenAPI document: what the framework derives from the routes, and what it cannot know: problems and keys."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.auth import METRICS_PATH
from app.problems import Problem
from app.schemas import EndEvent, FramesPage, Job, JobEvent, ProgressEvent, ResetEvent, RowsEvent

__all__ = ["install_openapi"]

# what the framework cannot see: it stands inside of a stream, or is sent and not received
_MESSAGES = (ProgressEvent, RowsEvent, ResetEvent, EndEvent, JobEvent)
_WEBHOOKS: dict[str, Any] = {
    "job-ended": {
        "post": {
            "summary": "A job with a `callback_url` has ended",
            "operationId": "receive_job_event",
            "description": (
                "Sent to the job's `callback_url`, signed after Standard Webhooks 1.0: verify it with any of its "
                "libraries. It may arrive more than once, always with the same `webhook-id`."
            ),
            "parameters": [
                {"name": name, "in": "header", "required": True, "schema": {"type": "string"}, "description": text}
                for name, text in {
                    "webhook-id": "The same in every attempt.",
                    "webhook-timestamp": "Seconds since 1970 at this attempt.",
                    "webhook-signature": "`v1,` and HMAC-SHA256 of id, timestamp and body in base64, one a secret.",
                }.items()
            ],
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/JobEvent"}}},
            },
            "responses": {
                "2XX": {"description": "Taken. Answer quickly, within seconds, and work on it later."},
                "410": {"description": "Not wanted: there will be no further attempt."},
                "default": {"description": "Tried again later; a redirect, too, which is not followed."},
            },
        }
    }
}
_DESCRIPTION = """
Send a video, poll its job, read a row for every analysed frame: each face with its track number, its box and landmarks
in pixels, and the probabilities of neutral, anger, disgust, fear, happiness, sadness and surprise.

Rows can be read while the job runs. Probabilities are raw; `smoothing_seconds` smooths them over time as they are read.
Refusals are `application/problem+json` (RFC 9457) with a stable `code`.
""".strip()


def install_openapi(app: FastAPI) -> None:
    """Make the application describe itself completely."""

    def create_document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _create_document(app)
        return app.openapi_schema

    app.openapi = create_document  # type: ignore[method-assign]  # the way that FastAPI documents


def _create_document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title, version=app.version, summary=app.summary, description=_DESCRIPTION, routes=app.routes
    )
    document["webhooks"] = _WEBHOOKS
    components = document["components"]
    schemas = components["schemas"]
    for added in (Problem, *_MESSAGES):
        schema = added.model_json_schema(ref_template="#/components/schemas/{model}", mode="serialization")
        for name, part in schema.pop("$defs", {}).items():
            schemas.setdefault(name, part)
        schemas[added.__name__] = schema
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if path.startswith("/v1/") or path == METRICS_PATH:
                operation["security"] = [{"bearer": []}, {"header": []}, {}]
            # the framework adds its own form of a refused parameter wherever none is documented: where none can happen
            if "application/json" in operation["responses"].get("422", {}).get("content", {}):
                del operation["responses"]["422"]
    for model in (Job, FramesPage):  # their examples again: the framework drops every null in them
        schemas[model.__name__]["examples"] = model.model_json_schema()["examples"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return document

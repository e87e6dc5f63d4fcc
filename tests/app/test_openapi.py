"""The OpenAPI document: complete, with examples that are valid, and true."""

from typing import Any

import pytest
from fastapi import FastAPI

from app.main import create_app
from app.schemas import FramesPage, Job
from worker.settings import QueueSettings

OPERATIONS = {
    ("post", "/v1/jobs"),
    ("put", "/v1/jobs"),
    ("get", "/v1/jobs"),
    ("get", "/v1/jobs/{job_id}"),
    ("delete", "/v1/jobs/{job_id}"),
    ("options", "/v1/uploads"),
    ("post", "/v1/uploads"),
    ("head", "/v1/uploads/{upload_id}"),
    ("patch", "/v1/uploads/{upload_id}"),
    ("delete", "/v1/uploads/{upload_id}"),
    ("post", "/v1/jobs/{job_id}/cancel"),
    ("get", "/v1/jobs/{job_id}/events"),
    ("get", "/v1/jobs/{job_id}/frames"),
    ("get", "/v1/jobs/{job_id}/timeline"),
    ("get", "/v1/jobs/{job_id}/result"),
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/metrics"),
}


@pytest.fixture
def document(queue: QueueSettings) -> dict[str, Any]:
    return create_app(queue=queue).openapi()


def iter_operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]


def test_document_names_every_operation_once(document: dict[str, Any]) -> None:
    operations = iter_operations(document)

    assert {(method, path) for method, path, _ in operations} == OPERATIONS
    assert len({operation["operationId"] for _, _, operation in operations}) == len(OPERATIONS)


def test_every_refusal_is_documented_as_a_problem(document: dict[str, Any]) -> None:
    refusals = [
        response
        for _, _, operation in iter_operations(document)
        for status, response in operation["responses"].items()
        if int(status) >= 400
    ]

    assert refusals
    assert all(list(response["content"]) == ["application/problem+json"] for response in refusals)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]

    assert find_references(document) == {f"#/components/schemas/{name}" for name in schemas}


def find_references(node: Any) -> set[str]:  # any JSON
    if isinstance(node, list):
        return set().union(*(find_references(item) for item in node))
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*(find_references(value) for value in node.values()))
    return set()


@pytest.mark.parametrize("model", [Job, FramesPage])
def test_examples_are_valid(document: dict[str, Any], model: type[Job] | type[FramesPage]) -> None:
    examples = document["components"]["schemas"][model.__name__]["examples"]

    assert [model.model_validate(example) for example in examples]


def test_parameters_are_described(document: dict[str, Any]) -> None:
    parameters = {
        parameter["name"]: parameter.get("description") or parameter["schema"].get("description")
        for _, _, operation in iter_operations(document)
        for parameter in operation.get("parameters", [])
        if parameter["in"] == "query"
    }

    assert {
        "sample_fps",
        "max_faces",
        "min_face_pixels",
        "smoothing_seconds",
        "start",
        "limit",
        "cursor",
        "format",
    } <= set(parameters)
    assert [name for name, description in parameters.items() if not description] == []


def test_creating_the_application_touches_nothing(queue: QueueSettings) -> None:
    app = create_app(queue=queue.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"}))

    assert isinstance(app, FastAPI)
    assert not queue.media_dir.exists()

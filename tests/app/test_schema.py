"""Requests made from the OpenAPI document, sent to the real application: every answer is one that the document names.

Deterministic. EMOCLIP_SCHEMA_EXAMPLES=500 makes as many new requests of each operation.
"""

import itertools
import os
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app.main import create_app
from app.settings import ApiSettings
from tests.app.rows import create_face, create_rows
from tests.app.stored_jobs import create_job, create_job_with_rows
from worker.settings import QueueSettings
from worker.work_store import WorkStore

SAMPLE = 8
EXAMPLES = int(os.environ.get("EMOCLIP_SCHEMA_EXAMPLES") or 0)
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
STREAM = "follow_job"
"""Ends with its job: it is asked for one that has ended, or for none."""

for media_type in ("video/*", "application/offset+octet-stream"):
    schemathesis.openapi.media_type(media_type, st.binary(max_size=2000))


schema = schemathesis.openapi.from_dict(create_app(ApiSettings(), queue=QueueSettings()).openapi())


@pytest.fixture
def choose_job(store: WorkStore) -> Callable[[], str | None]:
    """Return, in turn, an ended job, a waiting one, and none: the id is the one that was made up."""
    rows = create_rows([[create_face(1)]] * 10)
    kinds: list[Callable[[], str | None]] = [
        lambda: create_job_with_rows(store, rows),
        lambda: create_job(store),
        lambda: None,
    ]
    makers = itertools.cycle(kinds)
    return lambda: next(makers)()


@schema.parametrize()
@settings(
    max_examples=EXAMPLES or SAMPLE,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_documented(
    case: Case[Any], url: str, store: WorkStore, choose_job: Callable[[], str | None]
) -> None:
    store.beat("a worker, so that the service is ready")
    checks, is_stream = CHECKS, case.operation.definition.raw["operationId"] == STREAM
    if "job_id" in case.path_parameters and (job_id := choose_job()):
        case.path_parameters["job_id"] = job_id
        if is_stream:
            httpx.post(f"{url}/v1/jobs/{job_id}/cancel", trust_env=False)
    if is_stream:
        # in OpenAPI 3.1 the schema of a stream is that of its text; the check takes it for the one of each event
        checks = [check for check in CHECKS if check is not response_schema_conformance]
    case.call_and_validate(base_url=url, checks=checks, timeout=60)

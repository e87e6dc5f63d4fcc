"""Errors: each has one code and one form, drawn in the docstring; a bug tells the client nothing but its request id."""

import logging
import re

import httpx
import pytest
from starlette.exceptions import HTTPException

from app import errors
from app.errors import ApiError, ProblemCode
from app.main import create_app
from tests.app.conftest import run_server
from worker.settings import QueueSettings

FRAMEWORK = {ProblemCode.NOT_FOUND, ProblemCode.METHOD_NOT_ALLOWED, ProblemCode.BAD_REQUEST, ProblemCode.INTERNAL_ERROR}


def test_each_error_has_a_code_of_its_own() -> None:
    codes = [error.code for error in ApiError.__subclasses__()]

    assert len(codes) == len(set(codes))
    assert set(codes) | FRAMEWORK == set(ProblemCode)


def test_docstring_draws_every_error() -> None:
    drawn = re.findall(r"── (\w+) +(\d+) (\w+)", errors.__doc__ or "")

    assert sorted(drawn) == sorted(
        (error.__name__, str(int(error.status)), str(error.code)) for error in ApiError.__subclasses__()
    )


def test_every_unavailability_says_when_to_come_back() -> None:
    passing = {429, 503, 507}

    assert all(error.retry_seconds for error in ApiError.__subclasses__() if error.status in passing)


def test_bug_is_logged_and_not_shown(queue: QueueSettings, caplog: pytest.LogCaptureFixture) -> None:
    app = create_app(queue=queue)

    @app.get("/bug")
    def fail() -> None:
        raise RuntimeError("secret of the house")

    with caplog.at_level(logging.ERROR, logger="app.problems"), run_server(app) as url:
        response = httpx.get(url + "/bug")

    assert response.status_code == 500
    assert response.json()["code"] == "internal_error"
    assert "secret" not in response.text
    assert response.headers["x-request-id"] in caplog.text
    assert "secret of the house" in caplog.text


def test_any_other_framework_error_is_a_problem(queue: QueueSettings) -> None:
    app = create_app(queue=queue)

    @app.get("/teapot")
    def fail() -> None:
        raise HTTPException(418, "short and stout", headers={"X-Spout": "yes"})

    with run_server(app) as url:
        response = httpx.get(url + "/teapot")

    assert response.headers["content-type"] == "application/problem+json"
    assert (response.json()["status"], response.json()["detail"]) == (418, "short and stout")
    assert response.headers["x-spout"] == "yes"

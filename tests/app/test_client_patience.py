"""How often, and after which pauses, the client asks again: conversations without a network, answered by hand."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.client_core.conversations import Conversations
from app.client_core.errors import NoAnswerError, UnavailableError, UnexpectedAnswerError
from app.client_core.patience import Patience
from app.client_core.steps import Answer, Call, NoAnswer, Pause, Steps, Upload
from app.schemas import Job

CALL = Call("GET", "/v1/jobs/x")
UPLOAD = Call("POST", "/v1/jobs", upload=Upload(Path("x"), print))
REFUSED = NoAnswer(httpx.ConnectError("Connection refused"))
Reply = Callable[[Call], Answer | NoAnswer]


def answer(status: int, content: bytes = b"", **headers: str) -> Answer:
    return Answer(status, httpx.Headers({name.replace("_", "-"): value for name, value in headers.items()}), content)


def play(steps: Steps[Any], *replies: Answer | NoAnswer) -> tuple[Any, list[float]]:
    """Answer each call with the next reply, the last one again and again; return the outcome and the pauses."""
    pauses: list[float] = []
    left = list(replies)
    try:
        step = next(steps)
        while True:
            if isinstance(step, Pause):
                pauses.append(step.seconds)
                step = steps.send(None)
            else:
                step = steps.send(left.pop(0) if len(left) > 1 else left[0])
    except StopIteration as end:
        return end.value, pauses
    except Exception as error:
        return error, pauses


def test_pauses_grow_and_end() -> None:
    outcome, pauses = play(Patience("here", seconds=60, first_contact_seconds=60).exchange(CALL), REFUSED)

    assert isinstance(outcome, NoAnswerError)
    assert str(outcome) == "Nothing answers at here (Connection refused)."
    assert pauses[0] < 0.5
    assert 5 < max(pauses) <= 12.5
    assert 30 < sum(pauses) <= 60


def test_a_server_that_never_answered_is_given_up_soon() -> None:
    patience = Patience("here", seconds=60, first_contact_seconds=5)

    before, after = play(patience.exchange(CALL), REFUSED)[1], play(patience.exchange(CALL), answer(200), REFUSED)[1]
    again = play(patience.exchange(CALL), REFUSED)[1]

    assert sum(before) <= 5
    assert after == []
    assert sum(again) > 30


def test_no_patience_asks_once() -> None:
    assert play(Patience("here", seconds=0, first_contact_seconds=5).exchange(CALL), REFUSED)[1] == []


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_retry_after_is_obeyed(status: int) -> None:
    steps = Patience("here", seconds=60, first_contact_seconds=5).exchange(CALL)

    outcome, pauses = play(steps, answer(status, retry_after="17"), answer(200))

    assert outcome.status == 200
    assert pauses == [17]


def test_retry_after_may_be_a_date() -> None:
    steps = Patience("here", seconds=60, first_contact_seconds=5).exchange(CALL)
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)

    _, pauses = play(steps, answer(503, retry_after=moment), answer(200))

    assert len(pauses) == 1
    assert 20 < pauses[0] <= 40


def test_a_pause_longer_than_the_patience_is_not_begun() -> None:
    steps = Patience("here", seconds=60, first_contact_seconds=5).exchange(CALL)

    outcome, pauses = play(steps, answer(429, retry_after="3600"))

    assert (outcome.status, pauses) == (429, [])


@pytest.mark.parametrize("status", [200, 202, 302, 400, 401, 404, 408, 409, 413, 422, 500, 507])
def test_other_answers_are_final(status: int) -> None:
    outcome, pauses = play(Patience("here", seconds=60, first_contact_seconds=5).exchange(CALL), answer(status))

    assert (outcome.status, pauses) == (status, [])


def test_an_upload_waits_for_the_attempt_before_it() -> None:
    steps = Patience("here", seconds=60, first_contact_seconds=60).exchange(UPLOAD)

    outcome, pauses = play(steps, NoAnswer(httpx.ReadError("")), answer(409, retry_after="5"), answer(200))

    assert (outcome.status, outcome.is_repeated) == (200, True)
    assert pauses[1] == 5


@pytest.mark.parametrize(
    "error", [httpx.UnsupportedProtocol("x"), httpx.LocalProtocolError("x"), httpx.DecodingError("x")]
)
def test_what_cannot_pass_is_told_at_once(error: httpx.RequestError) -> None:
    steps = Patience("here", seconds=60, first_contact_seconds=60).exchange(CALL)

    outcome, pauses = play(steps, NoAnswer(error))

    assert isinstance(outcome, NoAnswerError)
    assert pauses == []


# what the answers say


@pytest.fixture
def conversations() -> Conversations:
    return Conversations(Patience("here", seconds=0, first_contact_seconds=0), longest_silence_seconds=60)


def create_job_answer(**additions: object) -> Answer:
    example = Job.model_json_schema()["examples"][0]
    job = Job.model_validate({**example, **additions})
    return answer(200, job.model_dump_json().encode())


def test_fields_of_a_newer_service_are_ignored(conversations: Conversations) -> None:
    newer = (
        create_job_answer().content.replace(b'"progress":{', b'"progress":{"mood":1,').replace(b"{", b'{"new":1,', 1)
    )

    outcome, _ = play(conversations.job("x"), answer(200, newer))

    assert isinstance(outcome, Job)


@pytest.mark.parametrize("content", [b"<html>It works!</html>", b"{}", b""])
def test_another_service_is_told(conversations: Conversations, content: bytes) -> None:
    outcome, _ = play(conversations.job("x"), answer(200, content))

    assert isinstance(outcome, UnexpectedAnswerError)


def test_a_redirection_is_told_with_its_place(conversations: Conversations) -> None:
    outcome, _ = play(conversations.job("x"), answer(301, location="https://faces.example/v1/jobs/x"))

    assert isinstance(outcome, UnexpectedAnswerError)
    assert "https://faces.example/v1/jobs/x" in str(outcome)


def test_the_page_of_a_proxy_is_a_refusal_all_the_same(conversations: Conversations) -> None:
    outcome, _ = play(conversations.job("x"), answer(502, b"<html>Bad Gateway</html>"))

    assert isinstance(outcome, UnavailableError)
    assert str(outcome) == "The service answered with the status 502."


# waiting


def test_wait_asks_as_often_as_the_service_says(conversations: Conversations) -> None:
    running = create_job_answer(state="processing")
    running.headers["retry-after"] = "7"

    _, pauses = play(
        conversations.wait("x", timeout_seconds=None, poll_seconds=None, on_progress=None),
        running,
        running,  # to the wish that the server may wait itself, which it does not know
        running,
        create_job_answer(state="failed"),
    )

    assert pauses == [7, 7]


def test_wait_lets_a_server_wait_that_can(conversations: Conversations) -> None:
    running = create_job_answer(state="processing")
    running.headers["retry-after"] = "7"
    running.headers["preference-applied"] = "wait=7"

    outcome, pauses = play(
        conversations.wait("x", timeout_seconds=None, poll_seconds=None, on_progress=None),
        running,
        running,
        running,
        create_job_answer(state="failed"),
    )

    assert outcome.state == "failed"
    assert pauses == []


def test_wait_never_asks_a_server_for_a_silence_that_would_look_like_its_end() -> None:
    conversations = Conversations(Patience("here", seconds=0, first_contact_seconds=0), longest_silence_seconds=5)
    steps = conversations.wait("x", timeout_seconds=None, poll_seconds=25, on_progress=None)
    running = create_job_answer(state="processing")

    asked, pause = next(steps), steps.send(running)
    held = steps.send(None)

    assert isinstance(asked, Call)
    assert isinstance(held, Call)
    assert (asked.headers, held.headers) == ({}, {"Prefer": "wait=2"})
    assert pause == Pause(23), "the rest is waited here"

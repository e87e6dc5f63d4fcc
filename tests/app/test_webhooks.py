"""Webhooks against a real receiver: verified by the specification's own library, retried, bounded, at least once."""

import asyncio
import contextlib
import ipaddress
import json
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
import trustme
from standardwebhooks import Webhook, WebhookVerificationError

from app.webhook_sender import Answer, WebhookSender, read_webhook_secrets
from app.webhook_target import TargetRules, parse_webhook_url
from tests.app.conftest import CreateServer
from tests.app.receiver import OTHER_SECRET, SECRET, Message, Receiver, run_receiver, write_secrets
from tests.app.rows import create_face, create_rows
from tests.app.stored_jobs import create_facts
from tests.app.test_webhook_target import Names
from tests.worker.jobs import analyse, create_plans, poll
from worker.contract import ErrorCode, JobFailure, JobRecord, WebhookAttempt, WebhookState
from worker.store import new_job_id
from worker.summary import summarise
from worker.webhook_store import WebhookClaim, WebhookStore
from worker.work_store import WorkStore

LOOPBACK = ["127.0.0.0/8", "::1/128"]
QUICK = [0.01] * 9
BROKEN = "The connection broke before an HTTP answer came."


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def receiver(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver whose authority the senders made after it know."""
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    with run_receiver(authority) as receiver:
        yield receiver


@pytest.fixture
def create_sending_server(create_server: CreateServer, tmp_path: Path) -> CreateServer:
    """Start an API that sends webhooks to this machine, too."""

    def create(**settings: object) -> str:
        defaults = {
            "webhook_secret_file": write_secrets(tmp_path / "secrets", SECRET),
            "webhook_allowed_networks": LOOPBACK,
            "webhook_retry_seconds": QUICK,
        }
        return create_server(**defaults | settings)

    return create


def create_job(store: WorkStore, callback_url: str) -> str:
    job_id = new_job_id()
    store.create(JobRecord(job_id=job_id, callback_url=callback_url))
    return job_id


def create_ended_job(store: WorkStore, callback_url: str) -> str:
    job_id = create_job(store, callback_url)
    store.cancel(job_id)
    return job_id


def succeed(store: WorkStore, job_id: str) -> None:
    rows = create_rows([[create_face(1)] for _ in range(8)])
    lease = store.claim_index(job_id)
    assert lease is not None
    store.put_plans(lease, create_facts(rows), create_plans(1))
    analyse(store, job_id, 0)
    lease = store.claim_finish(job_id)
    assert lease is not None
    assert store.succeed(lease, summarise(rows), video=create_facts(rows))


def fail(store: WorkStore, job_id: str) -> None:
    lease = store.claim_index(job_id)
    assert lease is not None
    assert store.fail(lease, JobFailure(code=ErrorCode.UNDECODABLE, message="Nothing can be decoded."))


def cancel(store: WorkStore, job_id: str) -> None:
    assert store.cancel(job_id)


def get_webhook(url: str, job_id: str) -> dict[str, Any]:
    webhook: dict[str, Any] = httpx.get(f"{url}/v1/jobs/{job_id}").raise_for_status().json()["webhook"]
    return webhook


def wait_for_state(url: str, job_id: str, state: str) -> dict[str, Any]:
    assert poll(lambda: get_webhook(url, job_id)["state"] == state, seconds=60), get_webhook(url, job_id)
    return get_webhook(url, job_id)


def verify(message: Message, secret: str = SECRET) -> Any:
    return Webhook(secret).verify(message.body, dict(message.headers))


# delivered


@pytest.mark.parametrize(("end", "state"), [(succeed, "succeeded"), (fail, "failed"), (cancel, "canceled")])
def test_end_of_a_job_is_announced(
    store: WorkStore,
    receiver: Receiver,
    create_sending_server: CreateServer,
    end: Callable[[WorkStore, str], None],
    state: str,
) -> None:
    url = create_sending_server()
    job_id = create_job(store, receiver.url)
    assert get_webhook(url, job_id) == {
        "url": receiver.url.partition("/done")[0],
        "state": "waiting",
        "attempts": [],
        "next_attempt_at": None,
    }

    end(store, job_id)

    log = wait_for_state(url, job_id, "delivered")
    assert [(attempt["status"], attempt["error"]) for attempt in log["attempts"]] == [(204, None)]
    (message,) = receiver.messages
    event = verify(message)
    shown = httpx.get(f"{url}/v1/jobs/{job_id}").json()
    assert event["type"] == f"job.{state}"
    assert event["timestamp"] == shown["finished_at"]
    changing = {"webhook": None, "expires_at": event["data"]["expires_at"]}
    assert event["data"] == shown | changing
    assert message.path == "/done?token=private"
    assert message.headers["content-type"] == "application/json"
    assert message.headers["host"] == receiver.url.split("/")[2]


def test_message_that_was_changed_is_not_verified(
    store: WorkStore, receiver: Receiver, create_sending_server: CreateServer
) -> None:
    create_sending_server()
    create_ended_job(store, receiver.url)
    assert poll(lambda: receiver.messages, seconds=60)
    (message,) = receiver.messages

    with pytest.raises(WebhookVerificationError):
        verify(Message(message.path, message.headers, message.body.replace(b"canceled", b"succeeded")))
    with pytest.raises(WebhookVerificationError):
        verify(message, OTHER_SECRET)


def test_each_secret_signs(
    store: WorkStore, receiver: Receiver, create_sending_server: CreateServer, tmp_path: Path
) -> None:
    create_sending_server(webhook_secret_file=write_secrets(tmp_path / "two", SECRET, "", "# new", OTHER_SECRET))
    create_ended_job(store, receiver.url)
    assert poll(lambda: receiver.messages, seconds=60)

    assert verify(receiver.messages[0], SECRET) == verify(receiver.messages[0], OTHER_SECRET)


# retried


def test_failed_delivery_is_repeated_with_the_same_id(
    store: WorkStore, receiver: Receiver, create_sending_server: CreateServer
) -> None:
    url = create_sending_server()
    receiver.statuses = [500, 302, 429]
    receiver.headers = {"Location": receiver.url.replace("/done", "/elsewhere"), "Retry-After": "0"}
    job_id = create_ended_job(store, receiver.url)

    log = wait_for_state(url, job_id, "delivered")

    assert [attempt["status"] for attempt in log["attempts"]] == [500, 302, 429, 204]
    assert "redirect" in log["attempts"][1]["error"]
    assert {message.path for message in receiver.messages} == {"/done?token=private"}
    assert {message.headers["webhook-id"] for message in receiver.messages} == {f"msg_{job_id}"}
    assert [verify(message)["data"]["id"] for message in receiver.messages] == [job_id] * 4


def test_delivery_is_given_up_after_the_last_attempt(
    store: WorkStore, receiver: Receiver, create_sending_server: CreateServer
) -> None:
    url = create_sending_server(webhook_retry_seconds=[0.01])
    receiver.statuses = [503] * 5
    job_id = create_ended_job(store, receiver.url)

    log = wait_for_state(url, job_id, "failed")

    assert [attempt["status"] for attempt in log["attempts"]] == [503, 503]
    assert log["next_attempt_at"] is None


def test_receiver_that_is_gone_is_left_alone(
    store: WorkStore, receiver: Receiver, create_sending_server: CreateServer
) -> None:
    url = create_sending_server()
    receiver.statuses = [410]

    log = wait_for_state(url, create_ended_job(store, receiver.url), "failed")

    assert [attempt["status"] for attempt in log["attempts"]] == [410]


def test_next_attempt_is_announced(store: WorkStore, receiver: Receiver, create_sending_server: CreateServer) -> None:
    url = create_sending_server(webhook_retry_seconds=[600])
    receiver.statuses = [500]
    job_id = create_ended_job(store, receiver.url)
    assert poll(lambda: get_webhook(url, job_id)["attempts"], seconds=60)

    log = get_webhook(url, job_id)

    pause = datetime.fromisoformat(log["next_attempt_at"]) - datetime.fromisoformat(log["attempts"][0]["at"])
    assert log["state"] == "pending"
    assert pause.total_seconds() >= 600


def test_receiver_that_hangs_holds_no_other_up(
    store: WorkStore, authority: trustme.CA, receiver: Receiver, create_sending_server: CreateServer
) -> None:
    url = create_sending_server(webhook_timeout_seconds=0.5, webhook_retry_seconds=[])
    released = threading.Event()
    with run_receiver(authority) as hanging:
        hanging.delay = released.wait
        stuck = [create_ended_job(store, hanging.url) for _ in range(10)]
        job_id = create_ended_job(store, receiver.url)

        wait_for_state(url, job_id, "delivered")
        logs = [wait_for_state(url, other, "failed") for other in stuck]
        released.set()

    assert {log["attempts"][0]["error"] for log in logs} == {"No answer within 0.5 seconds."}


def test_erased_job_is_not_announced(
    store: WorkStore, receiver: Receiver, create_sending_server: CreateServer, redis_client: redis.Redis
) -> None:
    url = create_sending_server(webhook_retry_seconds=[0.01] * 2)
    receiver.statuses = [500]
    receiver.delay = lambda: store.delete(erased)
    erased = create_job(store, receiver.url)
    store.cancel(erased)
    assert poll(lambda: receiver.messages, seconds=60)
    receiver.delay = lambda: None

    wait_for_state(url, create_ended_job(store, receiver.url), "delivered")

    assert len(receiver.messages) == 2
    assert redis_client.keys(f"*{erased}") == []
    assert redis_client.zcard("emoclip:webhooks") == 0


def test_stopped_server_leaves_its_deliveries_to_the_next(
    store: WorkStore, receiver: Receiver, create_sending_server: CreateServer, redis_client: redis.Redis
) -> None:
    webhooks = WebhookStore(redis_client)
    job_id = create_ended_job(store, receiver.url)
    (lost,) = webhooks.claim_due(most=10, lease_seconds=0.01)  # by a process that was killed
    assert lost == WebhookClaim(job_id, attempt=1)

    url = create_sending_server()

    wait_for_state(url, job_id, "delivered")
    assert not webhooks.record(lost, attempt_of(503), state=WebhookState.PENDING)
    assert get_webhook(url, job_id)["state"] == "delivered"


# claims


def attempt_of(status: int) -> WebhookAttempt:
    error = None if status < 300 else f"The receiver answered {status}."
    return WebhookAttempt(at=datetime.now(UTC), status=status, error=error, seconds=0.1)


def test_claimed_webhook_is_not_due_for_others(store: WorkStore, redis_client: redis.Redis) -> None:
    webhooks = WebhookStore(redis_client)
    create_job(store, "https://example.com/")
    job_id = create_ended_job(store, "https://example.com/")

    assert [claim.job_id for claim in webhooks.claim_due(most=10, lease_seconds=60)] == [job_id]
    assert webhooks.claim_due(most=10, lease_seconds=60) == []


def test_claim_that_was_given_back_is_due_and_does_not_count(store: WorkStore, redis_client: redis.Redis) -> None:
    webhooks = WebhookStore(redis_client)
    create_ended_job(store, "https://example.com/")
    (claim,) = webhooks.claim_due(most=10, lease_seconds=60)

    webhooks.give_back(claim)

    assert webhooks.claim_due(most=10, lease_seconds=60) == [claim]


def test_late_report_counts_only_if_it_is_a_success(store: WorkStore, redis_client: redis.Redis) -> None:
    webhooks = WebhookStore(redis_client)
    create_ended_job(store, "https://example.com/")
    (late,) = webhooks.claim_due(most=10, lease_seconds=0)
    (current,) = webhooks.claim_due(most=10, lease_seconds=60)
    assert current.attempt == 2

    assert not webhooks.record(late, attempt_of(500), state=WebhookState.FAILED)
    assert webhooks.record(late, attempt_of(204), state=WebhookState.DELIVERED)
    assert not webhooks.record(current, attempt_of(500), state=WebhookState.PENDING)


def test_job_without_callback_has_no_webhook(store: WorkStore, redis_client: redis.Redis) -> None:
    job_id = new_job_id()
    store.create(JobRecord(job_id=job_id))
    store.cancel(job_id)

    assert WebhookStore(redis_client).claim_due(most=10, lease_seconds=60) == []


# one connection


def send(receiver_url: str, rules: TargetRules, *, timeout_seconds: float = 30) -> Answer:
    sender = WebhookSender([b"k" * 32], rules, timeout_seconds=timeout_seconds, user_agent="test")
    return asyncio.run(sender.send(parse_webhook_url(receiver_url), b"{}", message_id="msg_1", timestamp=0))


def allow(*networks: str, names: Names | None = None, http: bool = False) -> TargetRules:
    return TargetRules(
        allow_http=http, allowed_networks=[ipaddress.ip_network(network) for network in networks], resolve=names
    )


def test_connection_goes_to_the_address_that_was_checked(authority: trustme.CA, receiver: Receiver) -> None:
    with run_receiver(authority, name="hooks.example") as named:
        url = named.url.replace("localhost", "hooks.example")
        names = Names(["127.0.0.1"], ["169.254.169.254"])  # it changes its mind after the first question
        rules = allow("127.0.0.1/32", names=names)

        first, second = send(url, rules), send(url, rules)

    assert (first.status, names.asked) == (204, ["hooks.example"] * 2)
    assert named.messages[0].headers["host"] == url.split("/")[2]
    assert second == Answer(error="The host has no public address.")
    assert len(named.messages) == 1


def test_next_address_is_tried_where_one_cannot_be_reached(receiver: Receiver) -> None:
    assert send(receiver.url, allow("127.0.0.0/8", names=Names(["127.9.9.9", "127.0.0.1"]))).status == 204


def test_certificate_must_be_that_of_the_name(receiver: Receiver) -> None:
    answer = send(receiver.url.replace("localhost", "hooks.example"), allow("127.0.0.1/32", names=Names(["127.0.0.1"])))

    assert answer.error is not None
    assert "certificate is not valid" in answer.error
    assert not receiver.messages


def test_unknown_authority_is_refused() -> None:
    with run_receiver(trustme.CA()) as stranger:
        answer = send(stranger.url, allow(*LOOPBACK))

    assert answer.error is not None
    assert "certificate is not valid" in answer.error


def test_host_without_tls_is_told() -> None:
    with run_receiver(None) as plain:
        answer = send(plain.url.replace("http://", "https://"), allow(*LOOPBACK))

    assert answer.error == "The host does not speak TLS as it should."


def test_plain_http_is_refused_unless_allowed() -> None:
    with run_receiver(None) as plain:
        assert send(plain.url, allow(*LOOPBACK)).error == "A webhook goes to an https URL."
        assert send(plain.url, allow(*LOOPBACK, http=True)).status == 204


def test_closed_port_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    assert send(f"https://127.0.0.1:{port}/", allow(*LOOPBACK)) == Answer(error="The host cannot be reached.")


@contextlib.contextmanager
def run_raw(answer: bytes, *, repeat: bytes) -> Iterator[str]:
    """A plain server that answers with bytes, and then for ever with others."""
    stopping = threading.Event()

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)
                while repeat and not stopping.wait(0.001):
                    connection.sendall(repeat)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        stopping.set()
        thread.join()


@pytest.mark.parametrize(
    ("answer", "repeat", "timeout_seconds", "error"),
    [
        (b"HTTP/1.1 200 OK\r\nX: ", b"a", 0.5, "No answer within 0.5 seconds."),
        (b"HTTP/1.1 200 OK\r\nX: ", b"a" * 100_000, 60, BROKEN),
        (b"SSH-2.0-OpenSSH\r\n", b"", 60, BROKEN),
        (b"", b"", 60, BROKEN),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n", 60, None),
    ],
    ids=["trickle", "endless header", "no HTTP", "nothing", "endless body"],
)
def test_answer_is_read_within_bounds(answer: bytes, repeat: bytes, timeout_seconds: float, error: str | None) -> None:
    with run_raw(answer, repeat=repeat) as url:
        assert send(url, allow(*LOOPBACK, http=True), timeout_seconds=timeout_seconds).error == error


def test_handshake_that_hangs_is_cut_off_and_closed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
        answer = send(url, allow(*LOOPBACK), timeout_seconds=0.3)
        connection, _ = silent.accept()
        with connection:
            connection.settimeout(60)
            greeting = connection.recv(65_536)
            assert greeting
            assert connection.recv(65_536) == b""  # closed by the sender

    assert answer.error == "No answer within 0.3 seconds."


# asked for


def create(url: str, callback_url: str) -> httpx.Response:
    return httpx.post(f"{url}/v1/jobs", params={"callback_url": callback_url}, content=b"video")


def test_callback_is_refused_while_webhooks_are_off(url: str) -> None:
    response = create(url, "https://example.com/done")

    assert (response.status_code, response.json()["code"]) == (422, "invalid_parameter")
    assert "EMOCLIP_WEBHOOK_SECRET_FILE" in response.json()["detail"]


@pytest.mark.parametrize(
    "callback_url",
    [
        "https://2130706433/",
        "https://localhost/",
        "http://example.com/",
        pytest.param("https://example.com/" + "é" * 400, id="too long when encoded"),
        "x",
        "",
    ],
)
def test_callback_that_may_not_be_reached_is_refused(
    create_server: CreateServer, tmp_path: Path, callback_url: str
) -> None:
    url = create_server(webhook_secret_file=write_secrets(tmp_path / "secrets", SECRET))

    response = create(url, callback_url)

    assert (response.status_code, response.json()["code"]) == (422, "invalid_parameter")
    assert "callback_url" in response.json()["detail"]


def test_callback_of_an_upload_is_kept(receiver: Receiver, create_sending_server: CreateServer) -> None:
    url = create_sending_server()

    job = create(url, receiver.url).raise_for_status().json()

    assert job["webhook"]["state"] == "waiting"
    assert "private" not in json.dumps(job)
    httpx.post(f"{url}/v1/jobs/{job['id']}/cancel").raise_for_status()
    wait_for_state(url, job["id"], "delivered")


@pytest.mark.parametrize(
    "text",
    ["", "\n#\n", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_c2hvcnQ=", "whsec_!!!", "whsec_" + "QUJD" * 22],
)
def test_file_of_secrets_is_checked(text: str, tmp_path: Path) -> None:
    file = tmp_path / "secrets"
    file.write_text(text)

    with pytest.raises(ValueError, match="secrets") as caught:
        read_webhook_secrets(file)
    assert "MfKQ9" not in str(caught.value)

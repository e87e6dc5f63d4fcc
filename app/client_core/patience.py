"""When a request is made again: the pauses between attempts, how long they may be in all, and which answers may pass.

Every request can be repeated without harm: reading and erasing by their nature, an upload by its Idempotency-Key.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import httpx

from app.client_core.errors import NoAnswerError
from app.client_core.steps import Answer, Call, Pause, Steps

__all__ = ["FIRST_CONTACT_SECONDS", "PATIENCE_SECONDS", "Patience", "read_retry_after"]

PATIENCE_SECONDS = 60.0
FIRST_CONTACT_SECONDS = 5.0

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.25, 10.0
_PASSING = (
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)


@dataclass(slots=True)
class Patience:
    """How long a client tries to get an answer: through a restart of the server, or what a proxy says meanwhile."""

    server: str
    """Address, for sentences."""
    seconds: float
    """Longest sum of pauses before one request is given up; 0 tries once."""
    first_contact_seconds: float
    """The same for a server that has never answered: more likely than away, its address is wrong."""
    _has_answered: bool = field(default=False, init=False)

    def exchange(self, call: Call) -> Steps[Answer]:
        """Make a request until it is answered; the answer may be a refusal.

        Raises:
            NoAnswerError: There is none.
        """
        pauses = _iter_pauses()
        spent = 0.0
        is_repeated = False
        while True:
            answer = yield call
            assert answer is not None, "something comes of a call"
            pause = next(pauses)
            if isinstance(answer, Answer):
                self._has_answered = True
                if not _may_pass(answer, call):
                    return replace(answer, is_repeated=is_repeated)
                pause = max(pause, read_retry_after(answer) or 0.0)
            else:
                is_repeated = True
            spent += pause
            if spent <= self._limit_seconds and (isinstance(answer, Answer) or answer.may_pass):
                yield Pause(pause)
            elif isinstance(answer, Answer):
                return answer
            else:
                raise NoAnswerError(self._explain(answer.error)) from answer.error

    @property
    def _limit_seconds(self) -> float:
        return self.seconds if self._has_answered else min(self.seconds, self.first_contact_seconds)

    def _explain(self, error: httpx.RequestError) -> str:
        match error:
            case httpx.ConnectError():
                return f"Nothing answers at {self.server} ({error})."
            case httpx.ConnectTimeout():
                return f"Nothing answers at {self.server}: no connection in time."
            case httpx.TimeoutException():
                return f"{self.server} fell silent."
            case httpx.NetworkError() | httpx.RemoteProtocolError():
                return f"The connection to {self.server} broke ({error})."
        return f"{self.server} cannot be asked ({error})."


def read_retry_after(answer: Answer) -> float | None:
    """Return the seconds that the server asks to wait, None where it does not say."""
    value = answer.headers.get("retry-after", "")
    if value.isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max((moment - datetime.now(UTC)).total_seconds(), 0.0)


def _iter_pauses() -> Iterator[float]:
    pause = _FIRST_PAUSE_SECONDS
    while True:
        yield pause * random.uniform(0.75, 1.25)  # clients that lost one server do not come back as one
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


def _may_pass(answer: Answer, call: Call) -> bool:
    # a conflict of uploads: the attempt before, whose answer was lost, is still being received
    return answer.status in _PASSING or (answer.status == HTTPStatus.CONFLICT and call.upload is not None)

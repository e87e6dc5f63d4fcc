"""`Idempotency-Key`: a request that is made again makes no second job (draft-ietf-httpapi-idempotency-key-header).

A key belongs to the owner who sent it. While its request is in flight it is reserved in Redis; the reservation is
extended as long as this process lives and expires soon after it died, so that nothing has to be cleaned up. When the
job is made the key becomes its name, and is forgotten with it.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import CancelScope, to_thread
from starlette.datastructures import Headers

from app.upload_errors import InvalidHeaderError
from worker.intake_store import RESERVATION_SECONDS, IntakeStore, Reservation
from worker.store import StoreUnavailableError

__all__ = ["hold_reservation", "read_idempotency_key"]

logger = logging.getLogger(__name__)

_FIELD = "Idempotency-Key"
_PLAIN = re.compile(r"[!-~]{1,255}")
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\]){1,255})"')
"""A string of RFC 9651, which the draft asks for; most clients send the key without quotes."""


def read_idempotency_key(headers: Headers) -> str | None:
    """Return the key of a request, None where it has none.

    Raises:
        InvalidHeaderError: It has several, or one that is no key.
    """
    lines = headers.getlist(_FIELD)
    if not lines:
        return None
    quoted = _QUOTED.fullmatch(lines[0])
    if len(lines) > 1 or not (quoted or (_PLAIN.fullmatch(lines[0]) and not lines[0].startswith('"'))):
        raise InvalidHeaderError(f"{_FIELD} must be one string of 1 to 255 visible ASCII characters, such as a UUID.")
    return re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else lines[0]


@asynccontextmanager
async def hold_reservation(store: IntakeStore, reservation: Reservation) -> AsyncIterator[None]:
    """Keep a reservation inside the context; at its end it is free again, unless a job was made."""
    extending = asyncio.create_task(_extend_regularly(store, reservation))
    try:
        yield
    finally:
        extending.cancel()
        with CancelScope(shield=True):
            await asyncio.wait([extending])
            try:
                await to_thread.run_sync(store.free, reservation)
            except StoreUnavailableError as error:  # it expires
                logger.warning("an idempotency key was not freed: %s", error)


async def _extend_regularly(store: IntakeStore, reservation: Reservation) -> None:
    while True:
        await asyncio.sleep(RESERVATION_SECONDS / 3)
        try:
            await to_thread.run_sync(store.extend, reservation)
        except StoreUnavailableError as error:  # once more before it has expired; whether it has is seen at the end
            logger.warning("an idempotency key was not extended: %s", error)

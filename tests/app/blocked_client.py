"""AsyncClient behind the interface of Client, so that one test can be run on both."""

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, cast

from anyio.from_thread import BlockingPortal, start_blocking_portal

from app.client import AsyncClient, Client

__all__ = ["create_blocked_client"]


class _BlockedClient:
    """Every method of an AsyncClient, run in the event loop of another thread."""

    def __init__(self, client: AsyncClient, portal: BlockingPortal) -> None:
        self._client = client
        self._portal = portal

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)
        if inspect.isasyncgenfunction(method):
            return lambda *args, **kwargs: self._iterate(method(*args, **kwargs))
        return lambda *args, **kwargs: self._portal.call(lambda: method(*args, **kwargs))

    def _iterate(self, items: AsyncIterator[Any]) -> Iterator[Any]:
        while True:
            try:
                yield self._portal.call(items.__anext__)
            except StopAsyncIteration:
                return


def create_blocked_client(url: str, key: str | None = None, **settings: Any) -> Iterator[Client]:
    """Yield an AsyncClient that is used as a Client; anything of it is closed afterwards."""
    with start_blocking_portal() as portal:
        client = AsyncClient(url, key, **settings)
        try:
            yield cast(Client, _BlockedClient(client, portal))
        finally:
            portal.call(client.close)

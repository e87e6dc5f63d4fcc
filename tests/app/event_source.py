"""A reader of server-sent events, as a browser's EventSource reads them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True)
class Event:
    """One event; comments alone have no name."""

    name: str
    data: Any
    id: str


def iter_events(response: httpx.Response) -> Iterator[Event]:
    """Yield events as they arrive; blocks of comments alone come as events without a name."""
    assert response.headers["content-type"].startswith("text/event-stream")
    fields: dict[str, str] = {}
    for line in response.iter_lines():
        name, _, value = line.partition(":")
        if line:
            fields[name] = value.removeprefix(" ")
        else:
            yield Event(fields.get("event", ""), json.loads(fields.get("data", "null")), fields.get("id", ""))
            fields = {}
    assert not fields, "the stream broke off inside an event"

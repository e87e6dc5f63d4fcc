"""How both clients reach a service: its address, the key, timeouts."""

import importlib.metadata
from collections.abc import Mapping
from typing import TypedDict

import httpx

__all__ = ["ConnectionSettings", "create_connection_settings"]

_CONNECT_SECONDS = 10.0


class ConnectionSettings(TypedDict):
    """Arguments that httpx.Client and httpx.AsyncClient have in common."""

    base_url: str
    headers: Mapping[str, str]
    timeout: httpx.Timeout
    trust_env: bool


def create_connection_settings(
    url: str, key: str | None, *, timeout_seconds: float, trust_env: bool
) -> ConnectionSettings:
    """Return the settings of a connection.

    Args:
        url: Address of the service; `host:port` alone means HTTP.
        key: API key, None where the service asks for none.
        timeout_seconds: Longest silence of the server.
        trust_env: Whether proxies named in the environment are used.

    Raises:
        ValueError: The address or the key is none.
    """
    full = url if "://" in url else f"http://{url}"
    try:
        parsed = httpx.URL(full)
    except httpx.InvalidURL as error:
        raise ValueError(f"{url!r} is no address of a service: {error}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError(f"{url!r} is no address of a service, such as http://localhost:8000")
    if key is not None and not (key.isascii() and key.isprintable()):
        raise ValueError("the API key holds characters that no key has")
    headers = {"User-Agent": f"emoclip/{importlib.metadata.version('emoclip')}"}
    return ConnectionSettings(
        base_url=full.rstrip("/"),
        headers={**headers, "Authorization": f"Bearer {key}"} if key else headers,
        timeout=httpx.Timeout(timeout_seconds, connect=min(_CONNECT_SECONDS, timeout_seconds)),
        trust_env=trust_env,
    )

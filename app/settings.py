"""Settings of the API process, from the environment, prefix EMOCLIP_; worker.settings has those shared with workers."""

import re
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

__all__ = ["ApiSettings"]

Positive = Annotated[float, Field(gt=0)]


def _check_host_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        raise ValueError(f"expected the name of a host without its port, such as faces.example, got {name!r}")
    return name


class ApiSettings(BaseSettings):
    """How the API listens, what it accepts, and from whom."""

    model_config = SettingsConfigDict(
        env_prefix="EMOCLIP_",
        frozen=True,
        use_attribute_docstrings=True,
        env_ignore_empty=True,  # what compose hands on where the person set nothing
    )

    host: str = "127.0.0.1"
    """Address to listen on."""
    published_host: str | None = None
    """Address at which clients reach the API where that is not `host`, as with a container's published port."""
    allowed_hosts: list[Annotated[str, AfterValidator(_check_host_name)]] = []
    """Where no key is asked for, names in the header `Host` that are answered beside those of the loopback address, as
    a JSON list: those under which a proxy on this machine serves the API, such as `["faces.example"]`."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    """Port to listen on; 0 takes any free one."""
    max_upload_bytes: Annotated[int, Field(ge=1)] = 2 << 30
    """Largest video."""
    upload_idle_seconds: Positive = 30.0
    """An upload that stands still for so long is given up."""
    upload_total_seconds: Positive = 3600.0
    """Longest time for one upload."""
    resumable_ttl_seconds: Annotated[int, Field(ge=1)] = 24 * 3600
    """How long an unfinished resumable upload waits for its next piece; then it is erased."""
    max_uploads_at_once: Annotated[int, Field(ge=1)] = 256
    """Videos that one API key may send at the same time; without keys, all clients together."""
    max_streams_at_once: Annotated[int, Field(ge=1)] = 256
    """Event streams and waiting requests that one API key may hold open in one process; without keys, all clients
    together."""
    stream_heartbeat_seconds: Positive = 15.0
    """Longest silence of an event stream; then a comment is sent, so that proxies do not hang up."""
    webhook_secret_file: Path | None = None
    """File of secrets that sign webhooks, a line each: `whsec_` and 24 to 64 random bytes in base64. Empty: no
    webhooks."""
    webhook_timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 10.0
    """Longest time for one delivery, all of it."""
    webhook_retry_seconds: Annotated[list[Positive], Field(max_length=20)] = [
        5.0,
        300.0,
        1800.0,
        7200.0,
        18_000.0,
        36_000.0,
        50_400.0,
        72_000.0,
        86_400.0,
    ]
    """Pauses after each failed delivery, as a JSON list; up to a fifth is added by chance. A job whose results have
    expired is not announced any more."""
    webhook_allow_http: bool = False
    """Accept webhooks that travel unencrypted."""
    webhook_allowed_networks: list[IPv4Network | IPv6Network] = []
    """Networks that webhooks may go to although their addresses are not public, as a JSON list: `["10.1.0.0/16"]`."""
    min_free_bytes: Annotated[int, Field(ge=0)] = 256 << 20
    """Room that must remain on the uploads' disk; a video that would not leave it is refused."""
    api_keys_file: Path | None = None
    """File of accepted API keys, made by `emoclip keys`; read again when it changes. Empty: no key is asked for, which
    only a service on a loopback address may do."""
    max_requests_per_minute: Annotated[int, Field(ge=0)] = 6000
    """Requests that one API key may make, on average, with a minute's worth at once; 0 is no limit."""
    max_open_jobs: Annotated[int, Field(ge=0)] = 1000
    """Jobs of one API key that may be on their way, queued or processing at the same time; 0 is no limit."""
    max_bytes_per_day: Annotated[int, Field(ge=0)] = 100 << 30
    """Bytes of video that one API key may send, on average, with a day's worth at once; 0 is no limit."""
    metrics_without_key: bool = False
    """Answer `/metrics` without a key also where keys are asked for: for a scraper on a network of its own."""

"""Which PyAV may decode: one that bundles an FFmpeg without known holes. Free of PyAV itself and of numpy."""

from functools import cache
from importlib.metadata import version

__all__ = ["SAFE_PYAV", "UnsafeDecoderError", "require_safe_decoder"]

SAFE_PYAV = (18, 1, 0)
"""Bundles FFmpeg 8.1.2, the first without CVE-2026-8461 (CVSS 8.8)."""


class UnsafeDecoderError(RuntimeError):
    """The installed PyAV must not be given strangers' files; the message says which one may."""


def require_safe_decoder() -> None:
    """Check the version of PyAV; a worker does so when it starts, and before its first decoder process.

    Raises:
        UnsafeDecoderError: PyAV bundles an FFmpeg with a known hole.
    """
    _require_safe_version(version("av"))


@cache
def _require_safe_version(installed: str) -> None:
    # only the three numbers of a release: 18.1.0rc1 is older than 18.1.0
    numbers = [int(part) if part.isdecimal() else -1 for part in installed.split(".")[:3]]
    if tuple(numbers) < SAFE_PYAV:
        floor = ".".join(map(str, SAFE_PYAV))
        raise UnsafeDecoderError(
            f"expected PyAV {floor} or newer, got {installed}: older ones bundle a vulnerable FFmpeg"
        )

"""Digests that a client sends along with a body, checked as the body arrives.

`Content-Digest` and `Repr-Digest` (RFC 9530) with sha-256 and sha-512; other algorithms are ignored, as the RFC has it.
For a request without Content-Encoding, and we accept no other, both are digests of the body. `Upload-Checksum` is the
same of a piece of a resumable upload (tus 1.0.0, extension checksum).
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers

from app.errors import ApiError
from app.upload_errors import ChecksumMismatchError, DigestMismatchError, InvalidHeaderError

__all__ = ["CHECKSUM_ALGORITHMS", "BodyDigests", "read_content_digests", "read_piece_digests"]

CHECKSUM_ALGORITHMS = ("sha1", "sha256", "sha512")
"""Of `Upload-Checksum`, which names them as hashlib does; sha1 is the one that tus asks for."""
_DIGEST_ALGORITHMS = {"sha-256": "sha256", "sha-512": "sha512"}
_CHECKSUM_FIELD = "Upload-Checksum"
_MEMBER = re.compile(r"([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/=]*):(?:;[^,]*)?")
"""A member of an RFC 9530 dictionary: a key and a byte sequence."""


@dataclass(frozen=True, slots=True)
class _Expected:
    field: str
    algorithm: str
    """hashlib's name."""
    value: bytes


class BodyDigests:
    """What a body must hash to; false where the client did not say."""

    def __init__(self, expected: Sequence[_Expected]) -> None:
        self._expected = expected
        self._hashes = {digest.algorithm: hashlib.new(digest.algorithm) for digest in expected}

    def __bool__(self) -> bool:
        return bool(self._expected)

    def update(self, data: bytes) -> None:
        """Take the next bytes of the body."""
        for known in self._hashes.values():
            known.update(data)

    def verify(self) -> None:
        """Compare, once the whole body was taken.

        Raises:
            DigestMismatchError: `Content-Digest` or `Repr-Digest` says otherwise.
            ChecksumMismatchError: `Upload-Checksum` does.
        """
        for digest in self._expected:
            if not hmac.compare_digest(self._hashes[digest.algorithm].digest(), digest.value):
                mismatch: type[ApiError] = DigestMismatchError
                if digest.field == _CHECKSUM_FIELD:
                    mismatch = ChecksumMismatchError
                raise mismatch(
                    f"What arrived is not what {digest.field} says: it was damaged on its way. Send it again."
                )


def read_content_digests(headers: Headers) -> BodyDigests:
    """Return the digests of `Content-Digest` and `Repr-Digest`.

    Raises:
        InvalidHeaderError: One of them is malformed.
    """
    return BodyDigests(
        [digest for field in ("Content-Digest", "Repr-Digest") for digest in _read_dictionary(headers, field)]
    )


def read_piece_digests(headers: Headers) -> BodyDigests:
    """Return the digests of `Upload-Checksum` and `Content-Digest`: those of a piece of a resumable upload.

    Raises:
        InvalidHeaderError: One of them is malformed, or the checksum's algorithm is none of ours.
    """
    checksum = headers.get(_CHECKSUM_FIELD)
    digests = _read_dictionary(headers, "Content-Digest")
    if checksum is not None:
        algorithm, _, encoded = checksum.partition(" ")
        if algorithm not in CHECKSUM_ALGORITHMS:
            known = ", ".join(CHECKSUM_ALGORITHMS)
            raise InvalidHeaderError(f"{_CHECKSUM_FIELD} must begin with one of: {known}.")
        digests.append(_decode(_CHECKSUM_FIELD, algorithm, encoded))
    return BodyDigests(digests)


def _read_dictionary(headers: Headers, field: str) -> list[_Expected]:
    lines = headers.getlist(field)
    if not lines:
        return []
    digests = []
    for text in ",".join(lines).split(","):
        member = _MEMBER.fullmatch(text.strip())
        if member is None:
            raise InvalidHeaderError(f"{field} must read like `sha-256=:BASE64:` (RFC 9530).")
        algorithm = _DIGEST_ALGORITHMS.get(member[1])
        if algorithm is not None:
            digests.append(_decode(field, algorithm, member[2]))
    return digests


def _decode(field: str, algorithm: str, encoded: str) -> _Expected:
    try:
        value = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidHeaderError(f"{field} holds a digest that is not base64.") from error
    size = hashlib.new(algorithm).digest_size
    if len(value) != size:
        raise InvalidHeaderError(f"{field} holds {len(value)} bytes where {algorithm} has {size}.")
    return _Expected(field, algorithm, value)

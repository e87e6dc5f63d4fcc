"""The file of API keys, one a line: name, blank, SHA-256 of the key in hex. `emoclip keys` edits it, the API reads it.

A key is shown once, when it is made, and only its hash is kept: 256 random bits need no slow hash, nobody can try them
all. Several keys may have one name, which owns the jobs: so a key is replaced by making the new one, changing the
clients, and revoking the old one.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["KEY_PREFIX", "KeysFile", "StoredKey", "hash_key", "parse_line"]

KEY_PREFIX = "emoclip_"
"""Tells people, and programs that look for leaked secrets, what they have found."""
_KEY_BYTES = 32
_ID_DIGITS = 8
_MAX_NAME = 64
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What is kept of a key."""

    name: str
    """Whose key it is; owns the jobs."""
    digest: str
    """SHA-256 of the key in hex."""

    @property
    def id(self) -> str:
        """The digest's beginning: names one key among those of one name, and gives nothing away."""
        return self.digest[:_ID_DIGITS]


def hash_key(key: str) -> str:
    """Return what is kept of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def parse_line(line: str) -> StoredKey | None:
    """Return the key of a line; None for an empty line or a comment.

    Raises:
        ValueError: The line is something else.
    """
    if not line.strip() or line.startswith("#"):
        return None
    name, _, digest = line.strip().rpartition(" ")
    if not name.strip() or not _DIGEST.fullmatch(digest):
        raise ValueError("expected a name, a blank and the SHA-256 of a key in hex")
    return StoredKey(name.strip(), digest)


class KeysFile:
    """Makes, lists and revokes keys; whoever reads the file meanwhile sees it as it was or as it is, never half of it.

    Every method raises OSError where the file cannot be read or written, ValueError where one of its lines is no key.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def create(self, name: str) -> str:
        """Make a key and return it: nobody can read it again.

        Raises:
            ValueError: The name cannot stand in the file.
        """
        name = name.strip()
        if not name or len(name) > _MAX_NAME or not name.isprintable() or name.startswith("#"):
            raise ValueError(
                f"expected a name of 1 to {_MAX_NAME} printable characters that does not begin with #, got {name!r}"
            )
        key = KEY_PREFIX + secrets.token_urlsafe(_KEY_BYTES)
        with self._edit() as lines:
            lines.append(f"{name} {hash_key(key)}")
        return key

    def list_keys(self) -> list[StoredKey]:
        """Return all keys, as they stand in the file."""
        return [key for _, key in self._parse(self._path.read_text().splitlines()) if key is not None]

    def revoke(self, name_or_id: str) -> list[StoredKey]:
        """Take away the key with this id, or else all keys of this name; returns them, and none where there is none.

        A running API refuses them within a second; jobs stay with the name.
        """
        with self._edit() as lines:
            parsed = self._parse(lines)
            by_id = [key for _, key in parsed if key is not None and key.id == name_or_id]
            revoked = by_id or [key for _, key in parsed if key is not None and key.name == name_or_id]
            lines[:] = [line for line, key in parsed if key not in revoked]
        return revoked

    def _parse(self, lines: Iterable[str]) -> list[tuple[str, StoredKey | None]]:
        parsed = []
        for number, line in enumerate(lines, start=1):
            try:
                parsed.append((line, parse_line(line)))
            except ValueError as error:
                raise ValueError(f"{self._path}, line {number}: {error}") from error
        return parsed

    @contextlib.contextmanager
    def _edit(self) -> Iterator[list[str]]:
        """Give the lines to be changed, and write them in place of the old file; one edit at a time."""
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            before = self._path.stat() if self._path.exists() else None
            lines = self._path.read_text().splitlines() if before else []
            old = list(lines)
            yield lines
            if lines != old:
                self._replace("".join(f"{line}\n" for line in lines), before)
                os.fsync(folder)
        finally:
            os.close(folder)

    def _replace(self, text: str, before: os.stat_result | None) -> None:
        part = self._path.with_name(f".{self._path.name}.part")
        part.unlink(missing_ok=True)  # of an edit that was killed; nobody else is here
        try:
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                if before is not None:  # root edits the file of the user that the API runs as
                    os.fchmod(file.fileno(), before.st_mode & 0o777)
                    with contextlib.suppress(PermissionError):
                        os.fchown(file.fileno(), before.st_uid, before.st_gid)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise

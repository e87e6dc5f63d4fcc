"""What the decoder process gives up before it reads untrusted bytes: memory, processor time, files, network, rights.

Standard library only, and Linux only. Landlock is called by number through ctypes, because neither glibc nor Python
wraps it: https://docs.kernel.org/userspace-api/landlock.html, include/uapi/linux/landlock.h. The limits on resources
hold everywhere; where Landlock is missing the report says so and the parent logs it.
"""

import ctypes
import os
import resource
import struct
from dataclasses import dataclass
from pathlib import Path

_CREATE_RULESET, _RESTRICT_SELF = 444, 446  # system call numbers, the same on every architecture
_GET_VERSION = 1
_NO_NEW_PRIVILEGES = 38  # prctl option

_FILE_RIGHTS_BY_ABI = {1: 13, 2: 14, 3: 15, 5: 16}
"""Number of file system rights that a Landlock ABI knows; each takes one bit, from 0 upwards."""
_TCP_BIND_AND_CONNECT = 0b11  # ABI 4
_SCOPE_SOCKETS_AND_SIGNALS = 0b11  # ABI 6: abstract Unix sockets, signals to processes outside

OPEN_FILES = 16
"""Descriptors the decoder may hold: three standard ones, the video and its duplicate, shared memory, and some room."""


@dataclass(frozen=True, slots=True)
class SandboxReport:
    """What of the sandbox is in force."""

    landlock_abi: int
    """Version of Landlock that holds; 0 where the kernel has none."""

    @property
    def denies_files(self) -> bool:
        """Whether opening any file fails."""
        return self.landlock_abi >= 1

    @property
    def denies_tcp(self) -> bool:
        """Whether any TCP connection fails."""
        return self.landlock_abi >= 4


def enter_sandbox(*, memory_bytes: int, cpu_seconds: int, file_bytes: int = 0) -> SandboxReport:
    """Give up, for good, all that decoding does not need; call it when everything is imported.

    `memory_bytes` and `cpu_seconds` come on top of what the process already uses. `file_bytes` is how far it may write
    into a file that it was handed open; without Landlock, into any.
    """
    _limit_resources(memory_bytes=memory_bytes, cpu_seconds=cpu_seconds, file_bytes=file_bytes)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS) failed")
    return SandboxReport(landlock_abi=_deny_files_and_network(libc))


def _limit_resources(*, memory_bytes: int, cpu_seconds: int, file_bytes: int) -> None:
    mapped_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = int(used.ru_utime + used.ru_stime) + cpu_seconds
    _limit(resource.RLIMIT_AS, mapped_bytes + memory_bytes)
    # SIGXCPU at the soft limit tells the parent what happened; SIGKILL follows where it is blocked
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 2))
    _limit(resource.RLIMIT_FSIZE, file_bytes)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, OPEN_FILES)


def _limit(what: int, value: int) -> None:
    _, hard = resource.getrlimit(what)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (value, value))


def _deny_files_and_network(libc: ctypes.CDLL) -> int:
    """Enter a Landlock domain without a single allowing rule and return its ABI, or 0 where there is no Landlock.

    It holds for the calling thread and those that it starts: no other may run yet.
    """
    abi = int(libc.syscall(_CREATE_RULESET, None, 0, _GET_VERSION))
    if abi < 1:
        return 0
    file_rights = max(count for version, count in _FILE_RIGHTS_BY_ABI.items() if version <= abi)
    # struct landlock_ruleset_attr grew by one field at ABI 4 and at ABI 6
    fields = [(1 << file_rights) - 1]
    if abi >= 4:
        fields.append(_TCP_BIND_AND_CONNECT)
    if abi >= 6:
        fields.append(_SCOPE_SOCKETS_AND_SIGNALS)
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    ruleset = libc.syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    if ruleset < 0:
        return 0
    try:
        return abi if libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0 else 0
    finally:
        os.close(ruleset)

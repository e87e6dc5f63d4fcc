"""What the decoder process and its parent say to each other, and which media both accept.

The parent writes one request to the child's standard input, a socket: length and JSON, the descriptors beside them; and
then one byte for every slot of the shared memory that it has emptied. The child writes messages (HEADER, payload) to
its standard output; pictures go through the shared memory. Standard library only: the child imports this file.
"""

import json
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum

FORMATS = ("mov", "mp4", "matroska", "webm", "avi", "mpegts", "mpeg", "flv", "ogg", "gif")
"""FFmpeg's demuxers for video files. Playlists, scripts, raw streams, stills and devices are not among them."""
CODECS = (
    *("h264", "hevc", "libdav1d", "vp8", "vp9", "theora", "mpeg1video", "mpeg2video", "mpeg4", "msmpeg4"),
    *("h263", "flv", "mjpeg", "prores", "gif"),
)
"""FFmpeg's decoders for what cameras, phones, editors and the web produce; few, because each is attack surface."""

SLOTS = 4
"""Pictures under way in the shared memory: one being written, one being read, and two so that neither side waits."""

REQUEST_LENGTH = struct.Struct("<Q")
HEADER = struct.Struct("<BQ")
"""Kind of message, length of the payload."""
FRAME = struct.Struct("<BqdII")
"""Slot, frame number, pts_seconds, height, width."""
INDEX_LENGTHS = struct.Struct("<QQ")
"""Bytes of the JSON object, bytes of the pts."""


class Kind(IntEnum):
    """What a message of the child is about."""

    STARTED = 1
    """JSON {landlock_abi}: the sandbox is closed."""
    FRAME = 2
    INDEX = 3
    """INDEX_LENGTHS, a JSON object, int64 pts of the shown frames, int64 numbers of the keyframes."""
    BEAT = 4
    """Still decoding; nothing to ship."""
    FINISHED = 5
    """JSON {decoded, damaged}: frames decoded, packets that could not be."""
    FAILED = 6
    """JSON {error, message}: the name of a class in worker.errors and its sentence, or `bug` and a traceback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeRequest:
    """All that the child is told; the path of the video is not part of it."""

    video_fd: int
    """The descriptors' numbers are those of whoever holds the request."""
    ring_fd: int | None = None
    """Shared memory of SLOTS pictures; None: only index the packets."""
    max_pixels: int
    max_duration_seconds: float
    max_frames: int
    memory_bytes: int
    cpu_seconds: int
    threads: int
    sample_fps: float | None = None
    frames: list[int] | None = None
    """Frame numbers to ship; None ships what a Sampler of sample_fps keeps."""
    pts_seconds: list[float] | None = None
    seek_pts: int | None = None
    seek_frame: int = 0
    start_pts: int = 0
    ends_video: bool = False

    @property
    def slot_bytes(self) -> int:
        """Size of one slot: the largest picture that is allowed. Only the pages that are written take memory."""
        return self.max_pixels * 3

    @property
    def descriptors(self) -> list[int]:
        """What is handed over beside the request."""
        return [self.video_fd] if self.ring_fd is None else [self.video_fd, self.ring_fd]

    def to_bytes(self) -> bytes:
        """Return the request as it is written to the child."""
        body = json.dumps(asdict(self)).encode()
        return REQUEST_LENGTH.pack(len(body)) + body

    @classmethod
    def from_bytes(cls, body: bytes, descriptors: Sequence[int]) -> "DecodeRequest":
        """Read back the JSON part, with the numbers that the descriptors have on this side."""
        video_fd, *ring_fd = descriptors
        return cls(**json.loads(body) | {"video_fd": video_fd, "ring_fd": ring_fd[0] if ring_fd else None})

"""What the muxing process and its parent say to each other, and which sound it takes.

The parent writes one request to the child's standard input, a socket: length and JSON, the two descriptors beside them;
then the encoded pictures, each as PACKET and its bytes, and a PACKET without bytes at the end. The child writes
worker.decode_messages' messages to its standard output. Standard library only: the child imports this file.
"""

import json
import struct
from dataclasses import asdict, dataclass

from worker.decode_messages import REQUEST_LENGTH

__all__ = ["AUDIO_DECODERS", "COPIED_CODECS", "PACKET", "MuxRequest"]

COPIED_CODECS = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"})
"""Sound that MP4 holds and players play; all other is made into AAC."""
AUDIO_DECODERS = (
    *("aac", "mp3float", "mp3", "mp2float", "mp2", "ac3", "eac3", "alac", "opus", "vorbis", "flac", "amrnb", "amrwb"),
    *("pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s32le", "pcm_u8", "pcm_f32le", "pcm_mulaw", "pcm_alaw"),
    *("wmav2", "adpcm_ms", "adpcm_ima_wav"),
)
"""FFmpeg's decoders for the sound of common videos; few, because each is attack surface."""

PACKET = struct.Struct("<qqqBQ")
"""pts, dts and duration in units of the request's time_base, whether a keyframe, length of the bytes that follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MuxRequest:
    """All that the child is told."""

    codec: str
    """Of the pictures that will come: the name of an FFmpeg encoder."""
    width: int
    height: int
    frame_rate: tuple[int, int]
    """Average, as a fraction."""
    time_base: tuple[int, int]
    start_seconds: float
    """Time of the first picture on the source's clock: what the sound's times are counted from in the output."""
    metadata: dict[str, str]
    memory_bytes: int
    cpu_seconds: int
    file_bytes: int

    def to_bytes(self) -> bytes:
        """Return the request as it is written to the child."""
        body = json.dumps(asdict(self)).encode()
        return REQUEST_LENGTH.pack(len(body)) + body

    @classmethod
    def from_bytes(cls, body: bytes) -> "MuxRequest":
        """Read back the JSON part."""
        fields = json.loads(body)
        pairs = {name: tuple(fields[name]) for name in ("frame_rate", "time_base")}
        return cls(**fields | pairs)

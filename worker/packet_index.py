"""The index of a video, made in the decoder process from its packets: when each frame is shown, and where one can seek.

Packets are not always frames: some carry none (hidden alt-ref frames, second fields, damage), some are decoded but not
shown (edit lists), some have no time. So the index is checked against the decoder where that is cheap, at the beginning
and, after a seek, at the end; and where anything looks odd it says that it is not exact, with the reason.
Imports PyAV, numpy and the standard library only.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice

import av
import numpy as np
from numpy.typing import NDArray

from worker.decode_messages import DecodeRequest
from worker.video_source import OpenVideo, VideoError, frames_from_keyframe, undecodable

VERIFIED_PIXELS = 64_000_000
"""Pixels decoded to check each end of the index: some 0.3 s of work, 277 frames of 640 x 360 or 30 of 1920 x 1080."""
MIN_VERIFIED_FRAMES = 16
MAX_TAIL_FACTOR = 4
"""How far over that budget the last keyframe may lie from the end for the end to be checked nevertheless."""
DAMAGED = "damaged frames, which look different when decoding begins elsewhere"
UNTRUSTED = {"theora": "Theora's packets", "gif": "GIF's packets"}
"""Codecs whose packets were seen to be no frames in undamaged files."""


@dataclass(slots=True)
class PacketIndex:
    """Times of the shown frames in presentation order, in units of the stream's time base."""

    pts: NDArray[np.int64]
    keyframes: NDArray[np.int64]
    """Numbers of frames that decoding can begin at."""
    last_duration: int
    frame_count: int
    reason: str = ""
    """Why the index is not exact; empty where it is."""


@dataclass(frozen=True, slots=True)
class _Beginning:
    """The first frames as the decoder delivers them."""

    first: av.VideoFrame
    pts: NDArray[np.int64]
    is_all: bool
    """Whether the whole video was decoded and every frame had a time."""
    is_damaged: bool


@dataclass(slots=True)
class _Packets:
    """What is kept of the packets of shown frames, in file order."""

    pts: list[int] = field(default_factory=list)
    is_key: list[bool] = field(default_factory=list)
    without_pts: int = 0
    is_damaged: bool = False
    last_duration: int = 0


def index_packets(request: DecodeRequest, on_step: Callable[[], None]) -> tuple[PacketIndex, OpenVideo, av.VideoFrame]:
    """Return the index, the video that it is of, and the first frame; call `on_step` all the time.

    Raises:
        VideoError: the video is unusable, too long, or not one frame of it can be decoded.
    """
    video = OpenVideo(request, on_step)
    packets = _read_packets(video, request)
    index = _sort_packets(packets, video)
    beginning = _decode_beginning(request, on_step)
    if beginning.is_all:
        # the decoder has said it all
        index = _index_of_decoded(beginning.pts, index)
    elif not index.reason and not np.array_equal(beginning.pts, index.pts[: len(beginning.pts)]):
        index.reason = "the decoder's first frames differ from the packets"
    if beginning.is_damaged:
        index.reason = index.reason or DAMAGED
    elif not index.reason and not beginning.is_all:
        index.reason = _check_end(request, index, beginning.first, on_step)
    return index, video, beginning.first


def _read_packets(video: OpenVideo, request: DecodeRequest) -> _Packets:
    packets = _Packets()
    latest = None
    for packet in video.packets():
        if packet.is_discard or _is_hidden(packet, video.codec):
            continue
        packets.is_damaged |= packet.is_corrupt
        if packet.pts is None:
            packets.without_pts += 1
        else:
            packets.pts.append(packet.pts)
            packets.is_key.append(packet.is_keyframe)
            if latest is None or packet.pts > latest:
                latest, packets.last_duration = packet.pts, packet.duration or 0
        if len(packets.pts) + packets.without_pts > request.max_frames:
            raise VideoError("TooLongError", f"The video has more than {request.max_frames} frames. Send a part of it.")
    packets.is_damaged |= video.is_damaged
    return packets


def _is_hidden(packet: "av.Packet[av.VideoStream]", codec: str) -> bool:
    """Return whether a VP8 or VP9 packet holds nothing but a frame that is only a reference for others (alt-ref)."""
    if codec == "vp8":
        # RFC 6386, 9.1: show_frame is bit 4 of the frame tag
        return not memoryview(packet)[0] & 0x10
    if codec == "vp9":
        content = memoryview(packet)
        if content[-1] & 0b1110_0000 == 0b1100_0000:
            return False  # a superframe: several frames, the last one shown
        # VP9 bitstream 6.2: marker (2), profile (2, and a reserved bit in profile 3), show_existing, type, show
        bits = f"{content[0]:08b}"
        bits = bits[5:] if bits[2:4] == "11" else bits[4:]
        return len(bits) >= 3 and bits[0] == "0" and bits[2] == "0"
    return False


def _sort_packets(packets: _Packets, video: OpenVideo) -> PacketIndex:
    pts = np.array(packets.pts, dtype=np.int64)
    is_key = np.array(packets.is_key, dtype=bool)
    order = np.argsort(pts, kind="stable")
    shown = pts[order]
    # a frame can be decoded from a keyframe if nothing that comes before it in the file is shown after it
    latest_before = np.maximum.accumulate(np.concatenate([[np.iinfo(np.int64).min], pts]))[:-1]
    keyframes = np.searchsorted(shown, pts[is_key & (pts > latest_before)])
    index = PacketIndex(
        pts=shown,
        keyframes=keyframes.astype(np.int64),
        last_duration=packets.last_duration,
        frame_count=len(shown) + packets.without_pts,
    )
    if packets.without_pts:
        index.reason = f"{packets.without_pts} packets without a time"
    elif packets.is_damaged:
        index.reason = DAMAGED
    elif video.codec in UNTRUSTED:
        index.reason = f"{UNTRUSTED[video.codec]} are not frames"
    elif video.container_name == "avi" and video.codec in ("h264", "hevc"):
        index.reason = "AVI stores no presentation times"
    elif len(shown) > 1 and np.diff(shown).min() <= 0:
        index.reason = "two packets with the same time"
    return index


def _decode_beginning(request: DecodeRequest, on_step: Callable[[], None]) -> _Beginning:
    video = OpenVideo(request, on_step)
    frames = video.frames()
    first = next(frames, None)
    if first is None:
        raise undecodable(video, request.max_pixels)
    wanted = _budget(first)
    times = [first.pts, *(frame.pts for frame in islice(frames, wanted - 1))]
    known = [time for time in times if time is not None]
    return _Beginning(
        first=first,
        pts=np.array(known, dtype=np.int64),
        is_all=len(known) == len(times) < wanted,
        is_damaged=video.is_damaged,
    )


def _index_of_decoded(decoded: NDArray[np.int64], packets: PacketIndex) -> PacketIndex:
    is_increasing = len(decoded) < 2 or bool(np.diff(decoded).min() > 0)
    agrees = np.array_equal(decoded, packets.pts)
    return PacketIndex(
        pts=decoded,
        keyframes=packets.keyframes if agrees else np.zeros(1, dtype=np.int64),
        last_duration=packets.last_duration,
        frame_count=len(decoded),
        reason="" if is_increasing else "the frames' times do not increase",
    )


def _check_end(request: DecodeRequest, index: PacketIndex, first: av.VideoFrame, on_step: Callable[[], None]) -> str:
    """Decode the last frames; return what is wrong with the index, if anything."""
    wanted = _budget(first)
    candidates = index.keyframes[index.keyframes <= max(0, index.frame_count - wanted)]
    begin = int(candidates[-1]) if len(candidates) else 0
    if index.frame_count - begin > wanted * MAX_TAIL_FACTOR and len(index.keyframes):
        begin = int(index.keyframes[-1])
    if index.frame_count - begin > wanted * MAX_TAIL_FACTOR:
        return ""  # too dear; the analysis itself will notice
    video, frames = frames_from_keyframe(request, int(index.pts[begin]), on_step)
    delivered = np.array([frame.pts for frame in frames if frame.pts is not None], dtype=np.int64)
    if not np.array_equal(delivered, index.pts[begin:]):
        return "the decoder's last frames differ from the packets"
    return DAMAGED if video.is_damaged else ""


def _budget(frame: av.VideoFrame) -> int:
    return max(MIN_VERIFIED_FRAMES, VERIFIED_PIXELS // (frame.width * frame.height))

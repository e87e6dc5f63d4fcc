"""The decoder process: the only code that touches untrusted bytes, and it does so inside worker.sandbox.

Run as `python -m worker.decode_child` by worker.decode_process; imports no more than PyAV, numpy and the standard
library, to start fast. It decodes everything from its starting point on, converts and ships only the frames asked for.

Pictures are shipped as a viewer sees them, turned by the display matrix. The sample aspect ratio is not applied: the
pixels stay the coded ones, so that boxes can be drawn on what any decoder delivers, and a face a little too wide or
narrow is found all the same.
"""

import json
import os
import queue
import socket
import threading
import time
import traceback
from mmap import mmap
from types import TracebackType
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from worker.decode_messages import FRAME, HEADER, INDEX_LENGTHS, REQUEST_LENGTH, SLOTS, DecodeRequest, Kind
from worker.display_matrix import UPRIGHT, Orientation, orientation_of_rotation, parse_display_matrix
from worker.frame_selection import Selected, planned_frames, sampled_frames
from worker.packet_index import index_packets
from worker.sandbox import enter_sandbox
from worker.video_source import TOO_MUCH_MEMORY, VideoError

BEAT_SECONDS = 1.0
"""A sign of life is sent after so long without a message."""


class Channel:
    """The child's end of the conversation with its parent."""

    def __init__(self) -> None:
        self._last_sent = time.monotonic()
        self._sending = threading.Lock()

    def send(self, kind: Kind, payload: bytes = b"") -> None:
        """Write one message, from any thread; the process ends where nobody reads it."""
        message = memoryview(HEADER.pack(kind, len(payload)) + payload)
        with self._sending:
            try:
                while message:
                    message = message[os.write(1, message) :]
            except BrokenPipeError:
                os._exit(0)
            self._last_sent = time.monotonic()

    def send_json(self, kind: Kind, **content: object) -> None:
        """Write one message with a JSON object."""
        self.send(kind, json.dumps(content).encode())

    def beat(self) -> None:
        """Tell the parent that work goes on, if it has not heard anything for a while."""
        if time.monotonic() - self._last_sent > BEAT_SECONDS:
            self.send(Kind.BEAT)

    def receive_request(self) -> tuple[bytes, list[int]]:
        """Wait for the request, and return it with the descriptors, which come with its first bytes."""
        with socket.socket(fileno=os.dup(0)) as control:
            begin, descriptors, _, _ = socket.recv_fds(control, REQUEST_LENGTH.size, 2)
        if not begin:
            os._exit(0)  # never needed: the parent is gone, or has another one
        (length,) = REQUEST_LENGTH.unpack(begin + self.receive(REQUEST_LENGTH.size - len(begin)))
        return self.receive(length), descriptors

    def receive(self, length: int) -> bytes:
        """Read `length` bytes; the process ends where the parent is gone."""
        content = b""
        while len(content) < length:
            part = os.read(0, length - len(content))
            if not part:
                os._exit(0)
            content += part
        return content


class Shipper:
    """Converts frames to upright RGB and puts them into the shared memory, waiting for a free slot."""

    def __init__(self, channel: Channel, request: DecodeRequest) -> None:
        assert request.ring_fd is not None
        self._channel = channel
        self._slot_bytes = request.slot_bytes
        self._ring = mmap(request.ring_fd, SLOTS * request.slot_bytes)
        self._free = list(range(SLOTS))
        self._turn = Turn()
        self._reformatter = VideoReformatter()  # one for all frames: making its tables and threads takes a millisecond

    def ship(self, frame: av.VideoFrame, *, number: int, pts_seconds: float) -> None:
        """Send one frame."""
        rgb = self._reformatter.reformat(frame, format="rgb24")
        picture = self._turn.orientation(frame).apply(_view_pixels(rgb))
        slot = self._free.pop() if self._free else self._channel.receive(1)[0]
        target = np.ndarray(picture.shape, np.uint8, buffer=self._ring, offset=slot * self._slot_bytes)
        target[:] = picture
        height, width, _ = picture.shape
        self._channel.send(Kind.FRAME, FRAME.pack(slot, number, pts_seconds, height, width))


class Shipping:
    """Ships frames in a thread of its own, so that the next one is decoded while the last one is converted.

    At most three frames are alive: one being decoded, one waiting, one being converted.
    """

    def __init__(self, shipper: Shipper) -> None:
        self._shipper = shipper
        self._waiting: queue.SimpleQueue[Selected | None] = queue.SimpleQueue()
        self._room = threading.Semaphore(2)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="shipping")

    def __enter__(self) -> "Shipping":
        try:
            self._thread.start()
        except RuntimeError as error:  # no room for its stack
            raise MemoryError from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # what was decoded before an error is still shipped
        self._waiting.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def put(self, selected: Selected) -> None:
        """Hand a frame over, waiting for room; raises what went wrong with an earlier one."""
        self._room.acquire()
        if self._error is not None:
            raise self._error
        self._waiting.put(selected)

    def _run(self) -> None:
        while (selected := self._waiting.get()) is not None:
            number, pts_seconds, frame = selected
            try:
                self._shipper.ship(frame, number=number, pts_seconds=pts_seconds)
            except BaseException as error:
                self._error = error
                self._room.release()
                return
            del selected, frame  # a frame kept here would be one more alive
            self._room.release()


class Turn:
    """Remembers the orientation, because asking a frame for its side data keeps the frame alive for a while."""

    def __init__(self) -> None:
        self._known: tuple[int, int, int] | None = None
        self._orientation = UPRIGHT

    def orientation(self, frame: av.VideoFrame) -> Orientation:
        """Return how `frame` has to be turned."""
        look = (frame.rotation, frame.width, frame.height)
        if look != self._known:
            self._known = look
            self._orientation = _orientation(frame)
        return self._orientation


def _orientation(frame: av.VideoFrame) -> Orientation:
    try:
        matrix: Any = frame.side_data.get("DISPLAYMATRIX")  # PyAV's types know motion vectors only
    except ValueError:
        # side data of a kind that PyAV has no name for, Exif in HEIC: it still knows the angle, counter-clockwise
        return orientation_of_rotation(-frame.rotation)
    return UPRIGHT if matrix is None else parse_display_matrix(bytes(matrix))


def _view_pixels(rgb: av.VideoFrame) -> NDArray[np.uint8]:
    plane = rgb.planes[0]
    # rows are padded to line_size: a view without the padding
    lines = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    return lines[:, : rgb.width * 3].reshape(rgb.height, rgb.width, 3)


def _ship_frames(channel: Channel, request: DecodeRequest) -> None:
    shipper = Shipper(channel, request)
    select = sampled_frames if request.frames is None else planned_frames
    with Shipping(shipper) as shipping:
        for selected in select(request, channel.beat):
            shipping.put(selected)


def _send_index(channel: Channel, request: DecodeRequest) -> None:
    index, video, first = index_packets(request, channel.beat)
    orientation = Turn().orientation(first)
    width, height = (first.height, first.width) if orientation.is_transposed else (first.width, first.height)
    facts = json.dumps(
        {
            "reason": index.reason,
            "frame_count": index.frame_count,
            "time_base": [video.time_base.numerator, video.time_base.denominator],
            "last_frame_seconds": float(index.last_duration * video.time_base or video.frame_seconds),
            "frame_seconds": float(video.frame_seconds),
            "width": width,
            "height": height,
            "rotation_degrees": orientation.rotation_degrees,
            "codec": video.codec,
            "start_seconds": float((first.pts or 0) * video.time_base),
        }
    ).encode()
    pts = index.pts.tobytes()
    channel.send(Kind.INDEX, INDEX_LENGTHS.pack(len(facts), len(pts)) + facts + pts + index.keyframes.tobytes())


def main() -> None:
    """Serve one request and exit."""
    channel = Channel()
    request = DecodeRequest.from_bytes(*channel.receive_request())
    ring_bytes = 0 if request.ring_fd is None else SLOTS * request.slot_bytes
    report = enter_sandbox(memory_bytes=request.memory_bytes + ring_bytes, cpu_seconds=request.cpu_seconds)
    channel.send_json(Kind.STARTED, landlock_abi=report.landlock_abi)
    try:
        (_send_index if request.ring_fd is None else _ship_frames)(channel, request)
    except VideoError as error:
        channel.send_json(Kind.FAILED, error=error.error, message=str(error))
    except MemoryError:
        channel.send_json(Kind.FAILED, error="TooManyPixelsError", message=TOO_MUCH_MEMORY)
    except Exception:
        channel.send_json(Kind.FAILED, error="bug", message=traceback.format_exc())
    else:
        channel.send(Kind.FINISHED)


if __name__ == "__main__":
    main()

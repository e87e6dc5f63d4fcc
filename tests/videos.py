"""Test videos made with PyAV: every picture carries its number as a bar code, so that a test knows what frame it is.

Each function takes the path to write and returns it; the suffix names the container. Pictures are (H, W, 3) uint8 RGB
as a viewer sees them. The bar code is sixteen blocks along the top edge, black or white: twelve bits of the number,
most significant first, and four bits of checksum; it survives lossy coding and, being relative to the size, scaling.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from skimage import data

Picture = NDArray[np.uint8]
Scene = Callable[[int], Picture]

NUMBER_BITS = 12
CHECK_BITS = 4
BLOCKS = NUMBER_BITS + CHECK_BITS
CLOCK = Fraction(1, 90_000)
"""Time base of the encoder; containers may round it (Matroska to a millisecond)."""


def burn_number(picture: Picture, number: int) -> Picture:
    """Write `number` (0..4095) into the top eighth of `picture`, in place, and return the picture."""
    if not 0 <= number < 1 << NUMBER_BITS:
        raise ValueError(f"expected a number of {NUMBER_BITS} bits, got {number = }")
    value = number << CHECK_BITS | _checksum(number)
    height, width, _ = picture.shape
    for block in range(BLOCKS):
        bit = value >> (BLOCKS - 1 - block) & 1
        picture[: height // 8, block * width // BLOCKS : (block + 1) * width // BLOCKS] = 255 * bit
    return picture


def read_number(picture: Picture) -> int:
    """Return the number burnt into `picture`.

    Raises:
        ValueError: the checksum does not fit: no bar code, or a damaged or wrongly turned picture.
    """
    height, width, _ = picture.shape
    value = 0
    for block in range(BLOCKS):
        left, right = block * width // BLOCKS, (block + 1) * width // BLOCKS
        margin = (right - left) // 4
        core = picture[height // 32 : height // 8 - height // 32, left + margin : right - margin]
        value = value << 1 | int(core.mean() > 127)
    number, check = value >> CHECK_BITS, value & (1 << CHECK_BITS) - 1
    if check != _checksum(number):
        raise ValueError(f"expected the checksum {_checksum(number)}, got {check}, in a bar code that says {number}")
    return number


def _checksum(number: int) -> int:
    # never zero for number 0, so that an all-black picture is not taken for frame 0
    return (number + (number >> 4) + (number >> 8) + 5) % (1 << CHECK_BITS)


def numbered_scene(*, width: int = 160, height: int = 120) -> Scene:
    """Return a scene of a moving gradient; cheap to code, different in every frame."""
    across = np.linspace(0, 160, width, dtype=np.float32)[None, :]
    down = np.linspace(0, 90, height, dtype=np.float32)[:, None]

    def draw(number: int) -> Picture:
        base = (across + down + 3 * number) % 256
        return burn_number(np.stack([base, base[::-1], 255 - base], axis=-1).astype(np.uint8), number)

    return draw


def face_scene(*, width: int = 320, height: int = 240, pan_pixels: float = 1.0, mirrored: bool = False) -> Scene:
    """Return a scene with one real face (Eileen Collins, public domain) that moves right by `pan_pixels` a frame."""
    portrait = _portrait(height * 3 // 4)
    portrait = portrait[:, ::-1] if mirrored else portrait

    def draw(number: int) -> Picture:
        picture = np.full((height, width, 3), 96, dtype=np.uint8)
        _paste(picture, portrait, left=_swing(number * pan_pixels, width - portrait.shape[1]), top=height // 6)
        return burn_number(picture, number)

    return draw


def two_faces_scene(*, width: int = 480, height: int = 240, pan_pixels: float = 1.0) -> Scene:
    """Return a scene with the same face twice, the right one mirrored, which move apart and together and never meet."""
    portrait = _portrait(height * 3 // 4)

    def draw(number: int) -> Picture:
        picture = np.full((height, width, 3), 96, dtype=np.uint8)
        offset = _swing(number * pan_pixels, max(0, width // 2 - portrait.shape[1]))
        _paste(picture, portrait, left=offset, top=height // 6)
        _paste(picture, portrait[:, ::-1], left=width - portrait.shape[1] - offset, top=height // 6)
        return burn_number(picture, number)

    return draw


def cut_scene(before: Scene, after: Scene, *, at: int) -> Scene:
    """Return a scene that switches from `before` to `after` at frame `at` without a transition."""
    return lambda number: (before if number < at else after)(number)


def write_video(
    path: Path,
    frames: int,
    *,
    scene: Scene | None = None,
    pts: Sequence[int] | None = None,
    fps: Fraction | int = 25,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Encode `frames` pictures of `scene` and return `path`.

    `pts` are presentation times in units of CLOCK, one a frame; None spaces them evenly at `fps`. `options` are the
    encoder's (one thread unless told otherwise, so that files are the same everywhere), `container_options` the
    muxer's.
    """
    draw = scene or numbered_scene()
    times = pts if pts is not None else [round(number / (fps * CLOCK)) for number in range(frames)]
    first = draw(0)
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=Fraction(fps), options={"threads": "1", **(options or {})})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = first.shape[1], first.shape[0]
        stream.pix_fmt = pixel_format
        if codec not in CODECS_WITH_A_FIXED_CLOCK:
            stream.time_base = CLOCK
            stream.codec_context.time_base = CLOCK
        for number, time in zip(range(frames), times, strict=True):
            picture = av.VideoFrame.from_ndarray(draw(number), format="rgb24")
            picture.pts = time
            picture.time_base = CLOCK
            if codec in CODECS_WITH_A_FIXED_CLOCK:
                picture.pts = round(time * CLOCK * fps)
                picture.time_base = 1 / Fraction(fps)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


CODECS_WITH_A_FIXED_CLOCK = frozenset({"mpeg1video", "mpeg2video", "mpeg4", "flv", "libtheora", "prores_ks", "gif"})
"""Encoders that want one tick a frame."""

SMALL_GOP = {"g": "12", "keyint_min": "12", "sc_threshold": "0"}
"""A keyframe every twelve frames and nowhere else: seeks happen in short videos too, and off the grid of eight."""


def write_constant_rate(path: Path, frames: int = 48, *, fps: Fraction | int = 25, scene: Scene | None = None) -> Path:
    """Write a plain video: closed groups of pictures with B-frames, evenly spaced."""
    return write_video(path, frames, fps=fps, scene=scene, options={**SMALL_GOP, "bf": "2"})


def variable_pts(frames: int) -> list[int]:
    """Return presentation times in units of CLOCK that are unevenly spaced and exact in milliseconds."""
    steps_ms = [20, 40, 33, 100, 17, 41, 250]
    times = np.cumsum([0, *(steps_ms[number % len(steps_ms)] for number in range(frames - 1))])
    return [int(time) * 90 for time in times]


def write_variable_rate(path: Path, frames: int = 48, *, scene: Scene | None = None) -> Path:
    """Write a video of variable frame rate whose times are variable_pts(frames)."""
    return write_video(path, frames, pts=variable_pts(frames), scene=scene, options={**SMALL_GOP, "bf": "2"})


def write_open_gop(path: Path, frames: int = 48) -> Path:
    """Write a video whose keyframes are followed, in decoding order, by B-frames that are shown before them."""
    return write_video(path, frames, options={**SMALL_GOP, "bf": "3", "b_strategy": "0", "x264-params": "open-gop=1"})


def write_intra_refresh(path: Path, frames: int = 48) -> Path:
    """Write a video with one true keyframe; what else is marked as one only begins a gradual refresh."""
    return write_video(path, frames, options={"g": "12", "x264-params": "intra-refresh=1:scenecut=0"})


def write_negative_start(path: Path, frames: int = 48, *, hidden: int = 5) -> Path:
    """Write an MP4 whose first `hidden` frames have negative times, so that its edit list keeps them from a viewer."""
    pts = [(number - hidden) * 3600 for number in range(frames)]
    options = {**SMALL_GOP, "bf": "0"}
    return write_video(path, frames, pts=pts, options=options, container_options={"avoid_negative_ts": "disabled"})


def write_without_pts(path: Path, frames: int = 48) -> Path:
    """Write H.264 with B-frames to AVI, a container that stores no presentation times. `path` ends in .avi."""
    return write_video(path, frames, options={**SMALL_GOP, "bf": "2"})


def write_size_change(path: Path, frames: int = 24) -> Path:
    """Write an MPEG-TS whose picture grows from 160 x 120 to 320 x 240 half-way. `path` ends in .ts."""
    half = frames // 2
    parts = []
    for part, (width, height) in enumerate([(160, 120), (320, 240)]):
        draw = numbered_scene(width=width, height=height)
        first = part * half
        parts.append(
            write_video(
                path.with_suffix(f".{part}.ts"),
                half,
                scene=lambda number, draw=draw, first=first: draw(number + first),  # type: ignore[misc]  # bound per turn
                pts=[(number + first) * 3600 for number in range(half)],
                options={**SMALL_GOP, "bf": "0"},
                container_options={"mpegts_copyts": "1"},
            )
        )
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    for part_path in parts:
        part_path.unlink()
    return path


def write_rotated(path: Path, degrees: int, frames: int = 16, *, scene: Scene | None = None) -> Path:
    """Write an MP4 that is stored turned, with the display matrix by which a player turns it `degrees` clockwise."""
    draw = scene or numbered_scene()
    # the player turns clockwise, so what is stored is turned counter-clockwise
    write_video(
        path, frames, scene=lambda number: np.rot90(draw(number), degrees // 90).copy(), options=dict(SMALL_GOP)
    )
    cosine, sine = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    return set_display_matrix(path, (cosine, sine, -sine, cosine))


def write_mirrored(path: Path, frames: int = 16) -> Path:
    """Write an MP4 that is stored mirrored left to right, as selfie cameras do, with the matrix that undoes it."""
    draw = numbered_scene()
    write_video(path, frames, scene=lambda number: draw(number)[:, ::-1].copy(), options=dict(SMALL_GOP))
    return set_display_matrix(path, (-1, 0, 0, 1))


def set_display_matrix(path: Path, matrix: tuple[float, float, float, float]) -> Path:
    """Overwrite a, b, c, d of the track header's matrix (ISO 14496-12, 8.3.2) of an MP4 file with one track.

    PyAV cannot write a display matrix, so the bytes are patched. In version 0 of the box the matrix stands 44 bytes
    behind its name.
    """
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 44
    for place, value in zip((0, 4, 12, 16), matrix, strict=True):
        content[start + place : start + place + 4] = round(value * 65536).to_bytes(4, "big", signed=True)
    path.write_bytes(content)
    return path


def write_hard_cut(path: Path, frames: int = 32, *, at: int = 16) -> Path:
    """Write a face on gray that jumps, at frame `at`, to another place and a mirrored face: a hard cut."""
    after = face_scene(mirrored=True, pan_pixels=-1.0)

    def draw_bright(number: int) -> Picture:
        return burn_number(np.maximum(after(number), 140), number)

    return write_video(path, frames, scene=cut_scene(face_scene(), draw_bright, at=at), options=dict(SMALL_GOP))


def write_face(path: Path, frames: int = 32, *, fps: Fraction | int = 25) -> Path:
    """Write one real face that moves slowly."""
    return write_video(path, frames, scene=face_scene(), fps=fps, options={**SMALL_GOP, "bf": "2"})


def write_two_faces(path: Path, frames: int = 32, *, fps: Fraction | int = 25) -> Path:
    """Write two real faces that move slowly and never meet."""
    return write_video(path, frames, scene=two_faces_scene(), fps=fps, options={**SMALL_GOP, "bf": "2"})


def write_audio_only(path: Path, seconds: float = 0.5) -> Path:
    """Write silence without pictures."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48_000, layout="mono")
        for block in range(int(seconds * 48_000 / 1024)):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
            samples.sample_rate = 48_000
            samples.pts = block * 1024
            container.mux(stream.encode(samples))
        container.mux(stream.encode(None))
    return path


def write_with_sound(
    path: Path,
    frames: int = 24,
    *,
    scene: Scene | None = None,
    pts: Sequence[int] | None = None,
    codec: str = "aac",
    rate: int = 48_000,
    sound_starts_ms: int = 0,
) -> Path:
    """Write a video whose sound is a tone, a little longer than the pictures.

    `pts` are as in write_video, evenly spaced by default; `sound_starts_ms` is where the sound begins on their clock.
    """
    draw = scene or numbered_scene()
    times = pts if pts is not None else [number * 3600 for number in range(frames)]
    first = draw(0)
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("libx264", rate=25, options={"threads": "1", **SMALL_GOP, "bf": "2"})
        pictures.width, pictures.height = first.shape[1], first.shape[0]
        pictures.pix_fmt = "yuv420p"
        pictures.time_base = pictures.codec_context.time_base = CLOCK
        sound = container.add_stream(codec, rate=rate, layout="mono")
        assert isinstance(pictures, av.VideoStream)
        assert isinstance(sound, av.AudioStream)
        sample_format = sound.format.name
        size = 1024
        blocks = int(times[-1] * CLOCK * rate / size) + 8
        tone = 0.3 * np.sin(np.arange(blocks * size) * 2 * np.pi * 440 / rate)
        for block in range(blocks):
            samples = tone[None, block * size : (block + 1) * size]
            values = (
                samples.astype(np.float32) if sample_format.startswith("flt") else (samples * 32767).astype(np.int16)
            )
            part = av.AudioFrame.from_ndarray(values, format=sample_format, layout="mono")
            part.sample_rate = rate
            part.pts = block * size + sound_starts_ms * rate // 1000
            part.time_base = Fraction(1, rate)
            container.mux(sound.encode(part))
        container.mux(sound.encode(None))
        for number, time in zip(range(frames), times, strict=True):
            picture = av.VideoFrame.from_ndarray(draw(number), format="rgb24")
            picture.pts, picture.time_base = time, CLOCK
            container.mux(pictures.encode(picture))
        container.mux(pictures.encode(None))
    return path


def truncate(path: Path, *, keep: float) -> Path:
    """Cut a file to the first `keep` (0..1) of its bytes."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    return path


def count_decodable_frames(path: Path) -> int:
    """Return how many frames a plain sequential decode delivers, damaged packets skipped and reading errors the end."""
    with av.open(str(path), metadata_errors="ignore") as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        return sum(1 for _ in _decode_tolerantly(container, stream))


def _decode_tolerantly(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.FFmpegError):
            break
        with suppress(av.FFmpegError):
            yield from packet.decode()
    with suppress(av.FFmpegError):
        yield from stream.decode(None)


def reference_frames(path: Path) -> Iterator[tuple[float, Picture]]:
    """Yield (seconds since the first frame, picture as stored) of a plain sequential decode: the measure of all rows.

    Damaged packets are skipped; a frame without a time is an error here, because there is nothing to compare.
    """
    with av.open(str(path), metadata_errors="ignore") as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        start: int | None = None
        for frame in _decode_tolerantly(container, stream):
            assert frame.pts is not None
            assert stream.time_base is not None
            start = frame.pts if start is None else start
            yield float((frame.pts - start) * stream.time_base), frame.to_ndarray(format="rgb24").astype(np.uint8)


@cache
def _portrait(height: int) -> Picture:
    face = data.astronaut()[0:240, 110:340]
    scale = height / face.shape[0]
    width = round(face.shape[1] * scale)
    rows = (np.arange(height) / scale).astype(int)
    columns = (np.arange(width) / scale).astype(int)
    portrait: Picture = np.ascontiguousarray(face[rows][:, columns])
    return portrait


def _paste(picture: Picture, patch: Picture, *, left: int, top: int) -> None:
    height, width = patch.shape[:2]
    target = picture[top : top + height, left : left + width]
    target[:] = patch[: target.shape[0], : target.shape[1]]


def _swing(distance: float, span: int) -> int:
    """Return a position in 0..span that goes to and fro with `distance`."""
    if span <= 0:
        return 0
    phase = distance % (2 * span)
    return round(phase if phase <= span else 2 * span - phase)

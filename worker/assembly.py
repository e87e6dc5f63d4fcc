"""From settings to the objects they describe: decoding limits and the analyzer with its networks loaded."""

from model.checkpoint import DEFAULT_WEIGHTS, load_checkpoint
from model.hardware import choose_device
from worker.decode import DecodeLimits
from worker.faces import create_detector
from worker.pipeline import Analyzer
from worker.predictor import Predictor
from worker.settings import WorkerSettings

__all__ = ["create_analyzer", "create_limits"]


def create_limits(settings: WorkerSettings) -> DecodeLimits:
    """Return what decoding one video, or one segment of it, may cost."""
    return DecodeLimits(
        max_pixels=settings.max_pixels,
        max_duration_seconds=settings.max_duration_seconds,
        max_frames=settings.max_frames,
        memory_bytes=settings.decode_memory_bytes,
        cpu_seconds=settings.decode_cpu_seconds,
        wall_seconds=settings.decode_wall_seconds,
        stall_seconds=settings.decode_stall_seconds,
        threads=settings.decode_threads,
    )


def create_analyzer(settings: WorkerSettings) -> Analyzer:
    """Load detector and emotion network onto the chosen device: some seconds, so once in a process.

    Raises:
        WeightsError: The detector's weights are missing or not the expected ones.
        CheckpointError: The emotion network's are.
    """
    device = choose_device(settings.device)
    detector = create_detector(
        settings.detector,
        device=device,
        weights=settings.detector_weights,
        weights_sha256=settings.detector_weights_sha256,
        long_side=settings.long_side,
        upscale_to=settings.upscale_to,
    )
    checkpoint = load_checkpoint(settings.weights or DEFAULT_WEIGHTS)
    return Analyzer(detector, Predictor(checkpoint, device=device))

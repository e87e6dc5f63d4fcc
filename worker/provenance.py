"""Which weights make the rows and what runs them: recorded by the worker with each segment, carried by every export."""

import platform
from importlib.metadata import version

import av
import cv2
import numpy as np
import torch
import torchvision

from model.labels import EMOTIONS
from worker.contract import ModelVersion, Runtime
from worker.faces import FaceDetector
from worker.predictor import Predictor

__all__ = ["describe_model"]


def describe_model(detector: FaceDetector, predictor: Predictor) -> ModelVersion:
    """Return what is recorded of loaded networks and of this process's libraries."""
    device = predictor.device
    return ModelVersion(
        name=predictor.checkpoint.name,
        sha256=predictor.checkpoint.sha256,
        detector=detector.name,
        detector_sha256=detector.sha256,
        labels=EMOTIONS,  # load_checkpoint accepts no others
        runtime=Runtime(
            emoclip=version("emoclip"),
            python=platform.python_version(),
            torch=torch.__version__,
            torchvision=torchvision.__version__,
            numpy=np.__version__,
            opencv=cv2.__version__,
            pyav=av.__version__,
            # the decoder process runs the same libraries: it is started with this interpreter
            ffmpeg={name: ".".join(map(str, parts)) for name, parts in av.library_versions.items()},
            device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            precision=str(predictor.dtype).removeprefix("torch."),
            long_side=detector.long_side,
            upscale_to=detector.upscale_to,
            score_threshold=detector.score_threshold,
        ),
    )

"""Checkpoints: one safetensors file with the tensors and, in its header, all that is needed to use them. Never pickle.

The header holds configuration, transform, labels, temperature, name, metrics, and a SHA-256 over these and the tensors:
a file that was damaged or edited does not load. Large tensors may be stored as float16, or as int8 with one float32
scale a row (symmetric, per output channel); vectors, which are small and carry BatchNorm's statistics, stay float32.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from model.baseline import FrameWiseMobileNet
from model.errors import CheckpointError
from model.labels import EMOTIONS
from model.network import EmotionNet, EmotionNetConfig
from model.transforms import ClipTransformConfig

FORMAT = "emoclip-checkpoint-1"
DEFAULT_WEIGHTS = Path(__file__).with_name("weights") / "default.safetensors"
SCALE_SUFFIX = "::scale"
"""Marks the scales of an int8 tensor; no parameter's name holds a colon."""
INT8_LIMIT = 127

Storage = Literal["fp32", "fp16", "int8"]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A network's weights with everything needed to use them."""

    config: EmotionNetConfig
    transform: ClipTransformConfig
    temperature: float
    """What logits are divided by before the softmax; fitted on validation data."""
    mirror_average: bool
    """See EmotionNet."""
    name: str
    sha256: str
    """Of the file, 64 hex digits."""
    metrics: Mapping[str, Any]  # Any: JSON, written by whoever trained
    """How it was trained and what it reached then: recipe, curve, hardware, throughput."""
    state_dict: Mapping[str, Tensor]
    """Float32 tensors on the CPU; counters keep their integer type."""


def build_network(config: EmotionNetConfig) -> EmotionNet:
    """Build the network of a configuration, its weights random."""
    return FrameWiseMobileNet(config) if config.architecture == "mobilenet_v2" else EmotionNet(config)


def create_network(checkpoint: Checkpoint) -> EmotionNet:
    """Build a checkpoint's network, ready for inference on the CPU.

    Raises:
        CheckpointError: The tensors do not fit the configuration.
    """
    network = build_network(checkpoint.config)
    try:
        network.load_state_dict(dict(checkpoint.state_dict))
    except RuntimeError as error:
        raise CheckpointError(f"checkpoint {checkpoint.name!r}: {error}") from error
    network.mirror_average = checkpoint.mirror_average
    return network.eval()


def save_checkpoint(
    path: Path,
    network: EmotionNet,
    *,
    transform: ClipTransformConfig,
    temperature: float,
    name: str,
    metrics: Mapping[str, Any],
    storage: Storage = "fp32",
) -> None:
    """Write a checkpoint; the file is whole or absent, whenever the process is killed."""
    tensors = _pack(network.state_dict(), storage)
    header = {
        "format": FORMAT,
        "name": name,
        "labels": [emotion.value for emotion in EMOTIONS],
        "temperature": temperature,
        "mirror_average": network.mirror_average,
        "network": network.config.to_json(),
        "transform": asdict(transform),
        "metrics": dict(metrics),
    }
    text = json.dumps(header, sort_keys=True)
    content = save(tensors, {"emoclip": text, "content_sha256": _content_sha256(text, tensors)})
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.part")
    temporary.write_bytes(content)
    os.replace(temporary, path)


def load_checkpoint(path: Path, *, sha256: str | None = None) -> Checkpoint:
    """Read and verify a checkpoint.

    Args:
        path: A safetensors file written by save_checkpoint.
        sha256: What the file's SHA-256 has to be; None accepts any file that is consistent in itself.

    Raises:
        CheckpointError: It is missing, damaged, edited, of another kind, or not the expected file.
    """
    try:
        file_sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # not a mapping
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: expected a checkpoint, got {error}") from error
    if sha256 is not None and file_sha256 != sha256:
        raise CheckpointError(f"{path}: expected SHA-256 {sha256}, got {file_sha256}")
    text = metadata.get("emoclip", "")
    if metadata.get("content_sha256") != _content_sha256(text, tensors):
        raise CheckpointError(f"{path}: expected the content its header promises, got a damaged or edited file")
    return _checkpoint(path, json.loads(text), tensors, file_sha256)


def _checkpoint(path: Path, header: dict[str, Any], tensors: dict[str, Tensor], sha256: str) -> Checkpoint:
    labels = [emotion.value for emotion in EMOTIONS]
    if (header.get("format"), header.get("labels")) != (FORMAT, labels):
        actual = f"{header.get('format')} with {header.get('labels')}"
        raise CheckpointError(f"{path}: expected {FORMAT} with {labels}, got {actual}")
    transform = header["transform"]
    try:
        return Checkpoint(
            config=EmotionNetConfig(**header["network"]),
            transform=ClipTransformConfig(
                **transform | {"mean": tuple(transform["mean"]), "std": tuple(transform["std"])}
            ),
            temperature=header["temperature"],
            mirror_average=header.get("mirror_average", False),
            name=header["name"],
            sha256=sha256,
            metrics=header["metrics"],
            state_dict=_unpack(tensors),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: expected a header of {FORMAT}, got {error!r}") from error


def _pack(state: Mapping[str, Tensor], storage: Storage) -> dict[str, Tensor]:
    packed: dict[str, Tensor] = {}
    for name, value in state.items():
        tensor = value.detach().cpu()
        if storage == "fp32" or tensor.ndim < 2:
            packed[name] = tensor.contiguous()
        elif storage == "fp16":
            packed[name] = tensor.half().contiguous()
        else:
            rows = tensor.float().flatten(1)
            scale = rows.abs().amax(dim=1).clamp(min=torch.finfo(torch.float32).tiny) / INT8_LIMIT
            packed[name] = (rows / scale[:, None]).round().to(torch.int8).reshape(tensor.shape).contiguous()
            packed[f"{name}{SCALE_SUFFIX}"] = scale
    return packed


def _unpack(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.endswith(SCALE_SUFFIX):
            continue
        scale = tensors.get(f"{name}{SCALE_SUFFIX}")
        if scale is not None:
            state[name] = tensor.float() * scale.reshape(-1, *[1] * (tensor.ndim - 1))
        else:
            state[name] = tensor.float() if tensor.is_floating_point() else tensor
    return state


def _content_sha256(header: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(header.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()

"""Checkpoints come back as they were saved, and a damaged, edited or foreign file does not load."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.checkpoint import Storage, build_network, create_network, load_checkpoint, save_checkpoint
from model.errors import CheckpointError
from model.network import EmotionNet, EmotionNetConfig
from model.transforms import ClipTransformConfig

CONFIG = EmotionNetConfig(depth=18, stem="small", hidden=16, classifier_hidden=16, temporal_residual=True)
TRANSFORM = ClipTransformConfig(size=32, colour="gray", mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def make_network(config: EmotionNetConfig = CONFIG) -> EmotionNet:
    torch.manual_seed(0)
    return build_network(config).eval()


def save(path: Path, network: EmotionNet, *, storage: Storage = "fp32") -> Path:
    save_checkpoint(
        path, network, transform=TRANSFORM, temperature=1.5, name="test", metrics={"s": 0.7}, storage=storage
    )
    return path


def logits(network: EmotionNet) -> Tensor:
    clips = torch.randn(2, 8, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        result: Tensor = network(clips)
    return result


def test_a_checkpoint_comes_back_with_everything_needed_to_use_it(tmp_path: Path) -> None:
    network = make_network()
    network.mirror_average = True

    checkpoint = load_checkpoint(save(tmp_path / "a.safetensors", network))

    assert (checkpoint.config, checkpoint.transform) == (CONFIG, TRANSFORM)
    assert (checkpoint.temperature, checkpoint.name, checkpoint.metrics) == (1.5, "test", {"s": 0.7})
    assert torch.equal(logits(create_network(checkpoint)), logits(network))


def test_the_baseline_comes_back_as_the_baseline(tmp_path: Path) -> None:
    network = make_network(EmotionNetConfig(architecture="mobilenet_v2"))

    checkpoint = load_checkpoint(save(tmp_path / "a.safetensors", network))

    assert torch.equal(logits(create_network(checkpoint)), logits(network))


@pytest.mark.parametrize(("storage", "share", "tolerance"), [("fp16", 0.52, 1e-3), ("int8", 0.28, 0.03)])
def test_smaller_storage_keeps_the_logits_close(
    storage: Storage, share: float, tolerance: float, tmp_path: Path
) -> None:
    network = make_network()
    full = save(tmp_path / "full.safetensors", network)
    small = save(tmp_path / "small.safetensors", network, storage=storage)

    restored = logits(create_network(load_checkpoint(small)))

    assert small.stat().st_size < share * full.stat().st_size
    # half precision keeps 11 bits, int8 about 7: relative to the spread of the logits
    assert ((restored - logits(network)).abs().max() / logits(network).std()).item() < tolerance


def test_a_flipped_bit_is_detected_wherever_it_lies(tmp_path: Path) -> None:
    path = save(tmp_path / "a.safetensors", make_network())
    content = path.read_bytes()
    header_end = 8 + int.from_bytes(content[:8], "little")
    for position in (header_end, header_end + (len(content) - header_end) // 2, len(content) - 1):
        damaged = bytearray(content)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)

        with pytest.raises(CheckpointError, match="damaged or edited"):
            load_checkpoint(path)


def test_an_edited_header_is_detected(tmp_path: Path) -> None:
    path = save(tmp_path / "a.safetensors", make_network())
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    header = json.loads(metadata["emoclip"]) | {"temperature": 0.1}
    save_file(load_file(path), path, metadata | {"emoclip": json.dumps(header, sort_keys=True)})

    with pytest.raises(CheckpointError, match="damaged or edited"):
        load_checkpoint(path)


def test_another_file_than_the_expected_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.safetensors", make_network())

    assert load_checkpoint(path, sha256=load_checkpoint(path).sha256).name == "test"
    with pytest.raises(CheckpointError, match="expected SHA-256 0000"):
        load_checkpoint(path, sha256="0" * 64)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"\x80\x04pickle"])
def test_a_file_of_another_kind_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)

    with pytest.raises(CheckpointError, match=r"a\.safetensors: expected a checkpoint"):
        load_checkpoint(path)


def test_foreign_safetensors_are_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "a.safetensors")

    with pytest.raises(CheckpointError, match="expected the content its header promises"):
        load_checkpoint(tmp_path / "a.safetensors")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none\.safetensors: expected a checkpoint"):
        load_checkpoint(tmp_path / "none.safetensors")

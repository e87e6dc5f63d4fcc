"""Clips to probabilities: folding, padding, temperature, and that no clip changes another's result."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from model.baseline import FrameWiseMobileNet
from model.checkpoint import Checkpoint, create_network, load_checkpoint
from model.network import EmotionNet, EmotionNetConfig
from model.transforms import ClipTransform
from tests.model.miniature import write_tiny_checkpoint
from worker.predictor import Predictor, fold_batch_norms

CPU = torch.device("cpu")
Crops = NDArray[np.uint8]


@pytest.fixture(scope="module", autouse=True)
def _on_one_core() -> Iterator[None]:
    """Compute as the pipeline's threads do; on a busy machine several threads in one operator wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return load_checkpoint(write_tiny_checkpoint(tmp_path_factory.mktemp("weights") / "tiny.safetensors"))


@pytest.fixture(scope="module")
def clips() -> list[Crops]:
    rng = np.random.default_rng(7)
    return [rng.integers(0, 256, (length, 256, 256, 3), np.uint8) for length in (8, 3, 1, 8, 5)]


def unsettle_batch_norms(network: nn.Module) -> None:
    """Give every BatchNorm statistics that matter: fresh ones are the identity."""
    generator = torch.Generator().manual_seed(3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.running_var, module.weight.data, module.bias.data):
                assert tensor is not None
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)


@pytest.mark.parametrize(
    "network",
    [
        EmotionNet(EmotionNetConfig(depth=18, stem="small", hidden=8)),
        EmotionNet(EmotionNetConfig(depth=50, hidden=8)),
        EmotionNet(EmotionNetConfig(depth=18, cbam=False, hidden=8)),
        FrameWiseMobileNet(EmotionNetConfig(architecture="mobilenet_v2")),
    ],
    ids=["resnet18-cbam", "resnet50-cbam", "resnet18", "mobilenet"],
)
def test_fold_batch_norms_leaves_none_and_the_same_features(network: EmotionNet) -> None:
    network.eval()
    unsettle_batch_norms(network)
    frames = torch.randn(1, 2, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = network.extract_features(frames)
        fold_batch_norms(network)
        folded = network.extract_features(frames)

    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    # Folding rounds every weight once: float32's 1e-7, through up to 50 layers.
    torch.testing.assert_close(folded, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


def test_predict_is_the_network_on_the_clip_padded_with_zeros(checkpoint: Checkpoint, clips: list[Crops]) -> None:
    network, transform = create_network(checkpoint).eval(), ClipTransform(checkpoint.transform)

    for clip, probabilities in zip(
        clips, Predictor(checkpoint, device=CPU, dtype=torch.float32).predict(clips), strict=True
    ):
        frames = transform(torch.from_numpy(clip)[None])
        padding = torch.zeros(1, 8 - len(clip), *frames.shape[2:])
        with torch.inference_mode():
            logits = network(torch.cat([frames, padding], dim=1))[0, : len(clip)]
        expected = (logits / checkpoint.temperature).softmax(dim=-1)
        # float32, another order of additions
        np.testing.assert_allclose(probabilities, expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_predict_gives_a_clip_the_same_result_in_any_company(
    checkpoint: Checkpoint, clips: list[Crops], dtype: torch.dtype
) -> None:
    predictor = Predictor(checkpoint, device=CPU, dtype=dtype)

    together = predictor.predict(clips)
    alone = [predictor.predict([clip])[0] for clip in clips]

    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one, other)


def test_predict_in_bfloat16_is_close_to_float32(checkpoint: Checkpoint, clips: list[Crops]) -> None:
    exact = Predictor(checkpoint, device=CPU, dtype=torch.float32).predict(clips)
    rounded = Predictor(checkpoint, device=CPU, dtype=torch.bfloat16).predict(clips)

    # bfloat16 keeps 8 bits: 0.4 % in each activation
    np.testing.assert_allclose(np.concatenate(rounded), np.concatenate(exact), atol=0.03)


def test_predict_returns_distributions(checkpoint: Checkpoint, clips: list[Crops]) -> None:
    probabilities = Predictor(checkpoint, device=CPU).predict(clips)

    assert [p.shape for p in probabilities] == [(len(clip), 7) for clip in clips]
    assert all(p.dtype == np.float32 and (p >= 0).all() for p in probabilities)
    np.testing.assert_allclose(np.concatenate(probabilities).sum(axis=1), 1, atol=1e-5)


def test_predict_divides_logits_by_the_temperature(tmp_path: Path, clips: list[Crops]) -> None:
    cold, hot = (
        load_checkpoint(write_tiny_checkpoint(tmp_path / f"{temperature}.safetensors", temperature=temperature))
        for temperature in (1.0, 4.0)
    )
    (at_one,), (at_four,) = (
        Predictor(each, device=CPU, dtype=torch.float32).predict(clips[:1]) for each in (cold, hot)
    )

    tempered = at_one ** (1 / 4)
    np.testing.assert_allclose(at_four, tempered / tempered.sum(axis=1, keepdims=True), atol=1e-5)


def test_predict_may_be_called_from_several_threads(checkpoint: Checkpoint, clips: list[Crops]) -> None:
    predictor = Predictor(checkpoint, device=CPU)
    expected = [predictor.predict([clip])[0] for clip in clips]

    with ThreadPoolExecutor(3) as executor:
        results = list(executor.map(lambda clip: predictor.predict([clip])[0], clips * 3))

    for result, wanted in zip(results, expected * 3, strict=True):
        # threads may run an operator on another number of cores, which adds up in another order
        np.testing.assert_allclose(result, wanted, atol=1e-3)


def test_predict_without_clips_returns_nothing(checkpoint: Checkpoint) -> None:
    assert Predictor(checkpoint, device=CPU).predict([]) == []


@pytest.mark.parametrize("length", [0, 9])
def test_predict_refuses_clips_of_other_lengths(checkpoint: Checkpoint, length: int) -> None:
    with pytest.raises(ValueError, match="expected 1 to 8 frames"):
        Predictor(checkpoint, device=CPU).predict([np.zeros((length, 256, 256, 3), np.uint8)])

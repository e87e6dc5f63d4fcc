"""The whole network against a literal transcription of the papers' equations, and the invariances it has to have."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from model.baseline import FrameWiseMobileNet
from model.network import EmotionNet, EmotionNetConfig
from tests.model import transcription

SMALL = EmotionNetConfig(depth=18, hidden=16, classifier_hidden=16)
BLOCKS = {18: (2, 2, 2, 2), 101: (3, 4, 23, 3)}


def with_trained_looking_statistics(network: nn.Module) -> nn.Module:
    """Fresh BatchNorm statistics are 0 and 1, which would hide an error in their use."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator) * 0.1)
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
    return network.eval()


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        EmotionNetConfig(depth=18, hidden=16, cbam=False),
        EmotionNetConfig(depth=18, hidden=16, temporal_residual=True),
        EmotionNetConfig(),
    ],
    ids=["resnet18", "without CBAM", "with temporal residual", "the paper's ResNet-101"],
)
def test_forward_equals_the_papers_equations(config: EmotionNetConfig) -> None:
    torch.manual_seed(0)
    network = with_trained_looking_statistics(EmotionNet(config))
    clip = torch.randn(8, 3, 64, 64)

    with torch.inference_mode():
        logits = network(clip[None])[0]
        expected = transcription.emotion_net(clip, dict(network.state_dict()), blocks=BLOCKS[config.depth])

    # relative to the largest logit: a hundred float32 layers leave about 1e-6 of it
    assert ((logits - expected).abs().max() / expected.abs().max()).item() < 1e-5


def test_a_mirror_average_takes_a_clip_and_its_mirror_image_for_the_same() -> None:
    torch.manual_seed(0)
    network = EmotionNet(SMALL)
    with_trained_looking_statistics(network)
    clip = torch.randn(1, 8, 3, 64, 64)

    with torch.inference_mode():
        apart = (network(clip) - network(clip.flip(-1))).abs().max().item()
        network.mirror_average = True
        torch.testing.assert_close(network(clip), network(clip.flip(-1)), atol=1e-5, rtol=1e-5)

    assert apart > 1e-3, "these would be equal anyway"


def test_training_sees_frames_as_they_are() -> None:
    torch.manual_seed(0)
    network = EmotionNet(SMALL).train()
    network.mirror_average = True
    clip = torch.randn(1, 8, 3, 64, 64)

    assert not torch.allclose(network(clip), network(clip.flip(-1)))


@pytest.mark.parametrize("config", [SMALL, EmotionNetConfig(depth=18, cbam=False, temporal_residual=True)])
def test_every_parameter_gets_a_gradient(config: EmotionNetConfig) -> None:
    torch.manual_seed(0)
    network = EmotionNet(config)

    cross_entropy(network(torch.randn(2, 8, 3, 64, 64)).flatten(0, 1), torch.arange(16) % 7).backward()

    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert without == []


def test_a_batch_equals_its_clips_one_by_one() -> None:
    torch.manual_seed(0)
    network = with_trained_looking_statistics(EmotionNet(SMALL))
    clips = torch.randn(3, 8, 3, 64, 64)

    with torch.inference_mode():
        together = network(clips)
        singly = torch.cat([network(clip[None]) for clip in clips])

    torch.testing.assert_close(together, singly, atol=1e-5, rtol=1e-5)


def test_the_blstm_looks_both_ways() -> None:
    torch.manual_seed(0)
    network = with_trained_looking_statistics(EmotionNet(SMALL))
    clip = torch.randn(1, 8, 3, 64, 64)
    other_middle = clip.clone()
    other_middle[:, 4] = torch.randn(3, 64, 64)

    with torch.inference_mode():
        changed = (network(clip) - network(other_middle)).abs().amax(dim=2)[0]

    assert (changed > 0).all()


def test_one_batch_overfits() -> None:
    torch.manual_seed(0)
    network = EmotionNet(EmotionNetConfig(depth=18, hidden=32, classifier_hidden=32, stem="small"))
    clips, labels = torch.randn(2, 4, 3, 32, 32), torch.tensor([[0, 1, 2, 3], [4, 5, 6, 0]])

    losses = train_on(network, clips, labels, steps=40)

    assert losses[-1] < 0.1 * losses[0]


def train_on(network: nn.Module, clips: Tensor, labels: Tensor, *, steps: int) -> list[float]:
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    losses = []
    for _ in range(steps):
        loss = cross_entropy(network(clips).flatten(0, 1), labels.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_the_baseline_classifies_each_frame_for_itself() -> None:
    torch.manual_seed(0)
    network = FrameWiseMobileNet(EmotionNetConfig(architecture="mobilenet_v2")).eval()
    clip = torch.randn(1, 8, 3, 64, 64)

    with torch.inference_mode():
        logits = network(clip)
        alone = network(clip[:, 3:4])

    assert logits.shape == (1, 8, 7)
    torch.testing.assert_close(logits[:, 3:4], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"depth": 17}, "depth"), ({"hidden": 0}, "hidden"), ({"dropout": 1.0}, "dropout")],
)
def test_an_impossible_configuration_is_refused(fields: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EmotionNetConfig(**fields)  # type: ignore[arg-type]  # wrong values are the point

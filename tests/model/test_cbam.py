"""CBAM against the paper's equations."""

import torch

from model.cbam import CBAM, ChannelAttention, SpatialAttention
from tests.model import transcription


def test_cbam_equals_the_papers_equations() -> None:
    torch.manual_seed(0)
    module = CBAM(32).eval()
    # fresh statistics are 0 and 1, which would hide an error in their use
    module.load_state_dict(
        module.state_dict()
        | {"spatial.norm.running_mean": torch.tensor([0.1]), "spatial.norm.running_var": torch.tensor([0.5])}
    )
    x = torch.randn(2, 32, 9, 7)

    expected = transcription.cbam(x, {f"cbam.{k}": v for k, v in module.state_dict().items()}, "cbam")

    torch.testing.assert_close(module(x), expected, atol=1e-6, rtol=0)


def test_attention_maps_lie_between_zero_and_one_in_the_papers_shapes() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 16, 5, 6) * 10

    channel, spatial = ChannelAttention(16)(x), SpatialAttention().eval()(x)

    assert channel.shape == (2, 16, 1, 1)
    assert spatial.shape == (2, 1, 5, 6)
    assert 0 <= min(channel.min(), spatial.min()) <= max(channel.max(), spatial.max()) <= 1


def test_the_shared_mlp_narrows_by_the_reduction() -> None:
    shapes = {name: tuple(value.shape) for name, value in ChannelAttention(64, reduction=16).named_parameters()}

    assert shapes == {"mlp.0.weight": (4, 64), "mlp.0.bias": (4,), "mlp.2.weight": (64, 4), "mlp.2.bias": (64,)}

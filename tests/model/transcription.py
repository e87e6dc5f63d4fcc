"""The papers' equations written out literally over a state dict: slow, without any of `model`'s code, to compare with.

CBAM (arXiv 1807.06521) equations 1 to 3, residual blocks (arXiv 1512.03385) figures 2, 3 and 5, LSTM (Hochreiter &
Schmidhuber 1997 with forget gates, the equations of Graves et al. 2013 without peepholes), read in both directions.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]


def batch_norm(x: Tensor, state: State, name: str) -> Tensor:
    mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    normalised = (x - mean[:, None, None]) / torch.sqrt(variance[:, None, None] + 1e-5)
    return normalised * state[f"{name}.weight"][:, None, None] + state[f"{name}.bias"][:, None, None]


def cbam(x: Tensor, state: State, name: str) -> Tensor:
    """F' = Mc(F) * F, F'' = Ms(F') * F' for one feature map (B, C, H, W)."""

    def mlp(pooled: Tensor) -> Tensor:
        hidden = torch.relu(pooled @ state[f"{name}.channel.mlp.0.weight"].T + state[f"{name}.channel.mlp.0.bias"])
        return hidden @ state[f"{name}.channel.mlp.2.weight"].T + state[f"{name}.channel.mlp.2.bias"]

    average = x.flatten(2).mean(dim=2)
    maximum = x.flatten(2).max(dim=2).values
    x = x * torch.sigmoid(mlp(average) + mlp(maximum))[:, :, None, None]
    stacked = torch.stack([x.max(dim=1).values, x.mean(dim=1)], dim=1)
    attention = F.conv2d(stacked, state[f"{name}.spatial.conv.weight"], padding=3)
    return x * torch.sigmoid(batch_norm(attention, state, f"{name}.spatial.norm"))


def residual_block(x: Tensor, state: State, name: str, *, stride: int) -> Tensor:
    """Two 3x3 convolutions, or 1x1, 3x3, 1x1; CBAM after the last BatchNorm, before the addition."""
    bottleneck = f"{name}.conv3.weight" in state
    first_stride = 1 if bottleneck else stride  # torchvision strides in the 3x3 convolution
    out = F.conv2d(x, state[f"{name}.conv1.weight"], stride=first_stride, padding=0 if bottleneck else 1)
    out = torch.relu(batch_norm(out, state, f"{name}.bn1"))
    out = F.conv2d(out, state[f"{name}.conv2.weight"], stride=stride if bottleneck else 1, padding=1)
    out = batch_norm(out, state, f"{name}.bn2")
    if bottleneck:
        out = F.conv2d(torch.relu(out), state[f"{name}.conv3.weight"])
        out = batch_norm(out, state, f"{name}.bn3")
    if f"{name}.cbam.spatial.conv.weight" in state:
        out = cbam(out, state, f"{name}.cbam")
    if f"{name}.downsample.0.weight" in state:
        x = F.conv2d(x, state[f"{name}.downsample.0.weight"], stride=stride)
        x = batch_norm(x, state, f"{name}.downsample.1")
    return torch.relu(x + out)


def resnet(x: Tensor, state: State, *, blocks: tuple[int, int, int, int]) -> Tensor:
    """Frames (N, 3, S, S) -> features (N, D), with ImageNet's stem."""
    x = F.conv2d(x, state["backbone.conv1.weight"], stride=2, padding=3)
    x = F.max_pool2d(torch.relu(batch_norm(x, state, "backbone.bn1")), 3, stride=2, padding=1)
    for layer, count in enumerate(blocks, start=1):
        for block in range(count):
            stride = 2 if layer > 1 and block == 0 else 1
            x = residual_block(x, state, f"backbone.layer{layer}.{block}", stride=stride)
    return x.flatten(2).mean(dim=2)


def lstm(sequence: Tensor, state: State, suffix: str) -> Tensor:
    """(T, D) -> hidden states (T, H) of one direction, in the order of reading."""
    w_x, w_h = state[f"blstm.weight_ih_l0{suffix}"], state[f"blstm.weight_hh_l0{suffix}"]
    bias = state[f"blstm.bias_ih_l0{suffix}"] + state[f"blstm.bias_hh_l0{suffix}"]
    h = c = torch.zeros(w_h.shape[1], dtype=sequence.dtype)
    states = []
    for x in sequence:
        i, f, g, o = (w_x @ x + w_h @ h + bias).chunk(4)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        states.append(h)
    return torch.stack(states)


def emotion_net(clip: Tensor, state: State, *, blocks: tuple[int, int, int, int]) -> Tensor:
    """One clip (T, 3, S, S) -> logits (T, 7)."""
    features = resnet(clip, state, blocks=blocks)
    both = torch.cat([lstm(features, state, ""), lstm(features.flip(0), state, "_reverse").flip(0)], dim=1)
    hidden = torch.relu(both @ state["classifier.1.weight"].T + state["classifier.1.bias"])
    logits = hidden @ state["classifier.4.weight"].T + state["classifier.4.bias"]
    if "frame_classifier.1.weight" in state:
        logits = logits + features @ state["frame_classifier.1.weight"].T + state["frame_classifier.1.bias"]
    return logits

"""The nets of the development half, small and with layers that have names worth reporting."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Act = Callable[[], nn.Module]


def mlp(widths: Sequence[int], act: Act = nn.ReLU, *, norm: bool = False) -> nn.Sequential:
    """fc1, act1, fc2, act2, ..., head; `widths` from the input to the classes."""
    layers: list[tuple[str, nn.Module]] = []
    for i, (n_in, n_out) in enumerate(pairwise(widths[:-1]), 1):
        layers.append((f"fc{i}", nn.Linear(n_in, n_out)))
        if norm:
            layers.append((f"norm{i}", nn.BatchNorm1d(n_out)))
        layers.append((f"act{i}", act()))
    layers.append(("head", nn.Linear(widths[-2], widths[-1])))
    return nn.Sequential(OrderedDict(layers))


class PlainCNN(nn.Module):
    """Three convolutions without normalization, an average, a head."""

    def __init__(self, channels: int, classes: int, width: int = 16, act: Act = nn.ReLU) -> None:
        super().__init__()
        self.conv1, self.act1 = nn.Conv2d(channels, width, 3, padding=1), act()
        self.conv2, self.act2 = nn.Conv2d(width, 2 * width, 3, 2, padding=1), act()
        self.conv3, self.act3 = nn.Conv2d(2 * width, 2 * width, 3, 2, padding=1), act()
        self.head = nn.Linear(2 * width, classes)

    def features(self, x: Tensor) -> Tensor:
        x = self.act1(self.conv1(x))
        x = self.act2(self.conv2(x))
        return self.act3(self.conv3(x)).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def vgg(
    channels: int, classes: int, *, norm: bool = True, dropout: float = 0.3, cells: int = 4
) -> nn.Sequential:
    """Pairs of convolutions and a max pooling, then a classifier with dropout."""
    body: list[nn.Module] = []
    for n_in, n_out in ((channels, 16), (16, 16), (0, 0), (16, 32), (32, 32), (0, 0)):
        if not n_in:
            body.append(nn.MaxPool2d(2))
            continue
        body.append(nn.Conv2d(n_in, n_out, 3, padding=1, bias=not norm))
        body += [nn.BatchNorm2d(n_out)] if norm else []
        body.append(nn.ReLU())
    head = OrderedDict(
        pool=nn.AdaptiveAvgPool2d(cells // 2),
        flatten=nn.Flatten(),
        fc=nn.Linear(32 * (cells // 2) ** 2, 64),
        act=nn.ReLU(),
        drop=nn.Dropout(dropout),
        out=nn.Linear(64, classes),
    )
    return nn.Sequential(OrderedDict(features=nn.Sequential(*body), classifier=nn.Sequential(head)))


class Block(nn.Module):
    """The basic residual block."""

    def __init__(self, n_in: int, n_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        same = n_in == n_out and stride == 1
        self.short = nn.Identity() if same else nn.Conv2d(n_in, n_out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.short(x) + self.bn2(self.conv2(y)))


class ResNet(nn.Module):
    """A stem, three residual blocks, an average and a head."""

    def __init__(self, channels: int, classes: int, *, zero_gamma: bool = False) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 16, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.blocks = nn.Sequential(Block(16, 16), Block(16, 32, 2), Block(32, 32, 2))
        self.head = nn.Linear(32, classes)
        if zero_gamma:
            for block in self.blocks:
                nn.init.zeros_(block.bn2.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(F.relu(self.norm(self.stem(x))))
        return self.head(x.mean((2, 3)))


class SqueezeExcite(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(width, width // 4, 1), nn.Conv2d(width // 4, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * F.hardsigmoid(self.up(F.relu(self.down(x.mean((2, 3), keepdim=True)))))


class Inverted(nn.Module):
    """Expand, filter every channel alone, squeeze-and-excite, project."""

    def __init__(self, n_in: int, n_out: int, stride: int, momentum: float) -> None:
        super().__init__()
        wide = 3 * n_in
        self.expand = nn.Conv2d(n_in, wide, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(wide, momentum=momentum)
        self.depthwise = nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False)
        self.bn2 = nn.BatchNorm2d(wide, momentum=momentum)
        self.gate = SqueezeExcite(wide)
        self.project = nn.Conv2d(wide, n_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(n_out, momentum=momentum)
        self.adds = n_in == n_out and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        y = F.hardswish(self.bn1(self.expand(x)))
        y = self.gate(F.hardswish(self.bn2(self.depthwise(y))))
        y = self.bn3(self.project(y))
        return x + y if self.adds else y


class MobileNet(nn.Module):
    def __init__(self, channels: int, classes: int, *, momentum: float = 0.1) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 16, 3, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(16, momentum=momentum)
        parts = [Inverted(16, 16, 1, momentum), Inverted(16, 24, 2, momentum)]
        parts += [Inverted(24, 24, 1, momentum), Inverted(24, 32, 2, momentum)]
        self.blocks = nn.Sequential(*parts)
        self.head = nn.Linear(32, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(F.hardswish(self.norm(self.stem(x))))
        return self.head(x.mean((2, 3)))


class Attention(nn.Module):
    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.qkv, self.out, self.heads = nn.Linear(width, 3 * width), nn.Linear(width, width), heads

    def forward(self, x: Tensor) -> Tensor:
        n, t, width = x.shape
        q, k, v = self.qkv(x).view(n, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.out(y.transpose(1, 2).reshape(n, t, width))


class Encoder(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """Patches, a class token, two encoder blocks."""

    def __init__(self, channels: int, classes: int, *, side: int = 8, patch: int = 2) -> None:
        super().__init__()
        width = 32
        self.patches = nn.Conv2d(channels, width, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.place = nn.Parameter(0.02 * torch.randn(1, (side // patch) ** 2 + 1, width))
        self.blocks = nn.Sequential(Encoder(width), Encoder(width))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.place
        return self.head(self.norm(self.blocks(x))[:, 0])


class MixerBlock(nn.Module):
    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix = nn.Sequential(nn.Linear(tokens, 32), nn.GELU(), nn.Linear(32, tokens))
        self.mlp = nn.Sequential(nn.Linear(width, 64), nn.GELU(), nn.Linear(64, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mix(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.mlp(self.norm2(x))


class Mixer(nn.Module):
    def __init__(self, channels: int, classes: int, *, side: int = 8, patch: int = 2) -> None:
        super().__init__()
        self.patches = nn.Conv2d(channels, 32, patch, patch)
        tokens = (side // patch) ** 2
        self.blocks = nn.Sequential(MixerBlock(tokens, 32), MixerBlock(tokens, 32))
        self.norm = nn.LayerNorm(32)
        self.head = nn.Linear(32, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.patches(x).flatten(2).transpose(1, 2))
        return self.head(self.norm(x).mean(1))


def lecun(net: nn.Module) -> nn.Module:
    """Weights of variance 1/fan_in and zero biases, as self-normalizing nets need."""
    for layer in net.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.normal_(layer.weight, std=layer.weight[0].numel() ** -0.5)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return net


def selu_net(n_in: int, classes: int, depth: int = 6, *, drop: float = 0.0) -> nn.Module:
    net = mlp([n_in, *[64] * depth, classes], nn.SELU)
    if drop:
        at = list(net._modules).index("head")
        layers = list(net._modules.items())
        layers.insert(at, ("drop", nn.AlphaDropout(drop)))
        net = nn.Sequential(OrderedDict(layers))
    return lecun(net)


class NormFreeBlock(nn.Module):
    """A residual branch that starts at zero through its scalar gain (SkipInit)."""

    def __init__(self, width: int, *, gain: float = 0.0) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.gain = nn.Parameter(torch.tensor(gain))
        for conv in (self.conv1, self.conv2):
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            nn.init.zeros_(conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gain * self.conv2(F.relu(self.conv1(F.relu(x))))


class NormFree(nn.Module):
    def __init__(self, channels: int, classes: int, depth: int = 4, *, gain: float = 0.0) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 16, 3, 2, 1)
        self.blocks = nn.Sequential(*(NormFreeBlock(16, gain=gain) for _ in range(depth)))
        self.head = nn.Linear(16, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.blocks(self.stem(x))).mean((2, 3)))

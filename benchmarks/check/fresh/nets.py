"""Nets of the fresh programs."""

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Act = Callable[[], nn.Module]


class TableNet(nn.Module):
    """Two hidden layers over a table's features, optionally normalized, and a decision layer."""

    def __init__(
        self, features: int, classes: int, width: int = 48, act: Act = nn.ReLU, norm: bool = False
    ) -> None:
        super().__init__()
        self.enter, self.bn1 = nn.Linear(features, width), nn.Identity()
        self.middle, self.bn2 = nn.Linear(width, width), nn.Identity()
        if norm:
            self.bn1, self.bn2 = nn.BatchNorm1d(width), nn.BatchNorm1d(width)  # type: ignore[assignment]
        self.act1, self.act2 = act(), act()
        self.decide = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act1(self.bn1(self.enter(x.flatten(1))))
        return self.decide(self.act2(self.bn2(self.middle(x))))


class TableResNet(nn.Module):
    """A residual MLP without normalization; every branch ends in a learned gain."""

    def __init__(self, features: int, classes: int, depth: int = 6, gain: float = 0.0) -> None:
        super().__init__()
        self.enter = nn.Linear(features, 40)
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 40)) for _ in range(depth)
        )
        for branch in self.branches:
            nn.init.kaiming_normal_(branch[0].weight, nonlinearity="relu")
            nn.init.kaiming_normal_(branch[2].weight, nonlinearity="linear")
        self.gains = nn.Parameter(torch.full((depth,), gain))
        self.decide = nn.Linear(40, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        for gain, branch in zip(self.gains, self.branches, strict=True):
            x = x + gain * branch(x)
        return self.decide(F.relu(x))


class LeNet(nn.Module):
    """Two convolutions with pooling, then three fully connected layers."""

    def __init__(self, channels: int, classes: int, side: int = 16, act: Act = nn.ReLU) -> None:
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(channels, 8, 5, padding=2), nn.Conv2d(8, 16, 3, padding=1)
        self.a1, self.a2, self.a3, self.a4 = act(), act(), act(), act()
        self.pool = nn.AvgPool2d(2)
        self.f1 = nn.Linear(16 * (side // 4) ** 2, 64)
        self.f2, self.f3 = nn.Linear(64, 40), nn.Linear(40, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.a1(self.c1(x)))
        x = self.pool(self.a2(self.c2(x)))
        return self.f3(self.a4(self.f2(self.a3(self.f1(x.flatten(1))))))


class Vgg8(nn.Module):
    """Eight convolutions without normalization in four stages, He-initialized."""

    def __init__(self, channels: int, classes: int, width: int = 16, act: Act = nn.ReLU) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(8):
            layers += [nn.Conv2d(channels if i == 0 else width, width, 3, padding=1), act()]
            layers += [nn.MaxPool2d(2)] if i in (1, 3) else []
        self.layers = nn.Sequential(*layers)
        self.out = nn.Linear(width, classes)
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.layers(x).mean((2, 3)))


class VggBn(nn.Module):
    """Four convolutions with batch norm, a hidden layer, dropout."""

    def __init__(self, channels: int, classes: int, drop: float = 0.2, **norm: float) -> None:
        super().__init__()
        widths = (channels, 16, 16, 24, 24)
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(nn.BatchNorm2d(b, **norm) for b in widths[1:])  # type: ignore[arg-type]
        self.fc, self.drop = nn.Linear(24 * 4, 48), nn.Dropout(drop)
        self.out = nn.Linear(48, classes)

    def features(self, x: Tensor) -> Tensor:
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = F.relu(norm(conv(x)))
            x = F.max_pool2d(x, 2) if i % 2 else x
        return F.adaptive_avg_pool2d(x, 2).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.drop(F.relu(self.fc(self.features(x)))))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 with batch norms, and a shortcut."""

    def __init__(self, n_in: int, n_out: int, stride: int = 1) -> None:
        super().__init__()
        thin = n_out // 2
        self.reduce, self.n1 = nn.Conv2d(n_in, thin, 1, bias=False), nn.BatchNorm2d(thin)
        self.spatial = nn.Conv2d(thin, thin, 3, stride, 1, bias=False)
        self.n2 = nn.BatchNorm2d(thin)
        self.restore, self.n3 = nn.Conv2d(thin, n_out, 1, bias=False), nn.BatchNorm2d(n_out)
        self.skip = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False))
        self.skip.append(nn.BatchNorm2d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.n1(self.reduce(x)))
        y = F.relu(self.n2(self.spatial(y)))
        return F.relu(self.skip(x) + self.n3(self.restore(y)))


class BottleneckNet(nn.Module):
    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(channels, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.stage1, self.stage2 = Bottleneck(16, 32, 2), Bottleneck(32, 48, 2)
        self.linear = nn.Linear(48, classes)

    def body(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn(self.conv(x)))
        return self.stage2(self.stage1(x)).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.body(x))


def separable(n_in: int, n_out: int, stride: int) -> nn.Sequential:
    """MobileNetV1's pair: each channel alone, then across channels; ReLU6."""
    parts: list[nn.Module] = [nn.Conv2d(n_in, n_in, 3, stride, 1, groups=n_in, bias=False)]
    parts += [nn.BatchNorm2d(n_in), nn.ReLU6(), nn.Conv2d(n_in, n_out, 1, bias=False)]
    return nn.Sequential(*parts, nn.BatchNorm2d(n_out), nn.ReLU6())


class MobileV1(nn.Module):
    def __init__(self, channels: int, classes: int, last: int = 40) -> None:
        super().__init__()
        self.entry = nn.Conv2d(channels, 16, 3, 1, 1, bias=False)
        self.entry_norm = nn.BatchNorm2d(16)
        self.pairs = nn.Sequential(separable(16, 24, 2), separable(24, 32, 1))
        self.pairs.append(separable(32, last, 2))
        self.classifier = nn.Linear(last, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pairs(F.relu6(self.entry_norm(self.entry(x))))
        return self.classifier(x.mean((2, 3)))


class SelfAttention(nn.Module):
    """Attention written out; `axis` is the one that softmax runs over."""

    def __init__(self, width: int, heads: int = 2, axis: int = -1) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.merge = nn.Linear(width, width), nn.Linear(width, width)
        self.heads, self.axis = heads, axis

    def forward(self, x: Tensor) -> Tensor:
        n, t, width = x.shape
        parts = (layer(x).view(n, t, self.heads, -1) for layer in (self.query, self.key))
        q, k = (part.transpose(1, 2) for part in parts)
        v = self.value(x).view(n, t, self.heads, -1).transpose(1, 2)
        weight = (q @ k.mT * (width // self.heads) ** -0.5).softmax(self.axis)
        return self.merge((weight @ v).transpose(1, 2).reshape(n, t, width))


class Layer(nn.Module):
    def __init__(self, width: int, drop: float, axis: int) -> None:
        super().__init__()
        self.ln1, self.attend = nn.LayerNorm(width), SelfAttention(width, axis=axis)
        self.ln2 = nn.LayerNorm(width)
        self.wide, self.thin = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop(self.attend(self.ln1(x)))
        return x + self.drop(self.thin(F.gelu(self.wide(self.ln2(x)))))


class SmallViT(nn.Module):
    """Patches, learned places, two layers, the mean over tokens."""

    def __init__(
        self, channels: int, classes: int, tokens: int = 16, patch: int = 4, drop: float = 0.0,
        axis: int = -1,
    ) -> None:  # fmt: skip
        super().__init__()
        self.embed = nn.Conv2d(channels, 32, patch, patch)
        self.where = nn.Parameter(0.1 * torch.randn(1, tokens, 32))
        self.layers = nn.ModuleList(Layer(32, drop, axis) for _ in range(2))
        self.ln, self.to_classes = nn.LayerNorm(32), nn.Linear(32, classes)

    def encode(self, x: Tensor) -> Tensor:
        x = self.embed(x).flatten(2).transpose(1, 2) + self.where
        for layer in self.layers:
            x = layer(x)
        return self.ln(x).mean(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.to_classes(self.encode(x))


class Mix(nn.Module):
    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.pre1, self.pre2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.tokens1, self.tokens2 = nn.Linear(tokens, 24), nn.Linear(24, tokens)
        self.chan1, self.chan2 = nn.Linear(width, 56), nn.Linear(56, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.tokens2(F.gelu(self.tokens1(self.pre1(x).mT))).mT
        return x + self.chan2(F.gelu(self.chan1(self.pre2(x))))


class SmallMixer(nn.Module):
    def __init__(self, channels: int, classes: int, tokens: int = 16, patch: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 28, patch, patch)
        self.mix = nn.ModuleList(Mix(tokens, 28) for _ in range(2))
        self.ln, self.predict = nn.LayerNorm(28), nn.Linear(28, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).flatten(2).mT
        for layer in self.mix:
            x = layer(x)
        return self.predict(self.ln(x).mean(1))


class SeluConv(nn.Module):
    """A self-normalizing convolutional net, initialized as LeCun says."""

    def __init__(self, channels: int, classes: int, depth: int = 5) -> None:
        super().__init__()
        self.stack = nn.ModuleList(
            nn.Conv2d(16 if i else channels, 16, 3, 2 if i in (1, 3) else 1, 1)
            for i in range(depth)
        )
        self.final = nn.Linear(16, classes)
        for layer in (*self.stack, self.final):
            nn.init.normal_(layer.weight, std=layer.weight[0].numel() ** -0.5)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.stack:
            x = F.selu(conv(x))
        return self.final(x.mean((2, 3)))

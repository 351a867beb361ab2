"""Nets of the final programs."""

from collections import OrderedDict
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Act = Callable[[], nn.Module]


def stack(
    channels: int, classes: int, *, width: int = 12, act: Act = nn.ReLU, norm: bool = False
) -> nn.Sequential:
    """c1 n1 a1 c2 n2 a2 c3 n3 a3, the largest response of each channel, linear."""
    parts: list[tuple[str, nn.Module]] = []
    sizes = [channels, width, 2 * width, 2 * width]
    for i in (1, 2, 3):
        stride = 2 if i > 1 else 1
        parts.append((f"c{i}", nn.Conv2d(sizes[i - 1], sizes[i], 3, stride, 1, bias=not norm)))
        if norm:
            parts.append((f"n{i}", nn.BatchNorm2d(sizes[i])))
        parts.append((f"a{i}", act()))
    parts += [("pool", nn.AdaptiveMaxPool2d(1)), ("flat", nn.Flatten())]
    return nn.Sequential(OrderedDict(parts, linear=nn.Linear(2 * width, classes)))


def tower(
    channels: int, classes: int, side: int = 12, *, drop: float = 0.0, norm: bool = True
) -> nn.Sequential:
    """A small VGG: two stages of two convolutions, two linear layers."""
    body: list[nn.Module] = []
    for n_in, n_out in ((channels, 12), (12, 24)):
        for a in (n_in, n_out):
            body += [nn.Conv2d(a, n_out, 3, padding=1), nn.ReLU(inplace=True)]
            if norm:
                body.insert(-1, nn.BatchNorm2d(n_out))
        body.append(nn.MaxPool2d(2))
    flat = 24 * (side // 4) ** 2
    ends: list[nn.Module] = [nn.Flatten(), nn.Linear(flat, 48), nn.ReLU(inplace=True)]
    ends += [nn.Dropout(drop), nn.Linear(48, classes)]
    return nn.Sequential(OrderedDict(stages=nn.Sequential(*body), ends=nn.Sequential(*ends)))


class Unit(nn.Module):
    """A residual unit with a choice of normalization and an optional gate."""

    def __init__(
        self, n_in: int, n_out: int, stride: int, norm: Callable[[int], nn.Module], *, gate: bool
    ) -> None:
        super().__init__()
        self.a, self.na = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), norm(n_out)
        self.b, self.nb = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False), norm(n_out)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(n_out, 4, 1), nn.ReLU(), nn.Conv2d(4, n_out, 1),
            nn.Sigmoid(),
        ) if gate else None  # fmt: skip
        self.skip: nn.Module = nn.Identity()
        if stride > 1 or n_in != n_out:
            self.skip = nn.Sequential(nn.AvgPool2d(stride), nn.Conv2d(n_in, n_out, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        y = self.nb(self.b(F.relu(self.na(self.a(x)))))
        if self.gate is not None:
            y = y * self.gate(y)
        return F.relu(y + self.skip(x))


class Residual(nn.Module):
    """A stem, three units, a mean, a linear layer."""

    def __init__(
        self,
        channels: int,
        classes: int,
        norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
        *,
        gate: bool = False,
        width: int = 12,
    ) -> None:
        super().__init__()
        self.entry, self.entry_norm = nn.Conv2d(channels, width, 3, 1, 1, bias=False), norm(width)
        self.unit1 = Unit(width, width, 1, norm, gate=gate)
        self.unit2 = Unit(width, 2 * width, 2, norm, gate=gate)
        self.unit3 = Unit(2 * width, 2 * width, 2, norm, gate=gate)
        self.answer = nn.Linear(2 * width, classes)

    def features(self, x: Tensor) -> Tensor:
        x = F.relu(self.entry_norm(self.entry(x)))
        return self.unit3(self.unit2(self.unit1(x))).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.answer(self.features(x))


class Light(nn.Module):
    """Depthwise-separable layers with expansion, as in MobileNetV2."""

    def __init__(self, channels: int, classes: int, momentum: float = 0.1) -> None:
        super().__init__()
        norm = lambda n: nn.BatchNorm2d(n, momentum=momentum)  # noqa: E731
        self.start = nn.Sequential(nn.Conv2d(channels, 12, 3, 1, 1), norm(12), nn.ReLU6())
        self.mid = nn.ModuleList()
        for n_in, n_out, stride in ((12, 16, 2), (16, 16, 1), (16, 24, 2)):
            wide = 2 * n_in
            self.mid.append(
                nn.Sequential(
                    nn.Conv2d(n_in, wide, 1, bias=False),
                    norm(wide),
                    nn.ReLU6(),
                    nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False),
                    norm(wide),
                    nn.ReLU6(),
                    nn.Conv2d(wide, n_out, 1, bias=False),
                    norm(n_out),
                )
            )
        self.finish = nn.Linear(24, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.start(x)
        for layer in self.mid:
            y = layer(x)
            x = x + y if x.shape == y.shape else y
        return self.finish(x.mean((2, 3)))


class Patched(nn.Module):
    """Patches, two transformer layers with nn.MultiheadAttention, mean over tokens."""

    def __init__(self, channels: int, classes: int, side: int, patch: int, drop: float = 0.0):
        super().__init__()
        self.cut = nn.Conv2d(channels, 32, patch, patch)
        self.where = nn.Parameter(0.1 * torch.randn(1, (side // patch) ** 2, 32))
        layer = lambda: nn.TransformerEncoderLayer(  # noqa: E731
            32, 4, 64, drop, "gelu", batch_first=True, norm_first=True
        )
        self.one, self.two = layer(), layer()
        self.norm, self.say = nn.LayerNorm(32), nn.Linear(32, classes)

    def tokens(self, x: Tensor) -> Tensor:
        return self.cut(x).flatten(2).mT + self.where

    def forward(self, x: Tensor) -> Tensor:
        return self.say(self.norm(self.two(self.one(self.tokens(x)))).mean(1))


class MixBlock(nn.Module):
    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.across1, self.across2 = nn.Linear(tokens, 24), nn.Linear(24, tokens)
        self.within1, self.within2 = nn.Linear(width, 48), nn.Linear(48, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.across2(F.gelu(self.across1(self.ln1(x).mT))).mT
        return x + self.within2(F.gelu(self.within1(self.ln2(x))))


class Mixed(nn.Module):
    def __init__(self, channels: int, classes: int, side: int, patch: int, depth: int = 2) -> None:
        super().__init__()
        self.cut = nn.Conv2d(channels, 24, patch, patch)
        tokens = (side // patch) ** 2
        self.blocks = nn.Sequential(*(MixBlock(tokens, 24) for _ in range(depth)))
        self.norm, self.say = nn.LayerNorm(24), nn.Linear(24, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.say(self.norm(self.blocks(self.cut(x).flatten(2).mT)).mean(1))


class Growing(nn.Module):
    """DenseNet: each layer sees all before it."""

    def __init__(self, channels: int, classes: int, growth: int = 8, act: Act = nn.ReLU) -> None:
        super().__init__()
        self.root = nn.Conv2d(channels, 12, 3, 2, 1)
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(12 + i * growth), act(),
                nn.Conv2d(12 + i * growth, growth, 3, padding=1, bias=False),
            )
            for i in range(4)
        )  # fmt: skip
        self.last, self.top = nn.BatchNorm2d(12 + 4 * growth), nn.Linear(12 + 4 * growth, classes)
        self.act = act()

    def forward(self, x: Tensor) -> Tensor:
        x = self.root(x)
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return self.top(self.act(self.last(x)).mean((2, 3)))


class Branching(nn.Module):
    """Inception: 1x1, 3x3, two 3x3 and a pooled branch side by side."""

    def __init__(self, n_in: int, each: int) -> None:
        super().__init__()
        self.b1 = nn.Conv2d(n_in, each, 1)
        self.b3 = nn.Conv2d(n_in, each, 3, padding=1)
        self.b5 = nn.Sequential(
            nn.Conv2d(n_in, each, 1), nn.ReLU(), nn.Conv2d(each, each, 5, padding=2)
        )
        self.bp = nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Conv2d(n_in, each, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(torch.cat([self.b1(x), self.b3(x), self.b5(x), self.bp(x)], 1))


class Inception(nn.Module):
    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.first, self.second = Branching(channels, 6), Branching(24, 8)
        self.read = nn.Linear(32, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(F.max_pool2d(self.first(x), 2))
        return self.read(x.amax((2, 3)))


class Hourglass(nn.Module):
    """A U-Net's encoder; features of all three depths are averaged and joined."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        two = lambda a, b: nn.Sequential(  # noqa: E731
            nn.Conv2d(a, b, 3, padding=1), nn.GroupNorm(4, b), nn.SiLU(),
            nn.Conv2d(b, b, 3, padding=1), nn.GroupNorm(4, b), nn.SiLU(),
        )  # fmt: skip
        self.top, self.middle, self.bottom = two(channels, 8), two(8, 16), two(16, 24)
        self.read = nn.Linear(48, classes)

    def forward(self, x: Tensor) -> Tensor:
        a = self.top(x)
        b = self.middle(F.max_pool2d(a, 2))
        c = self.bottom(F.max_pool2d(b, 2))
        return self.read(torch.cat([a.mean((2, 3)), b.mean((2, 3)), c.mean((2, 3))], 1))


def dense(n_in: int, classes: int, width: int = 48, depth: int = 2, act: Act = nn.ReLU):
    """in, act0, mid1, act1, ..., out: a plain multilayer perceptron that flattens its input."""
    parts: list[tuple[str, nn.Module]] = [("flat", nn.Flatten()), ("in", nn.Linear(n_in, width))]
    parts.append(("act0", act()))
    for i in range(1, depth):
        parts += [(f"mid{i}", nn.Linear(width, width)), (f"act{i}", act())]
    return nn.Sequential(OrderedDict([*parts, ("out", nn.Linear(width, classes))]))


class Reader(nn.Module):
    """An LSTM or GRU over time, its last state, a linear layer."""

    def __init__(self, n_in: int, classes: int, kind: Callable[..., nn.Module] = nn.LSTM) -> None:
        super().__init__()
        self.core, self.out = kind(n_in, 24, batch_first=True), nn.Linear(24, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.core(x)[0][:, -1])


class Events(nn.Module):
    """Embedded events, a layer for each, their mean, a linear layer."""

    def __init__(self, kinds: int = 30, classes: int = 5, width: int = 24, act: Act = nn.ReLU):
        super().__init__()
        self.table, self.each = nn.Embedding(kinds, width), nn.Linear(width, width)
        self.act, self.out = act(), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.act(self.each(self.table(x))).mean(1))


class Columns(nn.Module):
    """A residual net for tables."""

    def __init__(self, n_in: int, classes: int, width: int = 48, depth: int = 2) -> None:
        super().__init__()
        self.lift = nn.Linear(n_in, width)
        self.steps = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm1d(width), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)
            )
            for _ in range(depth)
        )
        self.norm, self.out = nn.BatchNorm1d(width), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.lift(x)
        for step in self.steps:
            x = x + step(x)
        return self.out(F.relu(self.norm(x)))

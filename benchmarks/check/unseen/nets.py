"""Nets of the unseen programs."""

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Act = Callable[[], nn.Module]
Norm = Callable[[int], nn.Module]


def perceptron(
    n_in: int,
    classes: int,
    width: int = 96,
    depth: int = 2,
    *,
    act: Act = nn.ReLU,
    norm: Norm | None = None,
    drop: float = 0.0,
) -> nn.Sequential:
    """Flatten, `depth` hidden layers, a linear layer."""
    layers: list[nn.Module] = [nn.Flatten()]
    for i in range(depth):
        layers.append(nn.Linear(width if i else n_in, width))
        layers += [norm(width)] if norm else []
        layers.append(act())
        layers += [nn.Dropout(drop)] if drop else []
    return nn.Sequential(*layers, nn.Linear(width, classes))


class LeNet(nn.Module):
    """Two convolutions of five pixels, each followed by a pooling; three linear layers."""

    def __init__(
        self, channels: int, classes: int, side: int, act: Act = nn.ReLU, pool: Act | None = None
    ) -> None:
        super().__init__()
        pooled = pool or (lambda: nn.MaxPool2d(2))
        self.conv1, self.act1, self.pool1 = nn.Conv2d(channels, 8, 5, padding=2), act(), pooled()
        self.conv2, self.act2, self.pool2 = nn.Conv2d(8, 16, 5, padding=2), act(), pooled()
        self.fc1, self.act3 = nn.Linear(16 * (side // 4) ** 2, 64), act()
        self.fc2, self.act4 = nn.Linear(64, 32), act()
        self.fc3 = nn.Linear(32, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool1(self.act1(self.conv1(x)))
        x = self.pool2(self.act2(self.conv2(x))).flatten(1)
        return self.fc3(self.act4(self.fc2(self.act3(self.fc1(x)))))


class Vgg(nn.Module):
    """Three stages of two convolutions; the classifier has dropout."""

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        norm: Norm | None = nn.BatchNorm2d,
        width: int = 12,
        drop: float = 0.2,
        act: Act = nn.ReLU,
    ) -> None:
        super().__init__()
        sizes = [channels, width, 2 * width, 3 * width]
        stages = []
        for n_in, n_out in pairwise(sizes):
            layers: list[nn.Module] = []
            for a in (n_in, n_out):
                layers.append(nn.Conv2d(a, n_out, 3, padding=1, bias=norm is None))
                layers += [norm(n_out)] if norm else []
                layers.append(act())
            stages.append(nn.Sequential(*layers, nn.MaxPool2d(2)))
        self.stages = nn.Sequential(*stages)
        self.squash = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(3 * width, 48), nn.ReLU(), nn.Dropout(drop), nn.Linear(48, classes)
        )

    def features(self, x: Tensor) -> Tensor:
        return self.squash(self.stages(x)).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x))


class Basic(nn.Module):
    """Two convolutions and a shortcut, normalized after or before the convolutions."""

    def __init__(
        self, n_in: int, n_out: int, stride: int, norm: Norm, act: Act, *, before: bool
    ) -> None:
        super().__init__()
        self.norm1, self.norm2 = norm(n_in if before else n_out), norm(n_out)
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.act1, self.act2, self.before = act(), act(), before
        same = stride == 1 and n_in == n_out
        self.shortcut = nn.Identity() if same else nn.Conv2d(n_in, n_out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.before:
            y = self.act1(self.norm1(x))
            y = self.conv2(self.act2(self.norm2(self.conv1(y))))
            return self.shortcut(x) + y
        y = self.norm2(self.conv2(self.act1(self.norm1(self.conv1(x)))))
        return self.act2(self.shortcut(x) + y)


class Res(nn.Module):
    """A stem, three residual blocks, the mean over places, a linear layer."""

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        norm: Norm = nn.BatchNorm2d,
        act: Act = nn.ReLU,
        width: int = 12,
        before: bool = False,
        zero: bool = False,
        depth: int = 1,
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        self.first = nn.Identity() if before else nn.Sequential(norm(width), act())
        blocks, n_in = [], width
        for i, n_out in enumerate((width, 2 * width, 3 * width)):
            for j in range(depth):
                stride = 2 if i and not j else 1
                blocks.append(Basic(n_in, n_out, stride, norm, act, before=before))
                n_in = n_out
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Sequential(norm(n_in), act()) if before else nn.Identity()
        self.head = nn.Linear(n_in, classes)
        if zero:
            for block in blocks:
                nn.init.zeros_(block.norm2.weight)  # type: ignore[arg-type]

    def features(self, x: Tensor) -> Tensor:
        return self.last(self.blocks(self.first(self.stem(x)))).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class Dense(nn.Module):
    """Two dense stages with a compressing transition between."""

    def __init__(self, channels: int, classes: int, growth: int = 8) -> None:
        super().__init__()
        self.root = nn.Conv2d(channels, 16, 3, 1, 1, bias=False)
        self.one, self.two = (
            nn.ModuleList(self._layer(16 + i * growth, growth) for i in range(3)) for _ in "ab"
        )
        wide = 16 + 3 * growth
        self.shrink = nn.Sequential(
            nn.BatchNorm2d(wide), nn.ReLU(), nn.Conv2d(wide, 16, 1, bias=False), nn.AvgPool2d(2)
        )
        self.end = nn.Sequential(nn.BatchNorm2d(wide), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.answer = nn.Linear(wide, classes)

    @staticmethod
    def _layer(n_in: int, growth: int) -> nn.Module:
        return nn.Sequential(
            nn.BatchNorm2d(n_in), nn.ReLU(), nn.Conv2d(n_in, growth, 3, 1, 1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.root(x), 2)
        for layer in self.one:
            x = torch.cat([x, layer(x)], 1)
        x = self.shrink(x)
        for layer in self.two:
            x = torch.cat([x, layer(x)], 1)
        return self.answer(self.end(x).flatten(1))


class Mix(nn.Module):
    """An inception module: one, three and five pixels wide, and a pooling."""

    def __init__(self, n_in: int, each: int) -> None:
        super().__init__()
        unit = lambda a, b, k: nn.Sequential(  # noqa: E731
            nn.Conv2d(a, b, k, padding=k // 2, bias=False), nn.BatchNorm2d(b), nn.ReLU()
        )
        self.a, self.b = unit(n_in, each, 1), nn.Sequential(unit(n_in, 6, 1), unit(6, each, 3))
        self.c = nn.Sequential(unit(n_in, 4, 1), unit(4, each, 5))
        self.d = nn.Sequential(nn.MaxPool2d(3, 1, 1), unit(n_in, each, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.a(x), self.b(x), self.c(x), self.d(x)], 1)


class Google(nn.Module):
    """Three inception modules; while training, a second classifier in the middle answers too."""

    def __init__(self, channels: int, classes: int, *, second: bool = False) -> None:
        super().__init__()
        self.entry = nn.Sequential(
            nn.Conv2d(channels, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12), nn.ReLU()
        )
        self.mix1, self.mix2, self.mix3 = Mix(12, 6), Mix(24, 8), Mix(32, 8)
        self.side = nn.Linear(32, classes) if second else None
        self.out = nn.Linear(32, classes)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        x = self.mix2(F.max_pool2d(self.mix1(self.entry(x)), 2))
        y = self.out(self.mix3(F.max_pool2d(x, 2)).mean((2, 3)))
        if self.side is not None and self.training:
            return y, self.side(x.mean((2, 3)))
        return y


class Separable(nn.Module):
    """MobileNet v1: depthwise and pointwise convolutions in turn."""

    def __init__(
        self, channels: int, classes: int, *, width: int = 16, momentum: float = 0.1
    ) -> None:
        super().__init__()
        norm = lambda n: nn.BatchNorm2d(n, momentum=momentum)  # noqa: E731
        self.front = nn.Sequential(
            nn.Conv2d(channels, width, 3, 1, 1, bias=False), norm(width), nn.ReLU6()
        )
        layers, n_in = [], width
        for n_out, stride in ((width, 1), (2 * width, 2), (2 * width, 1), (3 * width, 2)):
            layers.append(
                nn.Sequential(
                    nn.Conv2d(n_in, n_in, 3, stride, 1, groups=n_in, bias=False),
                    norm(n_in), nn.ReLU6(),
                    nn.Conv2d(n_in, n_out, 1, bias=False), norm(n_out), nn.ReLU6(),
                )
            )  # fmt: skip
            n_in = n_out
        self.layers, self.top = nn.Sequential(*layers), nn.Linear(n_in, classes)

    def features(self, x: Tensor) -> Tensor:
        return self.layers(self.front(x)).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.top(self.features(x))


class ShuffleUnit(nn.Module):
    """Half of the channels pass, the other half is filtered; then the halves are interleaved."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.branch = nn.Sequential(
            nn.Conv2d(half, half, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU(),
            nn.Conv2d(half, half, 3, 1, 1, groups=half, bias=False), nn.BatchNorm2d(half),
            nn.Conv2d(half, half, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        keep, work = x.chunk(2, 1)
        both = torch.stack([keep, self.branch(work)], 2)
        return both.flatten(1, 2)


class Shuffle(nn.Module):
    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        entry = lambda a, b: nn.Sequential(  # noqa: E731
            nn.Conv2d(a, b, 3, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU()
        )
        self.net = nn.Sequential(
            entry(channels, 24), ShuffleUnit(24), ShuffleUnit(24), entry(24, 40), ShuffleUnit(40),
            ShuffleUnit(40), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(40, classes),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Attend(nn.Module):
    """Multi-head attention written by hand; optionally normalizes queries and keys."""

    def __init__(self, width: int, heads: int = 4, *, unit: bool = False) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in "qkv")
        self.out, self.heads = nn.Linear(width, width), heads
        self.unit = nn.ModuleList(nn.RMSNorm(width // heads) for _ in "qk") if unit else None

    def forward(self, x: Tensor, mask: Tensor | None = None, *, causal: bool = False) -> Tensor:
        q, k, v = (
            layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        if self.unit is not None:
            q, k = self.unit[0](q), self.unit[1](k)
        y = F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal)
        return self.out(y.transpose(1, 2).flatten(2))


class Gated(nn.Module):
    """SwiGLU."""

    def __init__(self, width: int, wide: int) -> None:
        super().__init__()
        self.gate, self.up = nn.Linear(width, wide), nn.Linear(width, wide)
        self.down = nn.Linear(wide, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Layer(nn.Module):
    """A transformer layer, normalized before each part."""

    def __init__(
        self, width: int, *, norm: Norm = nn.LayerNorm, gated: bool = False, drop: float = 0.0
    ) -> None:
        super().__init__()
        self.norm1, self.norm2, self.drop = norm(width), norm(width), nn.Dropout(drop)
        self.attend = Attend(width, unit=gated)
        self.feed: nn.Module = Gated(width, 2 * width) if gated else nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )  # fmt: skip

    def forward(self, x: Tensor, mask: Tensor | None = None, *, causal: bool = False) -> Tensor:
        x = x + self.drop(self.attend(self.norm1(x), mask, causal=causal))
        return x + self.drop(self.feed(self.norm2(x)))


class Vit(nn.Module):
    """Patches, places, a class token and some registers, transformer layers, a linear layer."""

    def __init__(
        self,
        channels: int,
        classes: int,
        side: int,
        patch: int,
        *,
        width: int = 32,
        depth: int = 2,
        norm: Norm = nn.LayerNorm,
        gated: bool = False,
        drop: float = 0.0,
        registers: int = 0,
    ) -> None:
        super().__init__()
        self.patch = nn.Conv2d(channels, width, patch, patch)
        self.extra = nn.Parameter(0.02 * torch.randn(1, 1 + registers, width))
        self.place = nn.Parameter(0.02 * torch.randn(1, (side // patch) ** 2, width))
        self.layers = nn.Sequential(
            *(Layer(width, norm=norm, gated=gated, drop=drop) for _ in range(depth))
        )
        self.norm, self.head = norm(width), nn.Linear(width, classes)

    def features(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).mT + self.place
        x = torch.cat([self.extra.expand(len(x), -1, -1), x], 1)
        return self.norm(self.layers(x))[:, 0]

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class MixLayer(nn.Module):
    """A mixer layer whose two branches are left out at random while training, and rescaled."""

    def __init__(self, tokens: int, width: int, skip: float) -> None:
        super().__init__()
        self.norm1, self.norm2, self.skip = nn.LayerNorm(width), nn.LayerNorm(width), skip
        self.tokens = nn.Sequential(nn.Linear(tokens, 32), nn.GELU(), nn.Linear(32, tokens))
        self.channels = nn.Sequential(nn.Linear(width, 64), nn.GELU(), nn.Linear(64, width))

    def _maybe(self, y: Tensor) -> Tensor:
        if not self.training or not self.skip:
            return y
        stay = torch.rand(len(y), 1, 1) >= self.skip
        return y * stay / (1 - self.skip)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._maybe(self.tokens(self.norm1(x).mT).mT)
        return x + self._maybe(self.channels(self.norm2(x)))


class Mixing(nn.Module):
    def __init__(
        self, channels: int, classes: int, side: int, patch: int, *, depth: int = 2,
        skip: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.patch = nn.Conv2d(channels, 32, patch, patch)
        tokens = (side // patch) ** 2
        self.layers = nn.Sequential(*(MixLayer(tokens, 32, skip) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(32), nn.Linear(32, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.layers(self.patch(x).flatten(2).mT)).mean(1))


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of images."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class NextBlock(nn.Module):
    """A depthwise convolution of seven pixels, a norm, two pointwise layers, a layer scale."""

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.wide = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 3 * width), nn.Linear(3 * width, width)
        self.scale = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.wide(x).movedim(1, -1))
        return x + (self.scale * self.down(F.gelu(self.up(y)))).movedim(-1, 1)


class Next(nn.Module):
    def __init__(self, channels: int, classes: int, *, scale: float = 1e-3) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, 16, 2, 2), ChannelNorm(16))
        self.one = nn.Sequential(NextBlock(16, scale), NextBlock(16, scale))
        self.down = nn.Sequential(ChannelNorm(16), nn.Conv2d(16, 32, 2, 2))
        self.two = nn.Sequential(NextBlock(32, scale), NextBlock(32, scale))
        self.norm, self.head = nn.LayerNorm(32), nn.Linear(32, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.two(self.down(self.one(self.stem(x))))
        return self.head(self.norm(x.mean((2, 3))))


class Plain(nn.Module):
    """Three convolutions with a choice of norm, the mean and the largest over places, linear."""

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        norm: Norm | None = None,
        act: Act = nn.ReLU,
        width: int = 12,
    ) -> None:
        super().__init__()
        sizes = [channels, width, 2 * width, 3 * width]
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 3, 1 if i == 0 else 2, 1) for i, (a, b) in enumerate(pairwise(sizes))
        )
        self.norms = nn.ModuleList(norm(b) if norm else nn.Identity() for b in sizes[1:])
        self.acts = nn.ModuleList(act() for _ in sizes[1:])
        self.head = nn.Linear(6 * width, classes)

    def features(self, x: Tensor) -> Tensor:
        for conv, norm, act in zip(self.convs, self.norms, self.acts, strict=True):
            x = act(norm(conv(x)))
        return torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class Unet(nn.Module):
    """Two levels down and up again; one logit per pixel, (N, side, side)."""

    def __init__(self, channels: int, norm: Norm = nn.BatchNorm2d) -> None:
        super().__init__()
        unit = lambda a, b: nn.Sequential(  # noqa: E731
            nn.Conv2d(a, b, 3, padding=1, bias=False), norm(b), nn.ReLU()
        )
        self.down1, self.down2, self.floor = unit(channels, 12), unit(12, 24), unit(24, 24)
        self.up2, self.up1, self.pixel = unit(48, 16), unit(28, 12), nn.Conv2d(12, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.down1(x)
        b = self.down2(F.max_pool2d(a, 2))
        c = self.floor(F.max_pool2d(b, 2))
        y = self.up2(torch.cat([b, F.interpolate(c, scale_factor=2)], 1))
        y = self.up1(torch.cat([a, F.interpolate(y, scale_factor=2)], 1))
        return self.pixel(y)[:, 0]


class Signal(nn.Module):
    """Residual convolutions in time, (N, channels, time)."""

    def __init__(
        self, channels: int, classes: int, *, width: int = 16, norm: Norm = nn.BatchNorm1d
    ) -> None:
        super().__init__()
        self.enter = nn.Conv1d(channels, width, 5, padding=2)
        self.convs = nn.ModuleList(
            nn.Conv1d(width, width, 3, padding=2**i, dilation=2**i) for i in range(3)
        )
        self.norms = nn.ModuleList(norm(width) for _ in range(3))
        self.leave = nn.Linear(2 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = x + F.relu(norm(conv(x)))
        return self.leave(torch.cat([x.mean(2), x.amax(2)], 1))


class Recurrent(nn.Module):
    """A GRU or LSTM over (N, time, features); the mean of its states, a linear layer."""

    def __init__(
        self, features: int, classes: int, *, kind: type[nn.RNNBase] = nn.GRU, both: bool = False,
        width: int = 32,
    ) -> None:  # fmt: skip
        super().__init__()
        self.cell = kind(features, width, batch_first=True, bidirectional=both)  # type: ignore[call-arg]
        self.norm = nn.LayerNorm(width * (1 + both))
        self.leave = nn.Linear(width * (1 + both), classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.leave(self.norm(self.cell(x)[0].mean(1)))


class Words(nn.Module):
    """Embedded tokens with places, transformer layers that do not see the padding, a mean."""

    def __init__(self, words: int, classes: int, length: int, *, width: int = 32) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, width, padding_idx=0)
        half = torch.arange(width // 2) * 2 / width
        angle = torch.arange(length)[:, None] / 100**half
        self.register_buffer("place", torch.cat([angle.sin(), angle.cos()], 1))
        self.layers = nn.ModuleList(Layer(width, drop=0.1) for _ in range(2))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        real = x != 0
        h = self.embed(x) + self.place  # type: ignore[operator]
        for layer in self.layers:
            h = layer(h, real[:, None, None, :])
        h = self.norm(h) * real[:, :, None]
        return self.head(h.sum(1) / real.sum(1, keepdim=True))


class GraphNet(nn.Module):
    """Three rounds of messages along weighted bonds; nodes start from their degrees."""

    def __init__(self, classes: int, width: int = 32) -> None:
        super().__init__()
        self.degree = nn.Embedding(13, width)
        self.send = nn.ModuleList(nn.Linear(width, width) for _ in range(3))
        self.keep = nn.ModuleList(nn.Linear(width, width) for _ in range(3))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.head = nn.Linear(2 * width, classes)

    def nodes(self, x: Tensor) -> Tensor:
        degree = (x > 0).sum(2)
        h = self.degree(degree)
        for send, keep, norm in zip(self.send, self.keep, self.norms, strict=True):
            got = x @ send(h) / degree.clamp_min(1)[:, :, None]
            h = h + F.relu(norm(keep(h) + got))
        return h * (degree > 0)[:, :, None]

    def forward(self, x: Tensor) -> Tensor:
        h = self.nodes(x)
        return self.head(torch.cat([h.sum(1) / 10, h.amax(1)], 1))


class PointSet(nn.Module):
    """Each point alone, the mean and the largest over points, then two layers."""

    def __init__(self, classes: int, n_in: int = 3, width: int = 48) -> None:
        super().__init__()
        self.each = nn.Sequential(
            nn.Linear(n_in, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
        )
        self.all = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, classes))

    def forward(self, x: Tensor) -> Tensor:
        h = self.each(x)
        return self.all(torch.cat([h.mean(1), h.amax(1)], 1))

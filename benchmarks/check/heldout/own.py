"""Nets and data of the held-out half."""

import torch
import torch.nn.functional as F
from benchmarks.check.data import Data, _pink, digits, seeded
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


def street(seed: int = 0, train: int = 600) -> Data:
    """Colored digits 0 to 4, anywhere on a cloudy 16x16 background, in [0, 1]."""
    all_digits = digits(seed, train=1500)
    x = torch.cat([all_digits.x, all_digits.val_x])
    y = torch.cat([all_digits.y, all_digits.val_y])
    x, y = x[y < 5], y[y < 5]
    n, random = len(x), seeded(seed + 7)
    big = F.interpolate(x, size=(13, 13), mode="bilinear", align_corners=False)
    canvas = torch.zeros(n, 1, 16, 16)
    for i, (up, left) in enumerate(torch.randint(0, 4, (n, 2), generator=random).tolist()):
        canvas[i, :, up : up + 13, left : left + 13] = big[i]
    color = 0.5 + 0.5 * torch.rand(n, 3, 1, 1, generator=random)
    scene = (0.25 + 0.07 * _pink(n, 3, 16, random) + 0.6 * canvas * color).clamp(0, 1)
    a, b = train, train + 150
    return Data(scene[:a], y[:a], scene[a:b], y[a:b], scene[b:], y[b:])


def torch_loader(data: Data, size: int, seed: int, *, shuffle: bool = True) -> DataLoader[Tensor]:
    """The usual DataLoader over a TensorDataset."""
    rows = TensorDataset(data.x, data.y)
    random = torch.Generator().manual_seed(seed)
    return DataLoader(rows, size, shuffle=shuffle, generator=random, drop_last=True)


class Fire(nn.Module):
    """SqueezeNet's module."""

    def __init__(self, n_in: int, thin: int, wide: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(n_in, thin, 1)
        self.expand1 = nn.Conv2d(thin, wide, 1)
        self.expand3 = nn.Conv2d(thin, wide, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.expand1(x)), F.relu(self.expand3(x))], 1)


class SqueezeNet(nn.Module):
    """Fire modules and a convolutional classifier; no normalization."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.entry = nn.Conv2d(channels, 24, 3, 2, 1)
        self.fire1, self.fire2 = Fire(24, 12, 16), Fire(32, 16, 24)
        self.classifier = nn.Conv2d(48, classes, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        nn.init.normal_(self.classifier.weight, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fire1(F.relu(self.entry(x)))
        x = self.fire2(F.max_pool2d(x, 2))
        return self.classifier(x).mean((2, 3))


class Pre(nn.Module):
    """Pre-activation residual unit."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.n1, self.c1 = nn.BatchNorm2d(width), nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.n2, self.c2 = nn.BatchNorm2d(width), nn.Conv2d(width, width, 3, 1, 1, bias=False)

    def branch(self, x: Tensor) -> Tensor:
        return self.c2(F.relu(self.n2(self.c1(F.relu(self.n1(x))))))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


class PreActNet(nn.Module):
    def __init__(self, channels: int, classes: int, depth: int = 3, width: int = 20) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, 2, 1)
        self.units = nn.ModuleList([Pre(width) for _ in range(depth)])
        self.last = nn.BatchNorm2d(width)
        self.fc = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for unit in self.units:
            x = unit(x)
        return self.fc(F.relu(self.last(x)).mean((2, 3)))


class Dense(nn.Module):
    """A small DenseNet: every layer sees all earlier ones."""

    def __init__(self, channels: int, classes: int, growth: int = 10) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 16, 3, 2, 1)
        widths = [16 + i * growth for i in range(4)]
        self.norms = nn.ModuleList([nn.BatchNorm2d(w) for w in widths])
        self.convs = nn.ModuleList([nn.Conv2d(w, growth, 3, 1, 1) for w in widths])
        self.fc = nn.Linear(widths[-1] + growth, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for norm, conv in zip(self.norms, self.convs, strict=True):
            x = torch.cat([x, conv(F.relu(norm(x)))], 1)
        return self.fc(F.relu(x).mean((2, 3)))


class NextBlock(nn.Module):
    """ConvNeXt's block: depthwise 5x5, LayerNorm, inverted bottleneck, layer scale."""

    def __init__(self, width: int, scale: float = 0.1) -> None:
        super().__init__()
        self.dw = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.ln = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 3 * width), nn.Linear(3 * width, width)
        self.gamma = nn.Parameter(scale * torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.ln(self.dw(x).permute(0, 2, 3, 1))
        y = self.gamma * self.down(F.gelu(self.up(y)))
        return x + y.permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    def __init__(self, channels: int, classes: int, width: int = 32, scale: float = 0.1) -> None:
        super().__init__()
        self.patchify = nn.Conv2d(channels, width, 2, 2)
        self.stages = nn.Sequential(NextBlock(width, scale), NextBlock(width, scale))
        self.final, self.fc = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.final(self.stages(self.patchify(x)).mean((2, 3))))


class Transformer(nn.Module):
    """torch's own encoder layers over patches; the mean over tokens is classified."""

    def __init__(
        self, channels: int, classes: int, *, side: int = 8, patch: int = 2, drop: float = 0.0
    ) -> None:
        super().__init__()
        self.to_tokens = nn.Linear(channels * patch * patch, 40)
        self.position = nn.Parameter(0.1 * torch.randn((side // patch) ** 2, 40))
        layer = nn.TransformerEncoderLayer(
            40, 4, 80, drop, "gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.patch, self.fc = patch, nn.Linear(40, classes)

    def tokens(self, x: Tensor) -> Tensor:
        return self.to_tokens(F.unfold(x, self.patch, stride=self.patch).transpose(1, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.encoder(self.tokens(x) + self.position).mean(1))


class AffineMixer(nn.Module):
    """ResMLP: token and channel mixing with learned scales instead of normalization."""

    def __init__(self, classes: int, width: int = 36, act: type[nn.Module] = nn.GELU) -> None:
        super().__init__()
        self.embed = nn.Conv2d(1, width, 2, 2)
        self.across = nn.ModuleList([nn.Linear(16, 16) for _ in range(2)])
        self.within = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 72), act(), nn.Linear(72, width)) for _ in range(2)
        )
        self.scale = nn.Parameter(0.3 * torch.ones(4, width))
        self.classify = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).flatten(2).transpose(1, 2)
        for i, (across, within) in enumerate(zip(self.across, self.within, strict=True)):
            x = x + self.scale[2 * i] * across(x.transpose(1, 2)).transpose(1, 2)
            x = x + self.scale[2 * i + 1] * within(x)
        return self.classify(x.mean(1))


class Tower(nn.Module):
    """A plain stack of convolutions, VGG without normalization, optionally deep."""

    def __init__(
        self, channels: int, classes: int, depth: int = 6, act: type[nn.Module] = nn.ReLU
    ) -> None:
        super().__init__()
        steps = {1, depth // 2}
        self.convs = nn.ModuleList(
            nn.Conv2d(channels if i == 0 else 20, 20, 3, 2 if i in steps else 1, 1)
            for i in range(depth)
        )
        self.act, self.fc = act(), nn.Linear(20, classes)
        for conv in self.convs:
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            nn.init.zeros_(conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = self.act(conv(x))
        return self.fc(x.mean((2, 3)))


class Perceptron(nn.Module):
    """Three hidden layers written out, as in a first lesson."""

    def __init__(self, act: type[nn.Module] = nn.ReLU, width: int = 80, classes: int = 10) -> None:
        super().__init__()
        self.hidden1, self.hidden2 = nn.Linear(64, width), nn.Linear(width, width)
        self.hidden3, self.output = nn.Linear(width, width), nn.Linear(width, classes)
        self.act = act()

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.hidden1(x.flatten(1)))
        x = self.act(self.hidden2(x))
        return self.output(self.act(self.hidden3(x)))

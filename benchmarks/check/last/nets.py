"""Nets of the last programs: over time, words, tables, sets of points, and small images."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Act = Callable[[], nn.Module]


class WaveStack(nn.Module):
    """Four convolutions in time, a mean over time, a decision; no normalization."""

    def __init__(self, channels: int, classes: int, width: int = 24, act: Act = nn.ReLU) -> None:
        super().__init__()
        self.first, self.second = (
            nn.Conv1d(channels, width, 7, 2, 3),
            nn.Conv1d(width, width, 5, 1, 2),
        )
        self.third = nn.Conv1d(width, width, 5, 2, 2)
        self.fourth = nn.Conv1d(width, width, 3, 1, 1)
        self.acts = nn.ModuleList(act() for _ in range(4))
        self.verdict = nn.Linear(width, classes)

    def features(self, x: Tensor) -> Tensor:
        layers = (self.first, self.second, self.third, self.fourth)
        for layer, act in zip(layers, self.acts, strict=True):
            x = act(layer(x))
        return x.mean(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.verdict(self.features(x))


class GatedDilated(nn.Module):
    """WaveNet: tanh times sigmoid, growing dilation, residual and skip outputs."""

    def __init__(self, channels: int, classes: int, width: int = 16) -> None:
        super().__init__()
        self.lift = nn.Conv1d(channels, width, 1)
        self.gates = nn.ModuleList(
            nn.Conv1d(width, 2 * width, 3, padding=2**i, dilation=2**i) for i in range(4)
        )
        self.mixes = nn.ModuleList(nn.Conv1d(width, 2 * width, 1) for _ in range(4))
        self.verdict = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x, total = self.lift(x), torch.zeros(())
        for gate, mix in zip(self.gates, self.mixes, strict=True):
            a, b = gate(x).chunk(2, 1)
            residual, skip = mix(a.tanh() * b.sigmoid()).chunk(2, 1)
            x, total = x + residual, total + skip
        return self.verdict(F.relu(total).mean(2))


class RowReader(nn.Module):
    """A recurrent layer over steps; the last state decides."""

    def __init__(
        self, features: int, classes: int, cell: type[nn.Module] = nn.GRU, width: int = 32
    ) -> None:
        super().__init__()
        self.reader = cell(features, width, batch_first=True)  # type: ignore[call-arg]
        self.verdict = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.verdict(self.reader(x)[0][:, -1])


class WordConv(nn.Module):
    """Embeddings, convolutions of two widths, the largest response over time."""

    def __init__(self, words: int = 25, classes: int = 4, drop: float = 0.0) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, 16, padding_idx=0)
        self.two, self.three = nn.Conv1d(16, 32, 2), nn.Conv1d(16, 32, 3)
        self.drop, self.verdict = nn.Dropout(drop), nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x).mT
        found = [F.relu(conv(h)).amax(2) for conv in (self.two, self.three)]
        return self.verdict(self.drop(torch.cat(found, 1)))


class WordReader(nn.Module):
    """Embeddings and a GRU; the states are averaged over the words that are not padding."""

    def __init__(self, words: int = 25, classes: int = 4, width: int = 32) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, 16, padding_idx=0)
        self.reader = nn.GRU(16, width, batch_first=True)
        self.verdict = nn.Linear(width, classes)

    def weights(self, x: Tensor) -> Tensor:
        mask = (x > 0).float()[:, :, None]
        return mask / mask.sum(1, keepdim=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.verdict((self.reader(self.embed(x))[0] * self.weights(x)).sum(1))


class WordEncoder(nn.Module):
    """A class token, learned places, torch's encoder with a padding mask."""

    def __init__(self, words: int = 25, classes: int = 4, length: int = 12) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, 32)
        self.token = nn.Parameter(0.1 * torch.randn(1, 1, 32))
        self.place = nn.Parameter(0.1 * torch.randn(1, length, 32))
        layer = nn.TransformerEncoderLayer(32, 4, 64, 0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.verdict = nn.Linear(32, classes)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.cat([self.token.expand(len(x), -1, -1), self.embed(x) + self.place], 1)
        hidden = F.pad(x == 0, (1, 0), value=False)
        return self.verdict(self.encoder(h, src_key_padding_mask=hidden)[:, 0])


class CodesAndNumbers(nn.Module):
    """Embeddings of the last three columns beside the normalized numbers, then an MLP."""

    def __init__(self, classes: int = 3, width: int = 48, act: Act = nn.ReLU) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(k, 4) for k in (6, 4, 8))
        self.norm = nn.BatchNorm1d(4)
        self.one, self.two = nn.Linear(16, width), nn.Linear(width, width)
        self.act, self.verdict = act(), nn.Linear(width, classes)

    def features(self, x: Tensor) -> Tensor:
        codes = [table(x[:, 4 + i].long()) for i, table in enumerate(self.tables)]
        h = torch.cat([self.norm(x[:, :4]), *codes], 1)
        return self.act(self.two(self.act(self.one(h))))

    def forward(self, x: Tensor) -> Tensor:
        return self.verdict(self.features(x))


class Ledger(nn.Module):
    """A plain MLP for tables and counts."""

    def __init__(
        self, features: int, classes: int, width: int = 48, act: Act = nn.ReLU, depth: int = 2
    ) -> None:
        super().__init__()
        self.hidden = nn.ModuleList(
            nn.Linear(width if i else features, width) for i in range(depth)
        )
        self.acts = nn.ModuleList(act() for _ in range(depth))
        self.verdict = nn.Linear(width, classes)

    def features(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for layer, act in zip(self.hidden, self.acts, strict=True):
            x = act(layer(x))
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.verdict(self.features(x))


class PointNet(nn.Module):
    """The same small MLP for each point, the largest response over points, a second MLP."""

    def __init__(self, classes: int = 5, width: int = 48, inputs: int = 2) -> None:
        super().__init__()
        self.each = nn.Sequential(nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, width), nn.ReLU())
        self.all, self.verdict = nn.Linear(width, 32), nn.Linear(32, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.verdict(F.relu(self.all(self.each(x).amax(1))))


class PointAttention(nn.Module):
    """Attention pooling: one learned query asks all points."""

    def __init__(self, classes: int = 5, width: int = 32) -> None:
        super().__init__()
        self.lift = nn.Sequential(nn.Linear(2, 32), nn.GELU(), nn.Linear(32, width), nn.GELU())
        self.seed = nn.Parameter(torch.randn(1, 4, width) * 0.2)
        self.ask = nn.MultiheadAttention(width, 4, batch_first=True)
        self.norm, self.verdict = nn.LayerNorm(width), nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        h = self.lift(x)
        answer, _ = self.ask(self.seed.expand(len(x), -1, -1), h, h, need_weights=False)
        return self.verdict(self.norm(answer).flatten(1))


class Glance(nn.Module):
    """Three convolutions in space with group norm, and a hidden layer."""

    def __init__(
        self, channels: int, classes: int, act: Act = nn.ReLU, width: int = 16, groups: int = 4
    ) -> None:
        super().__init__()
        self.look1 = nn.Conv2d(channels, width, 3, 1, 1)
        self.look2, self.look3 = nn.Conv2d(width, width, 3, 2, 1), nn.Conv2d(width, width, 3, 2, 1)
        self.even1, self.even2 = nn.GroupNorm(groups, width), nn.GroupNorm(groups, width)
        self.even3, self.act = nn.GroupNorm(groups, width), act()
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.think, self.verdict = nn.Linear(4 * width, 32), nn.Linear(32, classes)

    def features(self, x: Tensor) -> Tensor:
        x = self.act(self.even1(self.look1(x)))
        x = self.act(self.even2(self.look2(x)))
        return self.pool(self.act(self.even3(self.look3(x)))).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.verdict(self.act(self.think(self.features(x))))


class Bare(nn.Module):
    """Two convolutions without normalization, a pooling to 3x3 cells, a linear decision."""

    def __init__(self, channels: int, classes: int, act: Act = nn.ReLU) -> None:
        super().__init__()
        self.near, self.far = nn.Conv2d(channels, 16, 3, 1, 1), nn.Conv2d(16, 24, 3, 2, 1)
        self.act, self.pool = act(), nn.AdaptiveMaxPool2d(3)
        self.verdict = nn.Linear(24 * 9, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.far(self.act(self.near(x))))
        return self.verdict(self.pool(x).flatten(1))


class Embedder(nn.Module):
    """A glyph to a vector, for comparing two of them."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.near, self.far = nn.Conv2d(1, 16, 3, 1, 1), nn.Conv2d(16, 24, 3, 2, 1)
        self.out = nn.Linear(24 * 9, width)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.far(F.relu(self.near(x))))
        return self.out(F.max_pool2d(x, 2).flatten(1))

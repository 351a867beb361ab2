"""Small data with structure that nets learn in seconds: digits, gratings and shapes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from math import pi
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Generator, Tensor

Change = Callable[[Tensor, Tensor, Generator], tuple[Tensor, Tensor]]


def seeded(seed: int) -> Generator:
    return torch.Generator().manual_seed(seed)


@dataclass(frozen=True)
class Data:
    """Training, validation and clean test arrays of one task; images are float, NCHW."""

    x: Tensor
    y: Tensor
    val_x: Tensor
    val_y: Tensor
    test_x: Tensor
    test_y: Tensor

    def but(self, **changes: Tensor) -> "Data":
        return replace(self, **changes)

    def mapped(self, change: Callable[[Tensor], Tensor]) -> "Data":
        x, val_x, test_x = change(self.x), change(self.val_x), change(self.test_x)
        return self.but(x=x, val_x=val_x, test_x=test_x)

    def normalized(self) -> "Data":
        """Subtract the training set's mean of every channel and divide by its deviation."""
        dims = (0, 2, 3) if self.x.ndim == 4 else (0, 1)
        mean, std = self.x.mean(dims, keepdim=True), self.x.std(dims, keepdim=True)
        return self.mapped(lambda x: (x - mean) / std)

    def flat(self) -> "Data":
        return self.mapped(lambda x: x.flatten(1))

    def first(self, n: int) -> "Data":
        return self.but(x=self.x[:n], y=self.y[:n])


class Batches:
    """Batches of arrays, shuffled anew in every epoch; `change` is applied to each batch."""

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        size: int = 64,
        *,
        shuffle: bool = True,
        seed: int = 0,
        change: Change | None = None,
        drop_last: bool = True,
    ) -> None:
        self.x, self.y, self.size, self.shuffle, self.change = x, y, size, shuffle, change
        self.random = seeded(seed)
        self.drop_last = drop_last

    def __len__(self) -> int:
        return len(self.x) // self.size if self.drop_last else -(-len(self.x) // self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        n = len(self.x)
        order = torch.randperm(n, generator=self.random) if self.shuffle else torch.arange(n)
        for index in order[: len(self) * self.size].split(self.size):
            x, y = self.x[index], self.y[index]
            yield self.change(x, y, self.random) if self.change else (x, y)


def _split(x: Tensor, y: Tensor, train: int, val: int, seed: int) -> Data:
    order = torch.randperm(len(x), generator=seeded(seed))
    x, y = x[order], y[order]
    at, end = train, train + val
    return Data(x[:at], y[:at], x[at:end], y[at:end], x[end:], y[end:])


def digits(seed: int = 0, train: int = 1100) -> Data:
    """8x8 handwritten digits in [0, 1]; 297 for validation, the rest beyond `train` for testing."""
    pixels, labels = load_digits(return_X_y=True)
    x = torch.tensor(pixels, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    return _split(x, torch.tensor(labels), train, 297, seed)


def _pink(n: int, channels: int, side: int, random: Generator) -> Tensor:
    """Noise with a 1/f amplitude spectrum and unit variance, as natural images have."""
    fy, fx = torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)[None]
    amplitude = 1 / (fy**2 + fx**2).sqrt().clamp_min(1 / side)
    white = torch.fft.rfft2(torch.randn(n, channels, side, side, generator=random))
    noise = torch.fft.irfft2(white * amplitude, s=(side, side))
    return noise / noise.std((1, 2, 3), keepdim=True)


@cache
def gratings(
    seed: int = 0, *, classes: int = 6, side: int = 16, train: int = 1000, noise: float = 0.5
) -> Data:
    """Color gratings in [0, 1]: the class is the orientation; phase, pitch and color are free."""
    n, random = train + 600, seeded(seed)
    y = torch.arange(n) % classes
    line = torch.linspace(-1, 1, side)
    angle = (y / classes * pi + 0.06 * torch.randn(n, generator=random)).view(-1, 1, 1)
    across = line[None, None] * angle.cos() + line[None, :, None] * angle.sin()
    pitch, phase = (torch.rand(n, 1, 1, generator=random) for _ in "ab")
    wave = (across * (1.5 + pitch) * pi + phase * 2 * pi).sin()[:, None]
    color = 0.4 + 0.6 * torch.rand(n, 3, 1, 1, generator=random)
    x = 0.5 + 0.18 * (wave * color + noise * _pink(n, 3, side, random))
    return _split(x.clamp(0, 1), y, train, 300, seed + 1)


@cache
def shapes(seed: int = 0, *, side: int = 16, train: int = 1000, noise: float = 0.4) -> Data:
    """Disk, ring, square, cross or stripe of any color, anywhere on a cloudy background."""
    n, random = train + 600, seeded(seed)
    y = torch.arange(n) % 5
    line = torch.arange(side).float()
    place = side * (0.3 + 0.4 * torch.rand(n, 2, generator=random))
    size = (side * (0.22 + 0.1 * torch.rand(n, generator=random))).view(-1, 1, 1)
    dy = (line[None] - place[:, :1])[:, :, None] / size
    dx = (line[None] - place[:, 1:])[:, None, :] / size
    r, big = (dy**2 + dx**2).sqrt(), torch.maximum(dy.abs(), dx.abs())
    thin = torch.minimum(dy.abs(), dx.abs())
    masks = [r < 1, (r < 1.2) & (r > 0.7), big < 0.9, (thin < 0.35) & (big < 1.3)]
    masks.append((dy.abs() < 0.35) & (dx.abs() < 1.5))
    mask = torch.stack([m.expand(n, side, side) for m in masks])[y, torch.arange(n)][:, None]
    color = 0.5 + 0.5 * torch.rand(n, 3, 1, 1, generator=random)
    x = 0.3 + 0.1 * noise / 0.4 * _pink(n, 3, side, random) + 0.45 * mask * color
    return _split(x.clamp(0, 1), y, train, 300, seed + 1)


def loader(data: Data, size: int = 64, seed: int = 0, **options: Any) -> Batches:
    """Training batches of `data`."""
    return Batches(data.x, data.y, size, seed=seed, **options)


def in_order(x: Tensor, y: Tensor, size: int = 100) -> list[tuple[Tensor, Tensor]]:
    """Fixed batches, as validation uses them."""
    return list(zip(x.split(size), y.split(size), strict=True))

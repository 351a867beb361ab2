"""Data of the fresh programs: textures, counted disks, arrows, and tables of features."""

from functools import cache
from math import pi

import torch
import torch.nn.functional as F
from benchmarks.check.data import Data, _pink, _split, digits, seeded
from sklearn.datasets import load_breast_cancer, load_wine
from torch import Generator, Tensor


def _band(n: int, low: float, high: float, stretch: float, side: int, random: Generator) -> Tensor:
    """Noise between two frequencies (cycles a pixel), stretched along the rows."""
    fy, fx = torch.fft.fftfreq(side)[:, None] * stretch, torch.fft.rfftfreq(side)[None]
    r = (fy**2 + fx**2).sqrt()
    keep = ((r >= low) & (r < high)).float()
    white = torch.fft.rfft2(torch.randn(n, 1, side, side, generator=random))
    noise = torch.fft.irfft2(white * keep, s=(side, side))
    return noise / noise.std((1, 2, 3), keepdim=True)


BANDS = ((0.05, 0.16, 1.0), (0.16, 0.27, 1.0), (0.3, 0.5, 1.0), (0.05, 0.3, 3.0), (0.05, 0.3, 0.33))


@cache
def textures(seed: int = 0, *, side: int = 16, train: int = 900, tint: float = 0.0) -> Data:
    """Coarse, middling, fine, lying or standing texture; `tint` colors the classes."""
    n, random = train + 500, seeded(seed + 300)
    y = torch.arange(n) % 5
    gray = torch.empty(n, 1, side, side)
    for label, band in enumerate(BANDS):
        gray[y == label] = _band(int((y == label).sum()), *band, side, random)
    color = 0.6 + 0.4 * torch.rand(n, 3, 1, 1, generator=random)
    hue = torch.arange(3) * 2 * pi / 3 + (y * 2 * pi / 5)[:, None]
    shade = 0.1 * torch.rand(n, 1, 1, 1, generator=random)
    x = 0.42 + shade + tint * hue.cos()[:, :, None, None] + 0.13 * gray * color
    x = x + 0.04 * _pink(n, 3, side, random)
    return _split(x.clamp(0, 1), y, train, 250, seed + 1)


@cache
def disks(seed: int = 0, *, side: int = 16, train: int = 900) -> Data:
    """One, two, three or four dots of any color; the class is how many."""
    n, random = train + 500, seeded(seed + 600)
    y = torch.arange(n) % 4
    x = 0.3 + 0.03 * _pink(n, 3, side, random)
    cells = torch.rand(n, 9, generator=random).argsort(1)
    line = torch.arange(side).float()
    for k in range(4):
        shift = torch.rand(n, 2, generator=random)
        cy = (cells[:, k] // 3) * 5 + 1.8 + shift[:, 0]
        cx = (cells[:, k] % 3) * 5 + 1.8 + shift[:, 1]
        away = (line[None, :, None] - cy[:, None, None]) ** 2
        away = away + (line[None, None] - cx[:, None, None]) ** 2
        mask = ((away < 3.2) & (y >= k)[:, None, None])[:, None]
        color = 0.35 + 0.3 * torch.rand(n, 3, 1, 1, generator=random)
        x = x + mask * color
    return _split(x.clamp(0, 1), y, train, 250, seed + 1)


@cache
def arrows(seed: int = 0, *, train: int = 800) -> Data:
    """Gray arrows that point left, right, up or down."""
    n, random, side = train + 500, seeded(seed + 900), 12
    y = torch.arange(n) % 4
    canvas = torch.zeros(n, 1, side, side)
    place = torch.randint(2, 5, (n, 2), generator=random).tolist()
    for i, (up, left) in enumerate(place):
        for k in range(3):
            canvas[i, 0, up + 3 - k : up + 4 + k, left + k] = 1
        canvas[i, 0, up + 3, left : left + 6] = 1
    turned = torch.stack([canvas, canvas.flip(3), canvas.mT, canvas.mT.flip(2)])
    x = 0.25 + 0.06 * _pink(n, 1, side, random) + 0.55 * turned[y, torch.arange(n)]
    return _split(x.clamp(0, 1), y, train, 250, seed + 1)


def large_digits(seed: int = 0, train: int = 1000) -> Data:
    """Digits of 16x16 pixels in [0, 1]."""
    grow = lambda x: F.interpolate(x, size=(16, 16), mode="bilinear")  # noqa: E731
    return digits(seed, train=train).mapped(grow)


@cache
def rings(seed: int = 0, *, train: int = 900, features: int = 12) -> Data:
    """A table: the class is the distance from the origin in four of the features."""
    n, random = train + 500, seeded(seed + 1200)
    x = torch.randn(n, features, generator=random)
    r = x[:, :4].square().sum(1)
    edges = r.quantile(torch.tensor([1 / 3, 2 / 3]))
    return _split(x, torch.bucketize(r, edges), train, 250, seed + 1)


@cache
def sectors(seed: int = 0, *, classes: int = 6, train: int = 1000) -> Data:
    """A table: twenty features mix two coordinates and noise; the class is the sector."""
    n, random = train + 500, seeded(seed + 1500)
    angle = 2 * pi * torch.rand(n, generator=random)
    y = (angle / (2 * pi) * classes).long().clamp_max(classes - 1)
    point = torch.stack([angle.cos(), angle.sin()], 1)
    mix = torch.randn(2, 20, generator=random)
    x = 2 * point @ mix + 0.3 * torch.randn(n, 20, generator=random)
    return _split(x, y, train, 250, seed + 1)


def standardized(data: Data) -> Data:
    """Each column of a table less its mean in training, divided by its deviation."""
    mean, std = data.x.mean(0), data.x.std(0)
    return data.mapped(lambda x: (x - mean) / std)


def tumors(seed: int = 0) -> Data:
    """The Wisconsin breast cancer table: thirty measures in their own units, two classes."""
    x, y = load_breast_cancer(return_X_y=True)
    return _split(torch.tensor(x, dtype=torch.float32), torch.tensor(y), 340, 100, seed)


def wines(seed: int = 0) -> Data:
    """The wine table: thirteen measures in their own units, three classes."""
    x, y = load_wine(return_X_y=True)
    return _split(torch.tensor(x, dtype=torch.float32), torch.tensor(y), 90, 40, seed)

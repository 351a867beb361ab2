"""Data of the final programs: flowers, weaves, dials, landscapes, faces, gestures, loans, logs."""

from functools import cache
from math import pi

import torch
from benchmarks.check.data import Data, _pink, _split, seeded
from torch import Tensor


def _grid(side: int) -> tuple[Tensor, Tensor]:
    line = torch.linspace(-1, 1, side)
    return line[None, :, None], line[None, None, :]


@cache
def flowers(seed: int = 0, *, train: int = 1000, side: int = 12) -> Data:
    """Flowers of two to six petals in any color, turned at will, as bytes over 255."""
    n, random = train + 500, seeded(seed + 4100)
    y = torch.arange(n) % 5
    row, column = _grid(side)
    shift, turn = 0.3 * torch.rand(n, 2, generator=random) - 0.15, torch.rand(n, generator=random)
    dy, dx = row - shift[:, :1, None], column - shift[:, 1:, None]
    radius, angle = (dy.square() + dx.square()).sqrt(), torch.atan2(dy, dx)
    wave = ((y + 2)[:, None, None] * angle + 2 * pi * turn[:, None, None]).cos()
    mask = (8 * (0.55 + 0.35 * wave - radius)).sigmoid()[:, None]
    color = 0.5 + 0.5 * torch.rand(n, 3, 1, 1, generator=random)
    back = 0.3 * torch.rand(n, 3, 1, 1, generator=random)
    x = color * mask + back * (1 - mask) + 0.05 * _pink(n, 3, side, random)
    return _split(x.clamp(0, 1), y, train, 200, seed + 1)


@cache
def weaves(seed: int = 0, *, train: int = 900, side: int = 16) -> Data:
    """Gray cloth: coarse, fine, lying, standing, or slanted threads, as noise of one spectrum."""
    n, random = train + 500, seeded(seed + 4200)
    y = torch.arange(n) % 5
    fy, fx = torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)[None]
    far = (fy.square() + fx.square()).sqrt()
    soft = lambda a, b: (-(a.square() / 0.02) - b.square() / 0.002).exp()  # noqa: E731
    slanted = soft((fy + fx) * 0.7, (fy - fx) * 0.7)
    bands = [(-((far - 0.1) / 0.05).square()).exp(), (-((far - 0.38) / 0.06).square()).exp()]
    bands += [soft(fy, fx), soft(fx, fy), slanted]
    shape = torch.stack(bands) + 0.04
    white = torch.fft.rfft2(torch.randn(n, side, side, generator=random))
    x = torch.fft.irfft2(white * shape[y], s=(side, side))
    x = x / x.std((1, 2), keepdim=True) + 0.2 * torch.randn(n, side, side, generator=random)
    light = 0.45 + 0.1 * torch.rand(n, 1, 1, generator=random)
    return _split((light + 0.15 * x)[:, None].clamp(0, 1), y, train, 200, seed + 1)


@cache
def dials(seed: int = 0, *, train: int = 900, side: int = 12) -> Data:
    """A dial with one hand; the class is the nearest of eight directions."""
    n, random = train + 500, seeded(seed + 4300)
    y = torch.arange(n) % 8
    angle = (y + 0.6 * torch.rand(n, generator=random) - 0.3) * pi / 4
    row, column = _grid(side)
    sin, cos = angle.sin()[:, None, None], angle.cos()[:, None, None]
    along, off = column * cos + row * sin, row * cos - column * sin
    hand = (off.abs() < 0.16) & (along > -0.1) & (along < 0.85)
    ring = ((row.square() + column.square()).sqrt() - 0.95).abs() < 0.12
    x = 0.15 + 0.7 * hand + 0.3 * ring + 0.12 * torch.randn(n, side, side, generator=random)
    return _split(x[:, None].clamp(0, 1), y, train, 200, seed + 1)


@cache
def landscapes(seed: int = 0, *, train: int = 900, side: int = 12) -> Data:
    """A sky above a ground: sea, desert, meadow, night or snow."""
    n, random = train + 500, seeded(seed + 4400)
    y = torch.arange(n) % 5
    skies = torch.tensor(
        [[0.5, 0.65, 0.85], [0.6, 0.7, 0.8], [0.5, 0.7, 0.9], [0.2, 0.2, 0.3], [0.6, 0.65, 0.7]]
    )
    grounds = torch.tensor(
        [[0.3, 0.45, 0.65], [0.75, 0.6, 0.4], [0.35, 0.6, 0.3], [0.15, 0.2, 0.2], [0.8, 0.8, 0.85]]
    )
    row, column = _grid(side)
    height, slope = (0.8 * torch.rand(n, 1, 1, generator=random) - 0.4 for _ in "hs")
    mask = (row + slope * column > height)[:, None].float()
    x = skies[y][:, :, None, None] * (1 - mask) + grounds[y][:, :, None, None] * mask
    x = x + 0.18 * torch.randn(n, 3, 1, 1, generator=random) + 0.12 * _pink(n, 3, side, random)
    return _split(x.clamp(0, 1), y, train, 200, seed + 1)


@cache
def faces(seed: int = 0, *, train: int = 900, side: int = 14) -> Data:
    """Drawn faces, light on dark: a smile, a frown, a straight mouth, or an open one."""
    n, random = train + 500, seeded(seed + 4500)
    y = torch.arange(n) % 4
    row, column = _grid(side)
    shift = 0.3 * torch.rand(n, 2, generator=random) - 0.15
    dy, dx = row - shift[:, :1, None], column - shift[:, 1:, None]
    eyes = ((dx.abs() - 0.35).square() + (dy + 0.35).square()) < 0.025
    bend = torch.tensor([-0.7, 0.7, 0.0, 0.0])[y][:, None, None]
    line = ((dy - 0.4 - bend * (dx.square() - 0.15)).abs() < 0.11) & (dx.abs() < 0.5)
    round_ = (dx.square() + (dy - 0.4).square()) < 0.07
    mouth = torch.where((y == 3)[:, None, None], round_, line)
    x = 0.1 + (0.6 + 0.3 * torch.rand(n, 1, 1, generator=random)) * (eyes | mouth)
    x = x + 0.1 * torch.randn(n, side, side, generator=random)
    return _split(x[:, None].clamp(0, 1), y, train, 200, seed + 1)


@cache
def gestures(seed: int = 0, *, train: int = 900, length: int = 32) -> Data:
    """Acceleration along three axes in time, (N, time, axes): circles, shakes, taps, a swipe."""
    n, random = train + 500, seeded(seed + 4600)
    y = torch.arange(n) % 5
    t = torch.linspace(0, 1, length)[None]
    turn = 2 * pi * ((2 + torch.rand(n, 1, generator=random)) * t)
    turn = turn + 2 * pi * torch.rand(n, 1, generator=random)
    at = 0.2 + 0.6 * torch.rand(n, 1, generator=random)
    bump = (-((t - at) / 0.06).square()).exp()
    still = torch.zeros_like(turn)
    kinds = [(turn.cos(), turn.sin(), still), (turn.cos(), -turn.sin(), still)]
    kinds += [(turn.sin(), still, still), (still, still, 2.5 * bump), (still, 2.5 * bump, still)]
    wave = torch.stack([torch.stack(kind, 2) for kind in kinds])[y, torch.arange(n)]
    gain = 0.7 + 0.6 * torch.rand(n, 1, 1, generator=random)
    x = gain * wave + 0.3 * torch.randn(n, length, 3, generator=random)
    return _split(x, y, train, 200, seed + 1)


@cache
def loans(seed: int = 0, *, train: int = 1000) -> Data:
    """Ten standard normal columns; three classes by a smooth but crooked score."""
    n, random = train + 500, seeded(seed + 4700)
    x = torch.randn(n, 10, generator=random)
    score = x[:, 0] * x[:, 1] + 1.2 * x[:, 2].abs() + x[:, 3] - 0.8 * x[:, 4].relu() * x[:, 5]
    score = score + 0.1 * torch.randn(n, generator=random)
    y = torch.bucketize(score, score.quantile(torch.tensor([1 / 3, 2 / 3])))
    return _split(x, y, train, 200, seed + 1)


@cache
def logs(seed: int = 0, *, train: int = 1000, length: int = 16) -> Data:
    """Sixteen events of thirty kinds; the class is which of five groups of events prevails."""
    n, random = train + 500, seeded(seed + 4800)
    y = torch.arange(n) % 5
    x = torch.randint(0, 30, (n, length), generator=random)
    own = 6 * y[:, None] + torch.randint(0, 6, (n, length), generator=random)
    x = torch.where(torch.rand(n, length, generator=random) < 0.35, own, x)
    return _split(x, y, train, 200, seed + 1)


@cache
def spirals(seed: int = 0, *, train: int = 900) -> Data:
    """Points of three arms of a spiral in the plane."""
    n, random = train + 500, seeded(seed + 4900)
    y = torch.arange(n) % 3
    t = torch.rand(n, generator=random).sqrt()
    angle = 4.5 * t + y * 2 * pi / 3
    x = 1.6 * t[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
    return _split(x + 0.06 * torch.randn(n, 2, generator=random), y, train, 200, seed + 1)


def centered(data: Data) -> Data:
    """Less the training mean of each channel or column (axis 1), over its deviation."""
    dims = [d for d in range(data.x.ndim) if d != 1]
    mean, std = data.x.mean(dims, keepdim=True), data.x.std(dims, keepdim=True)
    return data.mapped(lambda x: (x - mean) / std)

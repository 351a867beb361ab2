"""Data of the last programs: signals, sentences, tables, glyphs, spectra, points, volumes."""

from functools import cache
from math import pi

import torch
from benchmarks.check.data import Data, _pink, _split, digits, seeded
from torch import Generator, Tensor

LETTERS = (
    "11111 00100 00100 00100 00100",
    "10000 10000 10000 10000 11111",
    "10001 01010 00100 01010 10001",
    "01110 10001 10001 10001 01110",
    "10001 10001 11111 10001 10001",
    "11111 00010 00100 01000 11111",
)


@cache
def signals(seed: int = 0, *, train: int = 900, length: int = 64, noise: float = 0.25) -> Data:
    """Two channels in time: a sine, a square, a saw, a chirp or a burst; the class is the form."""
    n, random = train + 500, seeded(seed + 2100)
    y = torch.arange(n) % 5
    t = torch.linspace(0, 1, length)[None]
    turn = (3 + 3 * torch.rand(n, 1, generator=random)) * t + torch.rand(n, 1, generator=random)
    sine = (2 * pi * turn).sin()
    chirp = (2 * pi * (turn + 5 * t.square())).sin()
    burst = 1.6 * sine * (-((t - 0.5) / 0.12).square()).exp()
    wave = torch.stack([sine, sine.sign(), 1.4 * (turn % 1) - 0.7, chirp, burst])
    gain = 0.7 + 0.6 * torch.rand(n, 2, 1, generator=random)
    x = gain * wave[y, torch.arange(n)][:, None]
    x = x + noise * torch.randn(n, 2, length, generator=random)
    return _split(x, y, train, 200, seed + 1)


@cache
def loudness(seed: int = 0, *, train: int = 800) -> Data:
    """A channel of noisy tones; the class is which of four levels of loudness."""
    n, random = train + 500, seeded(seed + 2200)
    y = torch.arange(n) % 4
    t = torch.linspace(0, 1, 48)[None]
    turn = (2 + 5 * torch.rand(n, 1, generator=random)) * t + torch.rand(n, 1, generator=random)
    level = (0.3 + 0.35 * y + 0.12 * torch.rand(n, generator=random))[:, None]
    wave = (2 * pi * turn).sin() + 0.2 * torch.randn(n, 48, generator=random)
    return _split((level * wave)[:, None], y, train, 200, seed + 1)


@cache
def bursts(seed: int = 0, *, train: int = 900) -> Data:
    """A channel with one short burst; the class is in which eighth of the time it lies."""
    n, random = train + 500, seeded(seed + 2300)
    at = torch.rand(n, 1, generator=random)
    t = torch.linspace(0, 1, 64)[None]
    x = 2 * (-((t - at) / 0.03).square()).exp() * (60 * t).sin()
    x = x + 0.2 * torch.randn(n, 64, generator=random)
    return _split(x[:, None], (at[:, 0] * 8).long().clamp_max(7), train, 200, seed + 1)


@cache
def sentences(seed: int = 0, *, train: int = 1000, length: int = 12) -> Data:
    """Words 1 to 23, padded with 0; the class is which of four pairs of words stands in it."""
    n, random = train + 500, seeded(seed + 2400)
    y = torch.arange(n) % 4
    x = torch.randint(5, 24, (n, length), generator=random)
    pairs = torch.tensor([[1, 2], [2, 1], [3, 4], [4, 3]])[y]
    ends = torch.randint(6, length + 1, (n,), generator=random)
    at = (torch.rand(n, generator=random) * (ends - 1)).long()
    x[torch.arange(n), at], x[torch.arange(n), at + 1] = pairs[:, 0], pairs[:, 1]
    x = x * (torch.arange(length)[None] < ends[:, None])
    return _split(x, y, train, 200, seed + 1)


@cache
def topics(seed: int = 0, *, train: int = 900) -> Data:
    """How often each of sixty words occurs in a text; the class is one of six topics."""
    n, random = train + 500, seeded(seed + 2500)
    y = torch.arange(n) % 6
    common = torch.rand(60, generator=random) * 0.6
    special = (torch.rand(6, 60, generator=random) < 0.2).float()
    rates = (common + 1.2 * special[y]) * (0.5 + torch.rand(n, 1, generator=random))
    return _split(torch.poisson(rates, random), y, train, 200, seed + 1)


@cache
def census(seed: int = 0, *, train: int = 1000) -> Data:
    """Four numbers and three columns of codes (of 6, 4 and 8 kinds); three ordered classes."""
    n, random = train + 500, seeded(seed + 2600)
    numbers = torch.randn(n, 4, generator=random)
    codes = [torch.randint(k, (n,), generator=random) for k in (6, 4, 8)]
    effects = [torch.randn(k, generator=random) for k in (6, 4, 8)]
    slope = 1.5 * torch.tensor([1.0, -1.0, 1.0, -1.0])[codes[1]]
    score = slope * numbers[:, 0] + numbers[:, 1].abs() + effects[0][codes[0]]
    score = score + 1.5 * effects[2][codes[2]] + 0.1 * torch.randn(n, generator=random)
    x = torch.cat([numbers, torch.stack(codes, 1).float()], 1)
    y = torch.bucketize(score, score.quantile(torch.tensor([1 / 3, 2 / 3])))
    return _split(x, y, train, 200, seed + 1)


def _letters() -> Tensor:
    rows = [[[float(c) for c in row] for row in letter.split()] for letter in LETTERS]
    return torch.tensor(rows).repeat_interleave(2, 1).repeat_interleave(2, 2)


def _written(y: Tensor, random: Generator, flips: float) -> Tensor:
    n, shapes = len(y), _letters()
    x = torch.zeros(n, 1, 12, 12)
    for i, (up, left) in enumerate(torch.randint(0, 3, (n, 2), generator=random).tolist()):
        x[i, 0, up : up + 10, left : left + 10] = shapes[y[i]]
    return (x - (torch.rand(x.shape, generator=random) < flips).float()).abs()


@cache
def glyphs(seed: int = 0, *, train: int = 800, flips: float = 0.08) -> Data:
    """Six letters as masks of zeros and ones; some pixels are flipped."""
    n, random = train + 500, seeded(seed + 2700)
    y = torch.arange(n) % 6
    return _split(_written(y, random, flips), y, train, 200, seed + 1)


@cache
def pairs(seed: int = 0, *, train: int = 1200, exact: float = 0.0) -> Data:
    """Two glyphs in two channels; the class is whether they are the same letter."""
    n, random = train + 500, seeded(seed + 2800)
    y = torch.arange(n) % 2
    first = torch.randint(6, (n,), generator=random)
    other = (first + torch.randint(1, 6, (n,), generator=random)) % 6
    a = _written(first, random, 0.02)
    b = _written(torch.where(y == 1, first, other), random, 0.02)
    copied = (y == 1) & (torch.rand(n, generator=random) < exact)
    b[copied] = a[copied]
    return _split(torch.cat([a, b], 1), y, train, 200, seed + 1)


@cache
def spectra(seed: int = 0, *, train: int = 800) -> Data:
    """Patches of 8x8 in five bands; the class is the material of the field in front."""
    n, random = train + 500, seeded(seed + 2900)
    y = torch.arange(n) % 4
    materials = torch.tensor(
        [[0.2, 0.3, 0.5, 0.6, 0.4], [0.5, 0.3, 0.2, 0.4, 0.6], [0.3, 0.6, 0.3, 0.3, 0.5],
         [0.6, 0.4, 0.4, 0.2, 0.3]]
    )  # fmt: skip
    ground = torch.tensor([0.4, 0.4, 0.4, 0.4, 0.4])
    line = torch.linspace(-1, 1, 8)
    angle = 2 * pi * torch.rand(n, 1, 1, generator=random)
    front = (line[None, None] * angle.cos() + line[None, :, None] * angle.sin()) > -0.1
    light = 0.7 + 0.6 * torch.rand(n, 1, 1, 1, generator=random)
    field = torch.where(front[:, None], materials[y][:, :, None, None], ground[:, None, None])
    x = light * (field + 0.06 * _pink(n, 5, 8, random))
    return _split(x.clamp(0, 1.2), y, train, 200, seed + 1)


@cache
def species(seed: int = 0, *, classes: int = 60, each: int = 14) -> Data:
    """Sixty kinds of smooth 8x8 pictures in three colors, few of each kind."""
    n, random = classes * (each + 9), seeded(seed + 3000)
    y = torch.arange(n) % classes
    kinds = _pink(classes, 3, 8, random)
    x = 0.5 + 0.15 * (kinds[y] + 0.7 * torch.randn(n, 3, 8, 8, generator=random))
    return _split(x.clamp(0, 1), y, classes * each, 240, seed + 1)


@cache
def clouds(seed: int = 0, *, train: int = 900, points: int = 32) -> Data:
    """Sets of points in the plane: a ring, a frame, a cross, two heaps, or a disk."""
    n, random = train + 500, seeded(seed + 3100)
    y = torch.arange(n) % 5
    u, v = (2 * torch.rand(n, points, generator=random) - 1 for _ in "uv")
    side = torch.randint(4, (n, points), generator=random)
    ring = torch.stack([(pi * u).cos(), (pi * u).sin()], 2)
    one = torch.where(side < 2, u, v.sign())
    frame = torch.stack([one, torch.where(side < 2, v.sign(), u)], 2)
    zero = torch.zeros_like(u)
    cross = torch.stack([torch.where(side < 2, u, zero), torch.where(side < 2, zero, u)], 2)
    heaps = torch.stack(
        [0.7 * v.sign() + 0.25 * u, 0.3 * torch.randn(u.shape, generator=random)], 2
    )
    disk = ring * v.abs().sqrt()[:, :, None]
    x = torch.stack([ring, frame, cross, heaps, disk])[y, torch.arange(n)]
    x = x * (0.7 + 0.6 * torch.rand(n, 1, 1, generator=random))
    return _split(x + 0.05 * torch.randn(x.shape, generator=random), y, train, 200, seed + 1)


@cache
def tiles(seed: int = 0, *, train: int = 800) -> Data:
    """Floors of 12x12 in two colors, 0 to 255: checked, lying, standing or slanted stripes."""
    n, random = train + 500, seeded(seed + 3200)
    y = torch.arange(n) % 4
    row, column = torch.arange(12)[:, None], torch.arange(12)[None]
    a, b = torch.randint(6, (2, n, 1, 1), generator=random)
    r, c = row + a, column + b
    kinds = [(r // 2 + c // 2) % 2, (r // 2 + 0 * c) % 2, (0 * r + c // 2) % 2, ((r + c) // 3) % 2]
    mask = torch.stack(kinds)[y, torch.arange(n)][:, None]
    light, dark = torch.rand(2, n, 3, 1, 1, generator=random)
    x = (0.5 + 0.4 * light) * mask + (0.1 + 0.3 * dark) * (1 - mask)
    x = x + 0.08 * torch.randn(x.shape, generator=random)
    return _split((255 * x.clamp(0, 1)).round(), y, train, 200, seed + 1)


@cache
def clips(seed: int = 0, *, train: int = 700) -> Data:
    """Six frames of 8x8 with a moving spot; the class is where it moves."""
    n, random = train + 500, seeded(seed + 3300)
    y = torch.arange(n) % 4
    step = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])[y]
    time = torch.arange(6)[None, :, None] - 2.5
    place = 3.5 + 0.8 * time * step[:, None] + 2 * torch.rand(n, 1, 2, generator=random) - 1
    line = torch.arange(8).float()
    dy = (line[None, None] - place[:, :, :1]).square()[:, :, :, None]
    dx = (line[None, None] - place[:, :, 1:]).square()[:, :, None]
    x = (-(dy + dx) / 1.5).exp() * 2 + 0.2 * torch.randn(n, 6, 8, 8, generator=random)
    return _split(x[:, :, None], y, train, 200, seed + 1)


@cache
def volumes(seed: int = 0, *, train: int = 600) -> Data:
    """Blocks of 8x8x8 with a rod along one of the axes or a ball."""
    n, random = train + 500, seeded(seed + 3400)
    y = torch.arange(n) % 4
    line = torch.arange(8).float()
    middle = 2.5 + 2 * torch.rand(n, 3, 1, generator=random)
    far = (line[None, None] - middle).square()
    z, r, c = far[:, 0, :, None, None], far[:, 1, None, :, None], far[:, 2, None, None, :]
    kinds = torch.stack([r + c + 0 * z, z + c + 0 * r, z + r + 0 * c, 0.6 * (z + r + c)])
    x = (kinds[y, torch.arange(n)] < 2.5).float()[:, None]
    return _split(x + 0.3 * torch.randn(x.shape, generator=random), y, train, 200, seed + 1)


@cache
def genes(seed: int = 0, *, train: int = 900, length: int = 40) -> Data:
    """Four letters, one-hot in four channels; the class is which motif is hidden, or none."""
    n, random = train + 500, seeded(seed + 3500)
    y = torch.arange(n) % 4
    letters = torch.randint(4, (n, length), generator=random)
    motifs = torch.tensor([[0, 2, 1, 3, 0, 0], [3, 3, 1, 0, 2, 1], [1, 0, 0, 2, 3, 2]])
    for i, at in enumerate(torch.randint(length - 6, (n,), generator=random).tolist()):
        if y[i] < 3:
            letters[i, at : at + 6] = motifs[y[i]]
    return _split(torch.nn.functional.one_hot(letters, 4).mT.float(), y, train, 200, seed + 1)


def rows_of_digits(seed: int = 0) -> Data:
    """Digits as eight steps of eight pixels, standardized."""
    data = digits(seed)
    mean, std = data.x.mean(), data.x.std()
    return data.mapped(lambda x: ((x - mean) / std)[:, 0])


def scaled(data: Data) -> Data:
    """Less the mean of each column or channel (axis 1) in training, over its deviation."""
    dims = [d for d in range(data.x.ndim) if d != 1]
    mean, std = data.x.mean(dims, keepdim=True), data.x.std(dims, keepdim=True)
    return data.mapped(lambda x: (x - mean) / std)

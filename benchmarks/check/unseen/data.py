"""Data of the unseen programs: made images with nuisance; a few tables, series, sets, graphs."""

from functools import cache
from math import cos, pi

import torch
import torch.nn.functional as F
from benchmarks.check.data import Data, _pink, _split, seeded
from sklearn.datasets import load_digits
from torch import Generator, Tensor


def _frame(
    n: int,
    side: int,
    random: Generator,
    *,
    shift: float = 0.2,
    turn: float = 0.2,
    grow: tuple[float, float] = (0.8, 1.1),
) -> tuple[Tensor, Tensor]:
    """Each image's own coordinates (to the right, down): moved, turned and scaled at random."""
    line = torch.linspace(-1, 1, side)
    at = shift * (2 * torch.rand(n, 2, 1, 1, generator=random) - 1)
    angle = turn * (2 * torch.rand(n, 1, 1, generator=random) - 1)
    size = grow[0] + (grow[1] - grow[0]) * torch.rand(n, 1, 1, generator=random)
    dy, dx = line[None, :, None] - at[:, 0], line[None, None] - at[:, 1]
    right, down = dx * angle.cos() + dy * angle.sin(), dy * angle.cos() - dx * angle.sin()
    return right / size, down / size


def _pick(masks: list[Tensor], y: Tensor) -> Tensor:
    return torch.stack(masks)[y, torch.arange(len(y))].float()


def _outline(right: Tensor, down: Tensor, corners: int) -> Tensor:
    """Inside a regular polygon of radius one."""
    angle = torch.atan2(down, right) % (2 * pi / corners) - pi / corners
    return (right.square() + down.square()).sqrt() * angle.cos() < cos(pi / corners)


@cache
def polygons(seed: int = 0, *, train: int = 1200, side: int = 16) -> Data:
    """Triangle, square, disc, ring or star of any color and turn on a cloudy colored ground."""
    n, random = train + 700, seeded(seed + 5100)
    y = torch.arange(n) % 5
    u, v = _frame(n, side, random, turn=pi, grow=(0.6, 0.8))
    r, angle = (u.square() + v.square()).sqrt(), torch.atan2(v, u)
    masks = [_outline(u, v, 3), _outline(u, v, 4), r < 0.85, (r < 0.95) & (r > 0.5)]
    masks.append(r < 0.5 + 0.45 * (5 * angle).cos())
    mask = _pick(masks, y)[:, None]
    color = 0.55 + 0.45 * torch.rand(n, 3, 1, 1, generator=random)
    back = 0.1 + 0.25 * torch.rand(n, 3, 1, 1, generator=random)
    x = color * mask + back * (1 - mask) + 0.06 * _pink(n, 3, side, random)
    return _split(x.clamp(0, 1), y, train, 300, seed + 1)


@cache
def outlines(seed: int = 0, *, train: int = 800, side: int = 16) -> Data:
    """The same figures with their masks, (N, side, side), as targets."""
    n, random = train + 700, seeded(seed + 5150)
    y = torch.arange(n) % 3
    u, v = _frame(n, side, random, shift=0.35, turn=pi, grow=(0.4, 0.7))
    r = (u.square() + v.square()).sqrt()
    mask = _pick([_outline(u, v, 3), _outline(u, v, 4), r < 0.85], y)
    color = 0.25 * torch.rand(n, 3, 1, 1, generator=random)
    x = 0.35 + (0.2 + color) * mask[:, None] + 0.1 * _pink(n, 3, side, random)
    return _split(x.clamp(0, 1), mask, train, 300, seed + 1)


@cache
def clothes(seed: int = 0, *, train: int = 1200, side: int = 20) -> Data:
    """Gray silhouettes: shirt, trousers, dress, boot, bag, hat; woven, moved, turned a little."""
    n, random = train + 700, seeded(seed + 5200)
    y = torch.arange(n) % 6
    u, v = _frame(n, side, random, shift=0.15, turn=0.25)
    r = (u.square() + (v + 0.1).square()).sqrt()
    masks = [
        ((u.abs() < 0.4) & (v.abs() < 0.7)) | (((v + 0.45).abs() < 0.2) & (u.abs() < 0.85)),
        ((u.abs() < 0.45) & (v > -0.8) & (v < -0.45))
        | (((u.abs() - 0.28).abs() < 0.17) & (v.abs() < 0.8)),
        (u.abs() < 0.2 + 0.2 * (v + 0.8)) & (v.abs() < 0.8),
        (((u + 0.2).abs() < 0.25) & (v.abs() < 0.7))
        | ((v > 0.3) & (v < 0.7) & (u > -0.45) & (u < 0.7)),
        ((u.abs() < 0.6) & (v > -0.1) & (v < 0.6)) | (((r - 0.4).abs() < 0.1) & (v < 0)),
        ((r < 0.45) & (v < 0.15)) | (((v - 0.15).abs() < 0.12) & (u.abs() < 0.75)),
    ]  # fmt: skip
    pitch = 4 + 8 * torch.rand(n, 1, 1, generator=random)
    cloth = 0.5 + 0.4 * torch.rand(n, 1, 1, generator=random) + 0.1 * (pitch * (u + v)).sin()
    x = 0.08 + cloth * _pick(masks, y) + 0.06 * torch.randn(n, side, side, generator=random)
    return _split(x[:, None].clamp(0, 1), y, train, 300, seed + 1)


@cache
def textures(seed: int = 0, *, train: int = 1200, side: int = 16) -> Data:
    """Gray surfaces at any angle and pitch: stripes, checks, rings, dots, clouds, grain."""
    n, random = train + 700, seeded(seed + 5300)
    y = torch.arange(n) % 6
    u, v = _frame(n, side, random, shift=0.6, turn=pi, grow=(0.8, 1.2))
    r, f = (u.square() + v.square()).sqrt(), 8.0
    kinds = [(f * u).sin(), (f * u).sin().sign() * (f * v).sin().sign(), (1.2 * f * r).sin()]
    kinds.append(2.0 * ((f * u).cos() + (f * v).cos() > 0.9))
    kinds += [_pink(n, 1, side, random)[:, 0], torch.randn(n, side, side, generator=random)]
    x = _pick(kinds, y)
    x = (x - x.mean((1, 2), keepdim=True)) / x.std((1, 2), keepdim=True)
    gain = 0.13 + 0.06 * torch.rand(n, 1, 1, generator=random)
    light = 0.4 + 0.2 * torch.rand(n, 1, 1, generator=random)
    x = light + gain * x + 0.04 * torch.randn(n, side, side, generator=random)
    return _split(x[:, None].clamp(0, 1), y, train, 300, seed + 1)


@cache
def plates(seed: int = 0, *, train: int = 1200) -> Data:
    """Handwritten digits, enlarged to 12x12, anywhere on 16x16, with faint clutter."""
    pixels, labels = load_digits(return_X_y=True)
    x = torch.tensor(pixels, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    n, random = len(x), seeded(seed + 5400)
    big = F.interpolate(x, size=12, mode="bilinear")
    out = 0.12 * _pink(n, 1, 16, random).relu()
    at = torch.randint(0, 5, (n, 2), generator=random).tolist()
    for image, digit, (top, left) in zip(out, big, at, strict=True):
        image[:, top : top + 12, left : left + 12] += digit
    out = out + 0.05 * torch.randn(out.shape, generator=random)
    return _split(out.clamp(0, 1), torch.tensor(labels), train, 297, seed + 1)


@cache
def satellite(seed: int = 0, *, train: int = 1200, side: int = 12) -> Data:
    """Four bands (red, green, blue, near infrared): water, forest, field, city, bare soil."""
    n, random = train + 700, seeded(seed + 5500)
    y = torch.arange(n) % 5
    spectra = torch.tensor(
        [[0.15, 0.2, 0.3, 0.08], [0.15, 0.25, 0.15, 0.5], [0.3, 0.38, 0.22, 0.5],
         [0.4, 0.4, 0.4, 0.38], [0.5, 0.4, 0.3, 0.5]]
    )  # fmt: skip
    u, v = _frame(n, side, random, shift=0.5, turn=pi)
    still, rows = torch.zeros_like(u), (9 * u).sin()
    blocks = ((6 * u).sin() > 0).float() + ((6 * v).sin() > 0).float() - 1
    grain = torch.randn(n, side, side, generator=random)
    relief = _pick([still, grain, rows, 1.5 * blocks, still], y)
    light = 0.75 + 0.5 * torch.rand(n, 1, 1, 1, generator=random)
    base = spectra[y] * (1 + 0.2 * torch.randn(n, 4, generator=random))
    x = light * (base[:, :, None, None] + 0.06 * relief[:, None])
    x = x + 0.08 * torch.rand(n, 1, 1, 1, generator=random) + 0.06 * _pink(n, 4, side, random)
    return _split(x.clamp(0, 1), y, train, 300, seed + 1)


@cache
def cells(seed: int = 0, *, train: int = 1200, side: int = 24) -> Data:
    """One to five dark nuclei in pink tissue; the label is their number less one."""
    n, random = train + 700, seeded(seed + 5600)
    y = torch.arange(n) % 5
    line = torch.linspace(-1, 1, side)
    spots = (torch.rand(n, 9, generator=random).argsort(1) <= y[:, None]).float()
    middle = torch.tensor([[a, b] for a in (-0.62, 0, 0.62) for b in (-0.62, 0, 0.62)])
    middle = middle + 0.1 * (2 * torch.rand(n, 9, 2, generator=random) - 1)
    size = 0.16 + 0.06 * torch.rand(n, 9, 1, 1, generator=random)
    far = (line[:, None] - middle[..., 0, None, None]).square()
    far = (far + (line - middle[..., 1, None, None]).square()).sqrt()
    mask = ((0.5 * (size - far) / 0.04).sigmoid() * spots[:, :, None, None]).amax(1)[:, None]
    pink = torch.tensor([0.85, 0.65, 0.75])[:, None, None]
    pink = pink + 0.06 * torch.randn(n, 3, 1, 1, generator=random)
    violet = torch.tensor([0.4, 0.25, 0.55])[:, None, None]
    x = pink * (1 - mask) + violet * mask + 0.04 * _pink(n, 3, side, random)
    return _split(x.clamp(0, 1), y, train, 300, seed + 1)


@cache
def symbols(seed: int = 0, *, each: int = 20, classes: int = 32) -> Data:
    """Thirty-two signs of a made script, 12x12, gray, a little moved and turned."""
    n, random = classes * (each + 20), seeded(seed + 5700)
    forms = F.interpolate(
        torch.randn(classes, 1, 5, 5, generator=seeded(5701)), size=12, mode="bilinear"
    )
    forms = (8 * forms).sigmoid()
    y = torch.arange(n) % classes
    angle = 0.25 * (2 * torch.rand(n, generator=random) - 1)
    move = 0.15 * (2 * torch.rand(n, 2, generator=random) - 1)
    rows = [angle.cos(), -angle.sin(), move[:, 0], angle.sin(), angle.cos(), move[:, 1]]
    grid = F.affine_grid(torch.stack(rows, 1).view(n, 2, 3), [n, 1, 12, 12], align_corners=False)
    x = F.grid_sample(forms[y], grid, align_corners=False)
    x = (0.6 + 0.4 * torch.rand(n, 1, 1, 1, generator=random)) * x
    x = (x + 0.1 * torch.randn(x.shape, generator=random)).clamp(0, 1)
    return _split(x, y, classes * each, classes * 10, seed + 1)


@cache
def motions(seed: int = 0, *, train: int = 1200, side: int = 16) -> Data:
    """Two frames as channels: a spot goes up, down, left or right; another one stays."""
    n, random = train + 700, seeded(seed + 5800)
    y = torch.arange(n) % 4
    line = torch.linspace(-1, 1, side)
    step = torch.tensor([[-1.0, 0], [1, 0], [0, -1], [0, 1]])[y]
    step = step * (0.35 + 0.15 * torch.rand(n, 1, generator=random))
    at = 0.9 * torch.rand(n, 2, generator=random) - 0.45

    def spot(place: Tensor) -> Tensor:
        dy, dx = line[:, None] - place[:, :1, None], line - place[:, 1:, None]
        return (-(dy.square() + dx.square()) / 0.03).exp()

    idle = 0.5 * spot(1.6 * torch.rand(n, 2, generator=random) - 0.8)
    x = torch.stack([spot(at - step / 2) + idle, spot(at + step / 2) + idle], 1)
    x = 0.15 + 0.7 * x + 0.06 * torch.randn(x.shape, generator=random)
    return _split(x.clamp(0, 1), y, train, 300, seed + 1)


@cache
def lesions(seed: int = 0, *, train: int = 1200, side: int = 20, share: float = 0.5) -> Data:
    """Gray scans with clouds and a vessel; a `share` of them have a bright round spot, label 1."""
    n, random = train + 700, seeded(seed + 5900)
    y = (torch.rand(n, generator=random) < share).long()
    u, v = _frame(n, side, random, shift=0.5, turn=0.0, grow=(0.2, 0.3))
    spot = (4 * (1 - (u.square() + v.square()).sqrt())).sigmoid() * y[:, None, None]
    a, b = _frame(n, side, random, shift=0.4, turn=pi)
    vessel = (-((a + 0.2 * (4 * b).sin()) / 0.07).square()).exp()
    x = 0.35 + 0.07 * _pink(n, 1, side, random)[:, 0] + 0.25 * vessel + 0.35 * spot
    x = x + 0.03 * torch.randn(n, side, side, generator=random)
    return _split(x[:, None].clamp(0, 1), y, train, 300, seed + 1)


@cache
def boxes(seed: int = 0, *, train: int = 1200, side: int = 16) -> Data:
    """A bright colored rectangle on a dark textured ground; targets are its (cx, cy, w, h)."""
    n, random = train + 700, seeded(seed + 6000)
    size = 0.25 + 0.4 * torch.rand(n, 2, generator=random)
    middle = size / 2 + (1 - size) * torch.rand(n, 2, generator=random)
    line = (torch.arange(side) + 0.5) / side
    inside = lambda k: (line - middle[:, k, None]).abs() < size[:, k, None] / 2  # noqa: E731
    mask = (inside(1)[:, :, None] & inside(0)[:, None, :])[:, None].float()
    color = 0.5 + 0.5 * torch.rand(n, 3, 1, 1, generator=random)
    x = color * mask + (1 - mask) * 0.25 + 0.07 * _pink(n, 3, side, random)
    return _split(x.clamp(0, 1), torch.cat([middle, size], 1), train, 300, seed + 1)


@cache
def attributes(seed: int = 0, *, train: int = 1500, side: int = 16) -> Data:
    """Any of four attributes at once: a disc, a bar, a border, a light ground; multi-hot."""
    n, random = train + 700, seeded(seed + 6100)
    y = (torch.rand(n, 4, generator=random) < 0.45).float()
    u, v = _frame(n, side, random, shift=0.4, turn=0.0, grow=(0.25, 0.35))
    disc = (u.square() + v.square() < 1).float()
    a, _ = _frame(n, side, random, shift=0.4, turn=pi)
    bar = (a.abs() < 0.09).float()
    line = torch.arange(side)
    edge = (line < 1) | (line > side - 2)
    border = (edge[:, None] | edge[None]).float().expand(n, -1, -1)
    parts = torch.stack([0.45 * disc, -0.25 * bar, 0.35 * border, torch.full_like(disc, 0.15)])
    x = 0.3 + (parts * y.T[:, :, None, None]).sum(0) + 0.04 * _pink(n, 1, side, random)[:, 0]
    return _split(x[:, None].clamp(0, 1), y, train, 300, seed + 1)


@cache
def calls(seed: int = 0, *, train: int = 1200) -> Data:
    """Spectrograms, 24 bands by 20 frames: rising, falling, steady, warbling, clicks, chords."""
    n, random = train + 700, seeded(seed + 6200)
    y = torch.arange(n) % 6
    f, t = torch.arange(24.0)[None, :, None], torch.linspace(-1, 1, 20)[None, None]
    base = 7 + 10 * torch.rand(n, 1, 1, generator=random)
    slope = 3 + 3 * torch.rand(n, 1, 1, generator=random)
    phase = 2 * pi * torch.rand(n, 1, 1, generator=random)
    line = lambda center: (-((f - center) / 0.9).square()).exp()  # noqa: E731
    clicks = ((7 * t + phase).sin() > 0.85).float() * (f > 4)
    chord = line(base * 0.5) + line(base) + line(base * 1.5)
    kinds = [line(base - slope * t), line(base + slope * t), line(base + 0 * t)]
    kinds += [line(base + 2.5 * (8 * t + phase).sin()), clicks.expand(n, 24, 20), chord + 0 * t]
    x = 3 * _pick(kinds, y) * (0.7 + 0.6 * torch.rand(n, 1, 1, generator=random))
    x = x + 0.8 * torch.randn(n, 24, 20, generator=random) - 0.04 * f
    return _split(x[:, None], y, train, 300, seed + 1)


@cache
def beats(seed: int = 0, *, train: int = 1200, length: int = 48) -> Data:
    """One lead of a heart, (N, 1, time): ordinary, broad, with the last wave upside down, early."""
    n, random = train + 700, seeded(seed + 6300)
    y = torch.arange(n) % 4
    t = torch.linspace(0, 1, length)[None]
    start = 0.15 * torch.rand(n, 1, generator=random)

    def bump(at: float, width: Tensor | float, gain: float) -> Tensor:
        return gain * (-((t - start - at) / width).square()).exp()

    broad = torch.where(y == 1, 0.07, 0.025)[:, None]
    tail = torch.where(y == 2, -1.0, 1.0)[:, None]
    early = (y == 3).float()[:, None] * bump(0.68, 0.03, 0.9)
    x = bump(0.15, 0.04, 0.2) + bump(0.32, broad, 1.2) + tail * bump(0.52, 0.06, 0.4) + early
    drift = 0.2 * (2 * pi * (t + torch.rand(n, 1, generator=random))).sin()
    x = (0.8 + 0.4 * torch.rand(n, 1, generator=random)) * x + drift
    x = x + 0.08 * torch.randn(n, length, generator=random)
    return _split(x[:, None], y, train, 300, seed + 1)


@cache
def machines(seed: int = 0, *, train: int = 1200, length: int = 30) -> Data:
    """Two vibration sensors, (N, time, 2): idle, a slow wobble, a fast wobble, knocks, a drift."""
    n, random = train + 700, seeded(seed + 6400)
    y = torch.arange(n) % 5
    t = torch.linspace(0, 1, length)[None, :, None]
    phase = 2 * pi * torch.rand(n, 1, 2, generator=random)
    speed = 1 + 0.2 * torch.rand(n, 1, 1, generator=random)
    knocks = 2.5 * (torch.rand(n, length, 1, generator=random) < 0.12).expand(-1, -1, 2)
    up = (2 * torch.randint(0, 2, (n, 1, 1), generator=random) - 1) * (3 * t - 1.5)
    kinds = [0 * phase * t, (2 * pi * 2 * speed * t + phase).sin()]
    kinds += [(2 * pi * 6 * speed * t + phase).sin(), knocks.float(), up.expand(-1, -1, 2)]
    x = 1.2 * _pick(kinds, y) + 0.4 * torch.randn(n, length, 2, generator=random)
    return _split(x, y, train, 300, seed + 1)


@cache
def reviews(seed: int = 0, *, train: int = 1500, length: int = 20) -> Data:
    """Tokens of 40 words, padded with 0: more bad words, more facts, or more good words."""
    n, random = train + 700, seeded(seed + 6500)
    y = torch.arange(n) % 3
    x = torch.randint(25, 40, (n, length), generator=random)
    own = 1 + 8 * y[:, None] + torch.randint(0, 8, (n, length), generator=random)
    other = torch.randint(1, 25, (n, length), generator=random)
    chance = torch.rand(n, length, generator=random)
    x = torch.where(chance < 0.3, own, torch.where(chance < 0.45, other, x))
    end = torch.randint(8, length + 1, (n, 1), generator=random)
    return _split(x.masked_fill(torch.arange(length) >= end, 0), y, train, 300, seed + 1)


@cache
def songs(seed: int = 0, *, train: int = 1200, length: int = 24) -> Data:
    """Scales of twelve tones in steps of one, two, five or seven, with leaps; what comes next."""
    n, random = train + 700, seeded(seed + 6600)
    step = torch.tensor([1, 2, 5, 7])[torch.randint(0, 4, (n, 1), generator=random)]
    leap = torch.rand(n, length + 1, generator=random) < 0.18
    leaps = torch.randint(0, 12, (n, length + 1), generator=random)
    tones = torch.where(leap, leaps, step).cumsum(1) % 12
    return _split(tones[:, :-1], tones[:, 1:], train, 300, seed + 1)


@cache
def houses(seed: int = 0, *, train: int = 2000) -> Data:
    """Twelve related columns in their own units; four price bands."""
    n, random = train + 700, seeded(seed + 6700)
    mix = torch.randn(12, 12, generator=seeded(6701)) * 0.25 + torch.eye(12)
    z = torch.randn(n, 12, generator=random)
    score = z[:, 0] + 0.8 * z[:, 1] * z[:, 2].tanh() + 0.7 * z[:, 3].abs() + 0.5 * z[:, 4]
    score = score + 0.1 * torch.randn(n, generator=random)
    y = torch.bucketize(score, score.quantile(torch.tensor([0.25, 0.5, 0.75])))
    units = torch.tensor([35, 12, 1, 0.5, 800, 3, 1, 20, 5, 0.1, 1, 100.0])
    return _split((z @ mix) * units + 3 * units, y, train, 300, seed + 1)


@cache
def molecules(seed: int = 0, *, train: int = 1200, nodes: int = 12) -> Data:
    """Weights of bonds, (N, 12, 12), nodes in any order: ring, star, path, two cliques, comb."""
    n, random = train + 700, seeded(seed + 6800)
    y = torch.arange(n) % 5
    size = torch.randint(8, nodes + 1, (n,), generator=random).tolist()
    x = torch.zeros(n, nodes, nodes)
    for graph, kind, count in zip(x, y.tolist(), size, strict=True):
        if kind in (0, 2):
            pairs = [(i, i + 1) for i in range(count - 1)] + [(0, count - 1)] * (kind == 0)
        elif kind == 1:
            pairs = [(0, i) for i in range(1, count)]
        elif kind == 3:
            half = count // 2
            pairs = [(i, j) for i in range(count) for j in range(i) if (i < half) == (j < half)]
        else:
            half = count // 2
            pairs = [(i, i + 1) for i in range(half - 1)] + [(i, half + i) for i in range(half)]
        order = torch.randperm(nodes, generator=random).tolist()
        for i, j in pairs:
            graph[order[i], order[j]] = graph[order[j], order[i]] = 1
    length = 0.85 + 0.3 * torch.rand(n, nodes, nodes, generator=random)
    x = x * (length + length.mT) / 2
    return _split(x, y, train, 300, seed + 1)


@cache
def solids(seed: int = 0, *, train: int = 1200, points: int = 32) -> Data:
    """Points, (N, 32, 3), on a sphere, a cube, a cylinder or a cone, turned about the vertical."""
    n, random = train + 700, seeded(seed + 6900)
    y = torch.arange(n) % 4
    ball = torch.randn(n, points, 3, generator=random)
    cube = ball / ball.abs().amax(2, keepdim=True) * 0.8
    ball = ball / ball.norm(dim=2, keepdim=True)
    angle = 2 * pi * torch.rand(n, points, generator=random)
    height = 2 * torch.rand(n, points, generator=random) - 1
    wide = lambda r: torch.stack([r * angle.cos(), r * angle.sin(), height], 2)  # noqa: E731
    x = _pick([ball, cube, wide(0.7 * torch.ones_like(height)), wide((1 - height) / 2)], y)
    turn = 2 * pi * torch.rand(n, 1, generator=random)
    east = x[..., 0] * turn.cos() - x[..., 1] * turn.sin()
    north = x[..., 0] * turn.sin() + x[..., 1] * turn.cos()
    x = torch.stack([east, north, x[..., 2]], 2) * (
        0.8 + 0.4 * torch.rand(n, 1, 1, generator=random)
    )
    return _split(x + 0.04 * torch.randn(x.shape, generator=random), y, train, 300, seed + 1)


@cache
def arms(seed: int = 0, *, train: int = 1500) -> Data:
    """Two joints' angles; targets are where the hand is, (N, 2)."""
    n, random = train + 700, seeded(seed + 7000)
    a, b = (2 * torch.rand(2, n, generator=random) - 1) * torch.tensor([[pi], [2.2]])
    hand = torch.stack([a.cos() + 0.7 * (a + b).cos(), a.sin() + 0.7 * (a + b).sin()], 1)
    x = torch.stack([a.sin(), a.cos(), b.sin(), b.cos()], 1)
    return _split(x, hand + 0.02 * torch.randn(n, 2, generator=random), train, 300, seed + 1)


def standard(data: Data) -> Data:
    """Less the training mean of each channel or column (axis 1), over its deviation."""
    dims = [d for d in range(data.x.ndim) if d != 1]
    mean, std = data.x.mean(dims, keepdim=True), data.x.std(dims, keepdim=True)
    return data.mapped(lambda x: (x - mean) / std)


def relabelled(data: Data, change: Tensor) -> Data:
    """Class k becomes change[k] in every split."""
    return data.but(y=change[data.y], val_y=change[data.val_y], test_y=change[data.test_y])

"""Max pooling with random regions that shrink a map by less than half, say by sqrt(2).

    f(x, z)_ij = max of x over rows z_i .. z_(i+1) and columns z'_j .. z'_(j+1)

z are increasing sequences with steps 1 and 2, drawn anew for every image and for rows and columns
apart. `law = "random"` permutes the needed ones and twos; `"pseudorandom"` takes
a_i = ceil(ratio * (i + u)), so that steps are spread evenly. Regions share their borders when
`overlapping` (2 or 3 pixels wide), as the paper prefers, and else are disjoint (1 or 2 wide) and
cover the map exactly.

At test time the exact average over all regions is used: it is a sum of plain max poolings with
windows of the few possible sizes, weighted by how probable each region is. So evaluation is
deterministic and exact up to the next nonlinearity. The paper averages whole nets over several
passes; `predict(model, images, samples=12)` does that. (torch's own FractionalMaxPool2d stays
random in evaluation and knows only windows of fixed size.)

Put in the place of every 2 x 2 max pooling it makes the maps larger, so a model needs more of
them or a global pooling before its head. Not where the map must keep its grid (detection).

Source: Graham 2014, arXiv:1412.6071. Lecture: Regularization, Fractional Max Pooling.
"""

from functools import lru_cache
from math import comb
from typing import Annotated, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from goodfit.errors import ModelError, RecipeError
from goodfit.layers._base import Changed, Insertion, StochasticLayer
from goodfit.layers._swap import no_place, replace

Law = Literal["random", "pseudorandom"]


class Regions(NamedTuple):
    """Where the pooling regions of every image begin; the last entry is where the last one ends."""

    rows: Int[Tensor, "n out_h+1"]
    columns: Int[Tensor, "n out_w+1"]


class FractionalMaxPool2d(StochasticLayer):
    """Fractional max pooling of maps (n, c, h, w) by `ratio` in (1, 2)."""

    def __init__(
        self, ratio: float = 2**0.5, *, law: Law = "pseudorandom", overlapping: bool = True
    ) -> None:
        super().__init__()
        if not 1 < ratio < 2 or law not in ("random", "pseudorandom"):
            raise RecipeError(
                f"fractional-max-pool cannot have ratio = {ratio!r}, law = {law!r}",
                wanted='a ratio above 1 and below 2; a law "random" or "pseudorandom"',
                fix="the paper's choice is ratio = 1.414",
            )
        self.ratio, self.law, self.overlapping = ratio, law, overlapping

    def size(self, pixels: int) -> int:
        """How many regions a side of `pixels` is divided into. Raises ModelError for one pixel."""
        total = pixels - self.overlapping  # what the steps must add up to
        if total < 1:
            raise ModelError(
                "the map is too small for fractional max pooling",
                seen=f"{pixels} pixel",
                fix="use fewer poolings, or larger images",
            )
        return min(max(int(pixels / self.ratio), (total + 1) // 2), total)

    def draw(self, x: Float[Tensor, "n c h w"]) -> Regions:
        return Regions(*(self._edges(len(x), side, x.device) for side in x.shape[-2:]))

    def _edges(self, count: int, pixels: int, device: torch.device) -> Int[Tensor, "n out+1"]:
        total, out = pixels - self.overlapping, self.size(pixels)
        if self.law == "pseudorandom":
            start = torch.randint(total, (count, 1), device=device)
            return _even(torch.arange(out + 1, device=device), start, total, out)
        twos = torch.rand(count, out, device=device).argsort(1) < total - out
        return F.pad((twos + 1).cumsum(1), (1, 0))

    def given(self, x: Float[Tensor, "n c h w"], z: Regions) -> Float[Tensor, "n c out_h out_w"]:
        with torch.no_grad():
            tall, down = _pooled(x, z.rows, self.overlapping)
            _, right = _pooled(tall.mT, z.columns, self.overlapping)
            column = z.columns[:, None, None, :-1] + right.mT
            row = z.rows[:, None, :-1, None] + down.gather(3, column)
            place = row.mul_(x.shape[3]).add_(column)  # of each region's largest pixel
        return x.flatten(2).gather(2, place.flatten(2)).view_as(place)

    def expect(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c out_h out_w"]:
        rows, columns = (
            chances(side, self.size(side), self.law, self.overlapping) for side in x.shape[-2:]
        )
        result = x.new_zeros(())
        for height, of_rows in rows.items():
            tall = _sliding(x, height).mT  # (n, c, w, starts)
            for width, of_columns in columns.items():
                windows = _sliding(tall, width) @ of_rows.to(x).mT
                result = result + windows.mT @ of_columns.to(x).mT
        return result

    def extra_repr(self) -> str:
        return f"ratio={self.ratio:.4g}, law={self.law!r}, overlapping={self.overlapping}"


def _even(i: Tensor, start: Tensor, total: int, out: int) -> Tensor:
    """ceil(ratio * (i + u)) - ceil(ratio * u), ratio = total / out and u = (start + 1/2) / total.

    u in between gives the same sequences, so `total` equally likely starts are the whole law.
    """
    return (total * i + start) // out - start // out


def _sliding(x: Tensor, size: int) -> Tensor:
    """The largest of every `size` neighboring rows."""
    largest = x
    for shift in range(1, size):
        largest = torch.maximum(largest[..., :-1, :], x[..., shift:, :])
    return largest


def _pooled(x: Tensor, edges: Tensor, overlapping: bool) -> tuple[Tensor, Tensor]:
    """The largest of each region of rows, and how far below its first row; `edges` (n, out + 1)."""
    n, c, h, w = x.shape
    flat = x.reshape(n * c * h, w)
    base = torch.arange(n * c, device=x.device).view(n, c, 1) * h
    first, last = edges[:, :-1], edges[:, 1:] - (0 if overlapping else 1)

    def rows(at: Tensor) -> Tensor:  # whole rows, which copies fast
        return flat.index_select(0, (base + at[:, None]).flatten())

    largest, other = rows(first), rows(first + 1 if overlapping else last)
    step = (other > largest).to(torch.uint8)
    largest = torch.maximum(largest, other)
    if overlapping:
        other = rows(last)
        step = torch.where(other > largest, torch.full_like(step, 2), step)
        largest = torch.maximum(largest, other)
    return largest.view(n, c, -1, w), step.view(n, c, -1, w)


@lru_cache(maxsize=256)
def chances(pixels: int, out: int, law: Law, overlapping: bool) -> dict[int, Tensor]:
    """For each length of a region: the probability (out, start) that region i is so and there."""
    total, lengths = pixels - overlapping, (1 + overlapping, 2 + overlapping)
    chance = {size: torch.zeros(out, pixels, dtype=torch.float64) for size in lengths}
    if law == "pseudorandom":
        edges = _even(torch.arange(out + 1), torch.arange(total)[:, None], total, out)
        for begin, step in zip(edges[:, :-1], edges.diff(dim=1), strict=True):
            for size in lengths:
                hit = (step + overlapping == size).nonzero()[:, 0]
                chance[size][hit, begin[hit]] += 1 / total  # every region occurs once in hit
    else:
        twos = total - out
        for i in range(out):
            for used in range(max(0, twos - (out - i)), min(i, twos) + 1):
                # `used` of the first i steps are twos: hypergeometric
                here = comb(i, used) * comb(out - i, twos - used) / comb(out, twos)
                two = (twos - used) / (out - i)
                chance[lengths[0]][i, i + used] = here * (1 - two)
                chance[lengths[1]][i, i + used] = here * two
    return {size: c[:, : pixels - size + 1] for size, c in chance.items() if pixels >= size}


class FractionalMaxPoolInsertion(Insertion):
    ratio: Annotated[float, Field(gt=1, lt=2)] = 2**0.5
    law: Law = "pseudorandom"
    overlapping: bool = True

    def __call__(self, model: nn.Module) -> Changed:
        places, refused = [], []
        for name, pool in list(model.named_modules()):
            if not isinstance(pool, nn.MaxPool2d):
                continue
            stride = pool.stride if isinstance(pool.stride, int) else max(pool.stride)
            if stride != 2 or pool.return_indices or not name:
                refused.append((name or "the model", f"its stride is {stride}, not 2"))
                continue
            new = FractionalMaxPool2d(self.ratio, law=self.law, overlapping=self.overlapping)
            replace(model, name, new.train(pool.training))
            places.append(name)
        if not places:
            fix = "take a model that pools by nn.MaxPool2d(2), such as vgg"
            raise no_place(model, "max pooling with stride 2", tuple(refused), fix)
        return Changed(tuple(places), tuple(refused))

"""Test-time views: the same image seen in several ways, with weights. Their names multiply.

| view       | weights and pictures                                                          |
|------------|-------------------------------------------------------------------------------|
| center     | the image, or its central `size` * `size` where it is larger                  |
| flip       | half the image, half its mirror image                                         |
| shift      | half the image, a quarter each moved by a pixel up-left and down-right        |
| ten-crop   | corners and center, and their mirror images, a tenth each                     |
| five-scale | whole images with short sides of 1, 8/7, 12/7, 15/7 and 20/7 times `size`     |

ten-crop needs images larger than `size`, 256 for 224 in the paper; when all are exactly `size`, it
enlarges them by 8/7 first. Crops that coincide are evaluated once with their weights added.
five-scale is for nets that take any size: 224, 256, 384, 480 and 640 pixels for 224.

"shift*flip" is every shift of an image and its mirror image: six forward passes. A view of one's
own is any function (batch, size) → [(weight, batch)].

Source: Krizhevsky et al. 2012 (ten crops); He et al. 2015, arXiv:1512.03385, section 3.4 (both
protocols); K. Jordan 2024, arXiv:2404.00498 (shift). Lecture: Data augmentation, testing.
"""

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from goodfit.augment import View
from goodfit.batch import Batch, as_float
from goodfit.errors import RecipeError

Views = Callable[[Batch, int | None], list[View]]  # the int: side in pixels the net was trained on


def center(batch: Batch, size: int | None) -> list[View]:
    """The image, or its central part of `size` where that is smaller."""
    h, w = batch.images.shape[-2:]
    a, b = min(h, size or h), min(w, size or w)
    return [(1.0, _crop(batch, (h - a) // 2, (w - b) // 2, a, b))]


def flip(batch: Batch, size: int | None) -> list[View]:  # noqa: ARG001
    """The image and its mirror image."""
    return [(0.5, batch), (0.5, batch.with_images(batch.images.flip(-1)))]


def shift(batch: Batch, size: int | None) -> list[View]:  # noqa: ARG001
    """The image, and moved by one pixel up-left and down-right, reflected at the border."""
    h, w = batch.images.shape[-2:]
    rows, cols = (torch.arange(s, device=batch.images.device) for s in (h, w))

    def reflected(place: Tensor, last: int) -> Tensor:
        return (last - (last - place.abs()).abs()).clamp_min(0)

    def moved(by: int) -> Batch:
        kept = batch.images[:, :, reflected(rows + by, h - 1)]
        return batch.with_images(kept[..., reflected(cols + by, w - 1)])

    return [(0.5, batch), (0.25, moved(1)), (0.25, moved(-1))]


def ten_crop(batch: Batch, size: int | None) -> list[View]:
    """Four corners and the center, each with its mirror image; coinciding ones merged."""
    h, w = batch.images.shape[-2:]
    a, b = (size, size) if size else (h, w)
    if (h, w) == (a, b):
        batch = _resized(batch, round(h * 8 / 7), round(w * 8 / 7))
    elif h < a or w < b:
        grow = max(a / h, b / w)
        batch = _resized(batch, max(a, round(h * grow)), max(b, round(w * grow)))
    down, right = batch.images.shape[-2] - a, batch.images.shape[-1] - b
    places = [*product((0, down), (0, right)), (down // 2, right // 2)]
    weights = {place: places.count(place) / len(places) for place in places}
    return [
        (share * half, view)
        for (top, left), share in weights.items()
        for half, view in flip(_crop(batch, top, left, a, b), None)
    ]


def five_scale(batch: Batch, size: int | None) -> list[View]:
    """The whole image at five scales, for nets that take any size."""
    h, w = batch.images.shape[-2:]
    made = []
    for scale in (1, 8 / 7, 12 / 7, 15 / 7, 20 / 7):
        grow = (size or min(h, w)) * scale / min(h, w)
        made.append((0.2, _resized(batch, round(h * grow), round(w * grow))))
    return made


VIEWS: dict[str, Views] = {
    "center": center,
    "flip": flip,
    "shift": shift,
    "ten-crop": ten_crop,
    "five-scale": five_scale,
}
_FLIPS = {"flip": ("flip", "alternating-flip"), "ten-crop": ("flip", "alternating-flip")}


def steps_of(views: str | Sequence[str | Views] | None) -> tuple[list[Views], set[str]]:
    """The functions that `views` means, and the names of the changes they average over."""
    asked = [views] if isinstance(views, str) else list(views or ())
    parts = [p.strip() for v in asked if isinstance(v, str) for p in v.split("*")]
    parts = ["center" if part == "centre" else part for part in parts]
    for part in parts:
        if part not in VIEWS:
            close = get_close_matches(part, VIEWS, n=1)
            raise RecipeError(
                f"no view is called {part!r}",
                known=", ".join(VIEWS),
                fix=f"write {close[0]!r}" if close else "choose one of these, or a product a*b",
            )
    own = [view for view in asked if not isinstance(view, str)]
    return [VIEWS[part] for part in parts] + own, {c for p in parts for c in _FLIPS.get(p, ())}


def _crop(batch: Batch, top: int, left: int, height: int, width: int) -> Batch:
    return batch.with_images(batch.images[..., top : top + height, left : left + width])


def _resized(batch: Batch, height: int, width: int) -> Batch:
    """Bilinear, and antialiased where the image shrinks; uint8 stays uint8."""
    images = batch.images if batch.images.device.type == "cpu" else as_float(batch.images)
    images = F.interpolate(
        images, (height, width), mode="bilinear", align_corners=False, antialias=True
    )
    return batch.with_images(images)


def then(made: list[View], step: Callable[[Batch], list[View]]) -> list[View]:
    """Every view so far, seen in every way of `step`; the weights multiply."""
    return [(w * v, b) for w, a in made for v, b in step(a) if v > 0]

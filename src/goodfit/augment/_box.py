"""Windows of images: moved and mirrored ones are copied, scaled ones resampled.

The copy is the fastest there is without a kernel of one's own: the padded images are seen as all
their windows of one row's length, overlapping in memory, and whole rows are picked from these.
Scaling filters as Pillow and torchvision do: a triangle as wide as a result's pixel in the source
(antialiasing when shrinking), cut off at the edge of the window.
"""

from collections.abc import Sequence
from math import ceil
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from goodfit.augment import by_sample
from goodfit.augment._levels import as_levels
from goodfit.augment._warp import Border, matrix
from goodfit.batch import Images
from goodfit.errors import RecipeError

_BY_ANTIALIAS = {
    True: torch.ops.aten._upsample_bilinear2d_aa,
    False: torch.ops.aten.upsample_bilinear2d,
}  # F.interpolate does not take the size and the scale
_LARGE = 64 * 64  # pixels of a result
Kind = Literal["flip", "shift", "scale"]


class Box(NamedTuple):
    """A window of every image, in pixels, and the size at which it is shown.

    kind: what may happen: "flip" mirrors whole images; "shift" moves by whole pixels, at most
        `reach` beyond the edge, and may mirror; "scale" resamples windows inside the image.
    """

    top: Shaped[Tensor, " n"]
    left: Shaped[Tensor, " n"]
    height: Shaped[Tensor, " n"]
    width: Shaped[Tensor, " n"]
    mirrored: Bool[Tensor, " n"] | None  # left and right exchanged, inside the window
    size: tuple[int, int]
    kind: Kind
    reach: tuple[int, int] = (0, 0)
    antialias: bool = True

    def then(self, second: "Box") -> "Box | None":
        """This box, then another one in its result; None if one box cannot say it."""
        if second.kind == "flip":
            return self._replace(mirrored=_either(self.mirrored, second.mirrored))
        if self.kind == "scale":
            return None
        left = second.left
        if self.mirrored is not None:
            left = torch.where(self.mirrored, self.width - left - second.width, left)
        return second._replace(
            top=self.top + second.top,
            left=self.left + left,
            mirrored=_either(self.mirrored, second.mirrored),
            reach=(self.reach[0] + second.reach[0], self.reach[1] + second.reach[1]),
        )


def _either(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a ^ b


def flip_box(mirrored: Bool[Tensor, " n"], size: tuple[int, int]) -> Box:
    """Whole images, mirrored where said."""
    zero = torch.zeros_like(mirrored, dtype=torch.int64)
    return Box(zero, zero, zero + size[0], zero + size[1], mirrored, size, "flip")


def shift_box(top: Tensor, left: Tensor, size: tuple[int, int], reach: tuple[int, int]) -> Box:
    """Windows of `size` pixels whose corner is at (top, left)."""
    height, width = (torch.full_like(top, side) for side in size)
    return Box(top, left, height, width, None, size, "shift", reach)


def matrix_of(box: Box) -> Float[Tensor, "n 3 3"]:
    """The box as a map of the plane: a result's pixel to its place in the source."""
    down, right = box.height / box.size[0], box.width / box.size[1]
    left = box.left.to(right.dtype)
    if box.mirrored is not None:
        left = torch.where(box.mirrored, left + box.width, left)
        right = torch.where(box.mirrored, -right, right)
    return matrix(xx=right, x=left, yy=down, y=box.top.to(down.dtype))


def boxed(images: Images, box: Box, border: Border) -> Images:
    """The box of every image. The dtype stays: bytes are copied, or resampled and rounded."""
    if box.kind == "scale":
        return _scaled(images, box)
    if torch.compiler.is_compiling():
        return lookup(box, (images.shape[-2], images.shape[-1]), border)(images)
    if box.kind == "shift":
        return _shifted(images, box, border)
    return images if box.mirrored is None else _mirrored(images, box.mirrored)


def _shifted(images: Images, box: Box, border: Border) -> Images:
    n, c, h, w = images.shape
    rows, columns = box.size
    _refuse_too_far(box.reach, (h, w), border)
    known = _wider(images, box.reach, border)
    high, wide = known.shape[-2:]
    row = box.top[:, None] + torch.arange(rows, device=images.device)
    if border == "zeros":
        row = row + box.reach[0]
    elif box.reach[0]:
        row = _within(row, h, border)
    channel = torch.arange(0, n * c * high, high, device=images.device).view(n, c, 1)
    start = (box.left + box.reach[1])[:, None, None]
    index = (channel + row[:, None]) * wide + start  # (n, c, rows): where each row begins
    windows = known.as_strided((known.numel() - columns + 1, columns), (1, 1))
    result = windows.index_select(0, index.view(-1)).view(n, c, rows, columns)
    return result if box.mirrored is None else _mirrored(result, box.mirrored)


class Lookup(NamedTuple):
    """A box that shifts or mirrors, as the source's row and column of every pixel of the result.

    A compiler makes one loop of reading by it, if these small tables are there before.
    """

    rows: Int[Tensor, "n h"]
    columns: Int[Tensor, "n w"]
    seen: tuple[Bool[Tensor, "n h"], Bool[Tensor, "n w"]] | None  # not beyond the edge; None: all

    def __call__(self, images: Images) -> Images:
        n, c, _, w = images.shape
        h_, w_ = self.rows.shape[1], self.columns.shape[1]
        found = images.gather(2, self.rows[:, None, :, None].expand(n, c, h_, w))
        found = found.gather(3, self.columns[:, None, None, :].expand(n, c, h_, w_))
        if self.seen is None:
            return found
        rows, columns = self.seen
        return torch.where(rows[:, None, :, None] & columns[:, None, None, :], found, 0)


def lookup(box: Box, size: tuple[int, int], border: Border) -> Lookup:
    """The box, which does not scale, in images of `size`."""
    (h, w), device = size, box.top.device
    _refuse_too_far(box.reach, size, border)
    rows, columns = (torch.arange(side, device=device) for side in box.size)
    if box.mirrored is not None:
        columns = torch.where(box.mirrored[:, None], box.size[1] - 1 - columns, columns)
    y, x = box.top[:, None] + rows, box.left[:, None] + columns
    seen = ((y >= 0) & (y < h), (x >= 0) & (x < w)) if border == "zeros" else None
    return Lookup(_within(y, h, border), _within(x, w, border), seen)


def _within(place: Tensor, side: int, border: Border) -> Tensor:
    """Rows or columns of the image that stand for places up to a side beyond it."""
    if border == "reflect":
        return (side - 1) - (side - 1 - place.abs()).abs()
    return place.clamp(0, side - 1)


def _mirrored(images: Images, mirrored: Bool[Tensor, " n"]) -> Images:
    if _large(images, images.shape[-2:]):  # one mirrored image stays in the cache until it is put
        pairs = zip(images.unbind(), mirrored.tolist(), strict=True)
        return torch.stack([image.flip(-1) if yes else image for image, yes in pairs])
    return by_sample(mirrored, images.flip(-1), images, spend=True)


def _large(images: Images, size: Sequence[int]) -> bool:
    """Whether results of this size are worth a loop over the images: on a CPU it costs little."""
    return images.device.type == "cpu" and len(images) > 0 and size[0] * size[1] >= _LARGE


def _wider(images: Images, reach: tuple[int, int], border: Border) -> Images:
    """The images, contiguous, with more columns on both sides; with more rows, too, if zeros."""
    down, right = reach
    if border == "zeros" and (down or right):
        return F.pad(images, (right, right, down, down)).contiguous()
    if not right:
        return images.contiguous()
    w = images.shape[-1]
    if border == "edge":
        before, after = images[..., :1], images[..., w - 1 :]
        sides = (before.expand(*before.shape[:3], right), after.expand(*after.shape[:3], right))
    else:
        mirrored = images.flip(-1)  # torch is slow where rows are as short as the sides
        sides = mirrored[..., w - right - 1 : w - 1], mirrored[..., 1 : right + 1]
    return torch.cat([sides[0], images, sides[1]], dim=-1).contiguous()


def _refuse_too_far(reach: tuple[int, int], size: tuple[int, int], border: Border) -> None:
    h, w = size
    if border == "reflect" and (reach[0] >= h or reach[1] >= w):
        raise RecipeError(
            "a reflecting border must be narrower than the image",
            border=f"{reach[0]} rows, {reach[1]} columns",
            image=f"{h} x {w} pixels",
            fix="reach less far, or write border = 'zeros' or 'edge'",
        )


def _scaled(images: Images, box: Box) -> Images:
    kept, (h, w), (rows, columns) = images.dtype, images.shape[-2:], box.size
    if _large(images, box.size):
        if torch.compiler.is_compiling():  # it would write out the loop
            # Not a decorator: that loads torch's compiler whenever goodfit is imported.
            one_by_one: Images = torch.compiler.disable(_in_turn)(images, box)  # type: ignore[no-untyped-call]
            return one_by_one
        return _in_turn(images, box)
    source = images if images.is_floating_point() else images.float()
    if rows >= h and columns >= w:  # nothing can shrink: two taps will do
        result = _magnified(source, box)
    else:
        down = _weights(box.top, box.height, rows, h, box.antialias).to(source.dtype)[:, None]
        right = _weights(box.left, box.width, columns, w, box.antialias).to(source.dtype)
        if box.mirrored is not None:
            right = torch.where(box.mirrored[:, None, None], right.flip(1), right)
        right = right.mT[:, None]
        if rows * w * (h + columns) <= h * columns * (w + rows):
            result = torch.matmul(torch.matmul(down, source), right)
        else:
            result = torch.matmul(down, torch.matmul(source, right))
    return result if kept.is_floating_point else as_levels(result)


def _in_turn(images: Images, box: Box) -> Images:
    """One image after the other, by torch's kernel for the CPU, which takes one window at a time.

    For results this large the loop itself costs a twentieth, and the kernel is twice as fast as
    what works for whole batches.
    """
    resize = _BY_ANTIALIAS[box.antialias].out
    result = images.new_empty(*images.shape[:2], *box.size)
    mirrored = [False] * len(images) if box.mirrored is None else box.mirrored.tolist()
    windows = zip(*(part.tolist() for part in box[:4]), mirrored, strict=True)
    for i, (top, left, height, width, mirror) in enumerate(windows):
        window = images[i : i + 1, :, top : top + ceil(height), left : left + ceil(width)]
        scales, shown = (box.size[0] / height, box.size[1] / width), result[i : i + 1]
        if window.shape[2:].numel() == 1:  # of which torch's kernel for bytes makes an error
            shown.copy_(window.expand_as(shown))
            continue
        resize(window.contiguous(), box.size, False, *scales, out=shown)
        if mirror:
            shown.copy_(shown.flip(-1))
    return result


def _magnified(source: Images, box: Box) -> Images:
    x = _centers(box.left, box.width, box.size[1])
    y = _centers(box.top, box.height, box.size[0])
    if box.mirrored is not None:
        x = torch.where(box.mirrored[:, None], x.flip(1), x)
    x = x * (2 / source.shape[-1]) - 1
    y = y * (2 / source.shape[-2]) - 1
    grid = torch.stack(
        [x[:, None].expand(-1, *box.size), y[:, :, None].expand(-1, *box.size)], dim=1
    )
    grid = grid.permute(0, 2, 3, 1).to(source.dtype)
    return F.grid_sample(source, grid, padding_mode="border", align_corners=False)


def _centers(start: Tensor, length: Tensor, size: int) -> Float[Tensor, "n size"]:
    """Where the results' centers lie in the source, never beyond the window's last centers."""
    start, length = start.float()[:, None], length.float()[:, None]
    out = torch.arange(size, device=start.device) + 0.5
    at = start + out * (length / size)
    return at.clamp(start + 0.5, (start + length).ceil() - 0.5)


def _weights(
    start: Tensor, length: Tensor, size: int, side: int, antialias: bool
) -> Float[Tensor, "n size side"]:
    """How much each of `side` source pixels counts in each of `size` results: a triangle."""
    at = _centers(start, length, size) if not antialias else None
    start, length = start.float()[:, None, None], length.float()[:, None, None]
    source = torch.arange(side, device=start.device) + 0.5
    if at is not None:
        weight = (1 - (source - at[:, :, None]).abs()).clamp_min(0)
        return weight / weight.sum(-1, keepdim=True)
    step = length / size
    out = torch.arange(size, device=start.device)[:, None] + 0.5
    weight = (1 - (source - (start + out * step)).abs() / step.clamp_min(1)).clamp_min(0)
    weight = weight * ((source > start) & (source < (start + length).ceil()))
    return weight / weight.sum(-1, keepdim=True)

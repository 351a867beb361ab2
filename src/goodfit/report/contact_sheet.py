"""A picture of what augmentation does: the same images under each change and under all of them.

One row per image, one column per change, the first as they are and the last under the whole
pipeline. Draws are those of training, by the changes' names, so the last column is what a net
would see of these samples in this epoch.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from goodfit.augment.pipeline import Change, Pipeline, names_of
from goodfit.batch import Batch
from goodfit.errors import RunError

_GAP, _MARGIN, _LINE = 8, 20, 17  # pixels
_PAPER, _INK, _FAINT, _FRAME = (252, 252, 250), (32, 32, 36), (112, 112, 120), (220, 220, 216)
_LABEL = 144  # pixels of a row's label, at most
_SHEET = 40_000_000  # pixels, at most


class Column(NamedTuple):
    """One column: its heading, a smaller line under it, and its images."""

    heading: str
    note: str
    pictures: list[Image.Image]


def contact_sheet(
    batch: Batch,
    changes: Sequence[Change],
    path: Path | str,
    *,
    names: Sequence[str] = (),
    decoded: Batch | None = None,
    seed: int = 0,
    side: int = 120,
) -> Path:
    """Write a PNG of the batch's images under each change alone and under all together.

    names: one label per image (its class or its file), written beside its row.
    decoded: the same samples after the first change, where decoding has made it already.
    side: pixels of the longer side of each picture.
    Raises RunError when the file cannot be written, or when the sheet would be enormous.
    """
    columns = _columns(batch, changes, seed, side, decoded)
    left = _label_width(names)
    width, height = _size(columns, left, side)
    if width * height > _SHEET:
        raise RunError(
            "the contact sheet would be too large",
            size=f"{width} x {height} pixels",
            fix="show fewer images, or smaller ones",
        )
    sheet = _drawn(columns, names, left, side, (width, height))
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path, format="PNG")
    except OSError as error:
        raise RunError(
            "the contact sheet cannot be written",
            at=str(path),
            seen=str(error),
            fix="name a file in a directory that you may write to",
        ) from error
    return path


def _columns(
    batch: Batch, changes: Sequence[Change], seed: int, side: int, decoded: Batch | None = None
) -> list[Column]:
    columns = [Column("original", _size_of(batch), pictures(batch.images, side))]
    for place, (change, name) in enumerate(zip(changes, names_of(changes), strict=True)):
        done = decoded if place == 0 else None
        alone = Pipeline([change], seed, names=[name])(batch) if done is None else done
        columns.append(Column(name, _note(change), pictures(alone.images, side)))
    if len(changes) > 1:
        rest = changes if decoded is None else changes[1:]
        together = Pipeline(rest, seed)(batch if decoded is None else decoded)
        columns.append(Column("all of them", _size_of(together), pictures(together.images, side)))
    return columns


def _size_of(batch: Batch) -> str:
    return f"{batch.images.shape[-1]} x {batch.images.shape[-2]}"


def _note(change: Change) -> str:
    """How often the change applies, where that is not always."""
    prob = getattr(change, "prob", 1.0)
    return "" if prob == 1 else f"prob {prob:g}"


def pictures(images: Tensor, side: int) -> list[Image.Image]:
    """Images as RGB pictures with a longer side of `side`; small ones keep their pixels visible."""
    images = images.detach().cpu()
    if images.is_floating_point():
        images = images.clamp(0, 1).mul(255).round().to(torch.uint8)
    if images.shape[1] != 3:  # gray, gray with alpha, or color with alpha
        images = images[:, :3] if images.shape[1] > 3 else images[:, :1].expand(-1, 3, -1, -1)
    h, w = images.shape[-2:]
    scale = side / max(h, w)
    size = max(1, round(w * scale)), max(1, round(h * scale))
    sampler = Image.Resampling.NEAREST if scale > 2 else Image.Resampling.LANCZOS
    arrays = images.permute(0, 2, 3, 1).contiguous().numpy()
    return [Image.fromarray(array).resize(size, sampler) for array in arrays]


def _label_width(names: Sequence[str]) -> int:
    font = ImageFont.load_default(size=14)
    return min(_LABEL, max((round(font.getlength(name)) + 2 * _GAP for name in names), default=0))


def _size(columns: list[Column], left: int, side: int) -> tuple[int, int]:
    width = 2 * _MARGIN + left + len(columns) * (side + _GAP) - _GAP
    rows = len(columns[0].pictures)
    return width, 2 * _MARGIN + 2 * _LINE + _GAP + rows * (side + _GAP) - _GAP


def _drawn(
    columns: list[Column], names: Sequence[str], label: int, side: int, size: tuple[int, int]
) -> Image.Image:
    sheet = Image.new("RGB", size, _PAPER)
    pen = ImageDraw.Draw(sheet)
    font, small = ImageFont.load_default(size=14), ImageFont.load_default(size=12)
    left = _MARGIN + label
    top = _MARGIN + 2 * _LINE + _GAP
    for place, column in enumerate(columns):
        x = left + place * (side + _GAP)
        _write(pen, (x, _MARGIN), column.heading, font, _INK, side)
        _write(pen, (x, _MARGIN + _LINE), column.note, small, _FAINT, side)
        for row, picture in enumerate(column.pictures):
            y = top + row * (side + _GAP)
            pen.rectangle((x, y, x + side - 1, y + side - 1), fill=_FRAME)
            inset = x + (side - picture.width) // 2, y + (side - picture.height) // 2
            sheet.paste(picture, inset)
    for row, name in enumerate(names[: len(columns[0].pictures)]):
        y = top + row * (side + _GAP) + side // 2 - _LINE // 2
        _write(pen, (_MARGIN, y), name, font, _INK, label - _GAP)
    return sheet


def _write(
    pen: ImageDraw.ImageDraw,
    at: tuple[int, int],
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    color: tuple[int, int, int],
    width: int,
) -> None:
    """The text, shortened in its middle to fit into the width."""
    shown, cut = text, len(text)
    while pen.textlength(shown, font=font) > width and cut > 2:
        cut -= 1
        shown = text[: (cut + 1) // 2] + "…" + text[len(text) - cut // 2 :]
    pen.text(at, shown, fill=color, font=font)

"""Image bytes to pixels: one way for every format, fast for JPEG.

    decode(data, channels) -> the whole image, upright, uint8 (h, w, c)
    render(data, channels, size, box) -> the part `box` of it, resized to `size` with antialiasing

JPEG is decoded by libjpeg-turbo at 1/2, 1/4 or 1/8 of its size where fewer pixels are wanted, and
only down to the last row that is wanted: the height in a copy of the header is lowered, so the
rows below are never decoded, and the kept pixels are those of the full decode. Everything else,
CMYK included, is decoded by Pillow.

EXIF orientation is applied; of animations and documents the first picture is used; transparency
is laid over white unless the alpha channel is asked for; 16 bits become 8 by dividing by 257.
Channels: 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha.

At test time the same function is used, with the central box.
"""

import io
import threading
from typing import NamedTuple

import numpy as np
import simplejpeg
import torch
from jaxtyping import UInt8
from PIL import Image

from goodfit.data._headers import Header, header

Pixels = UInt8[np.ndarray, "h w c"]

MOST_PIXELS = 89_478_485  # of one decoded image; Pillow's limit against decompression bombs
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_SPACES = {1: "GRAY", 2: "GRAY", 3: "RGB", 4: "RGB"}
_scratch = threading.local()


class BrokenImageError(Exception):
    """These bytes are not an image that can be used; the message says why."""


class Box(NamedTuple):
    """A part of an upright image, in its pixels."""

    y: float
    x: float
    h: float
    w: float


def size_of(data: bytes) -> tuple[int, int]:
    """Height and width of the upright image, from its header alone."""
    found = header(data)
    if found is not None and found.format == "jpeg":  # others keep their EXIF elsewhere
        return found.upright
    image = _opened(data)
    width, height = image.size
    lying = _orientation(image) >= 5 and image.format != "TIFF"  # Pillow has turned those
    return (width, height) if lying else (height, width)


def is_gray(data: bytes) -> bool:
    """Whether the image has no color and no alpha channel."""
    found = header(data)
    if found is not None and found.format == "jpeg":
        return found.components == 1
    return _opened(data).mode in ("1", "L", "I", "F") or _opened(data).mode.startswith("I;16")


def decode(data: bytes, channels: int, *, at_least: tuple[int, int] | None = None) -> Pixels:
    """The upright image as uint8 (h, w, c).

    With `at_least`, a JPEG may come back at 1/2, 1/4 or 1/8 of its size, but with no fewer rows
    and columns than that. Raises BrokenImageError.
    """
    found = _simple_jpeg(data)
    if found is None:
        return _pillow(data, channels)
    scale = _scale(*found.upright, at_least) if at_least else 1
    image = _jpeg(data, found, channels, scale, found.height, strict=True)
    return _turned(image, found.orientation).copy()


def central(height: int, width: int, size: tuple[int, int], share: float = 1.0) -> Box:
    """The largest centered box with the proportions of `size`, times `share`.

    Resizing it to `size` is resizing the short side to size / share and cropping the center.
    """
    scale = share * min(height / size[0], width / size[1])
    h, w = scale * size[0], scale * size[1]
    return Box((height - h) / 2, (width - w) / 2, h, w)


def render(
    data: bytes, channels: int, size: tuple[int, int], box: Box | None = None, *, share: float = 1.0
) -> Pixels:
    """The part `box` of the image, resized to `size` with antialiasing; uint8 (h, w, c).

    Without a box it is `central` with `share`. No more is decoded than needed. The result may lie
    in memory that this thread's next call overwrites: copy it. Raises BrokenImageError.
    """
    found = _simple_jpeg(data)
    if found is None:
        image = _pillow(data, channels)
        return resized(image, size, box or central(image.shape[0], image.shape[1], size, share))
    height, width = found.upright
    y, x, h, w = box or central(height, width, size, share)
    scale = _scale(round(h), round(w), size)
    whole = found.fancy or found.orientation != 1
    rows = found.height if whole else min(found.height, -(-round(y + h + 8) // 16) * 16)
    image = _jpeg(data, found, channels, scale, rows, strict=whole)
    image = _turned(image, found.orientation)
    return resized(image, size, Box(y / scale, x / scale, h / scale, w / scale))


def resized(image: Pixels, size: tuple[int, int], box: Box) -> Pixels:
    """The part `box` of an image, to whole pixels, resized to `size` with antialiasing."""
    height, width = image.shape[:2]
    top, left = min(height - 1, max(0, round(box.y))), min(width - 1, max(0, round(box.x)))
    bottom = min(height, max(top + 1, round(box.y + box.h)))
    right = min(width, max(left + 1, round(box.x + box.w)))
    part = image[top:bottom, left:right]
    if part.shape[:2] == size:
        return part
    result = np.empty((*size, image.shape[2]), np.uint8)
    planes, shown = (
        torch.from_numpy(pixels).permute(2, 0, 1)[None]
        for pixels in (np.ascontiguousarray(part), result)
    )
    torch.ops.aten._upsample_bilinear2d_aa.out(planes, size, False, out=shown)
    return result


def _simple_jpeg(data: bytes) -> Header | None:
    """The header of a JPEG that simplejpeg can decode; None for what is left to Pillow."""
    if not data:
        raise BrokenImageError("the file is empty")
    found = header(data)
    if found is None:
        return None
    if found.format != "jpeg":
        _refuse_bomb(found.height, found.width)
        return None
    return found if found.components in (1, 3) else None


def _refuse_bomb(height: int, width: int) -> None:
    if height * width > MOST_PIXELS:
        raise BrokenImageError(f"{width} x {height} pixels are more than is safe to decode")


def _scale(height: int, width: int, at_least: tuple[int, int]) -> int:
    """The strongest of 1, 2, 4, 8 that keeps height and width at or above `at_least`."""
    scale = 1
    while scale < 8 and height >= 2 * scale * at_least[0] and width >= 2 * scale * at_least[1]:
        scale *= 2
    return scale


def _jpeg(
    data: bytes, found: Header, channels: int, scale: int, rows: int, *, strict: bool
) -> Pixels:
    """The first `rows` stored rows of a JPEG at 1 / scale, in this thread's scratch memory."""
    if rows < found.height:
        lowered = bytearray(data)
        lowered[found.height_at : found.height_at + 2] = rows.to_bytes(2, "big")
        data = bytes(lowered)
    height, width = -(-rows // scale), -(-found.width // scale)
    _refuse_bomb(height, width)

    def pixels(strict: bool) -> Pixels:
        return simplejpeg.decode_jpeg(  # type: ignore[no-any-return]
            data,
            colorspace=_SPACES[channels],
            min_height=height,
            min_width=width,
            min_factor=scale,
            buffer=_buffer(height * width * 3),
            strict=strict,
        )

    try:
        image = pixels(strict)
    except ValueError as error:
        if not strict or "extraneous bytes" not in str(error):
            raise BrokenImageError(str(error)) from None
        image = pixels(False)  # stray bytes between segments do no harm
    if channels in (1, 3):
        return image
    return np.concatenate([image, np.full_like(image[..., :1], 255)], axis=2)


def _buffer(size: int) -> np.ndarray:
    """Memory that this thread uses again and again, unless the picture is huge."""
    if size > 1 << 26:
        return np.empty(size, np.uint8)
    buffer: np.ndarray | None = getattr(_scratch, "buffer", None)
    if buffer is None or buffer.size < size:
        buffer = _scratch.buffer = np.empty(size, np.uint8)
    return buffer


def _turned(image: Pixels, orientation: int) -> Pixels:
    """The image as the EXIF orientation wants it seen."""
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return image if orientation == 1 else np.ascontiguousarray(image)


def _opened(data: bytes) -> Image.Image:
    """Pillow's image, of which only the header was read."""
    try:
        image = Image.open(io.BytesIO(data))
    except Exception as error:
        raise BrokenImageError(_reason(error)) from None
    _refuse_bomb(image.height, image.width)
    return image


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(0x0112, 1)
    except Exception:  # damaged EXIF says nothing about the pixels
        return 1
    return value if value in range(1, 9) else 1


def _pillow(data: bytes, channels: int) -> Pixels:
    return from_pillow(_opened(data), channels)


def from_pillow(image: Image.Image, channels: int) -> Pixels:
    """Pillow's image as uint8 (h, w, c), upright. Raises BrokenImageError."""
    try:
        image.load()
        pixels = np.asarray(_converted(image, _MODES[channels]))
    except BrokenImageError:
        raise
    except Exception as error:  # Pillow's plugins raise whatever they met
        raise BrokenImageError(_reason(error)) from None
    pixels = pixels.reshape(*pixels.shape[:2], channels)
    return _turned(pixels, _orientation(image)).copy()  # a copy, because Pillow's is read-only


def _converted(image: Image.Image, mode: str) -> Image.Image:
    """Any of Pillow's modes as 8-bit `mode`."""
    if image.mode == "F" or image.mode.startswith("I"):
        image = _eight_bits(image)
    if image.mode in ("LA", "PA", "La", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        if mode in ("L", "RGB"):
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image).convert("RGB")
    return image if image.mode == mode else image.convert(mode)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Gray images of 16 or 32 bits or of floats; Pillow's own conversion would clip at 255."""
    values = np.asarray(image)
    fractions = values.dtype.kind == "f" and np.nanmax(values) <= 1
    top = 1.0 if fractions else 255.0 if values.dtype.kind == "f" else 65535.0
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > top:
        raise BrokenImageError(f"its values lie outside 0 to {top:.0f}")
    return Image.fromarray(np.round(values * (255.0 / top)).astype(np.uint8))


def _reason(error: Exception) -> str:
    """Pillow's complaint without the parts that change from call to call."""
    text = str(error).split("<_io.")[0].strip()
    if text.startswith("cannot identify image file"):
        return "not an image in a format that can be read"
    return text or type(error).__name__

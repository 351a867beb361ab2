"""Images as data URIs, small enough to put a few dozen of them into a page."""

from base64 import b64encode
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

SIDE = 160  # pixels; larger images are shrunk to it
TINY = 64  # pixels; smaller images are enlarged pixel by pixel, since browsers blur them


def picture(image: Any, side: int = SIDE) -> str:
    """An image (c, h, w) of 1 to 4 channels, uint8 or float in 0..1, as a data URI.

    Small images are PNG; tiny ones are enlarged by a whole number, so that their pixels are seen.
    A second channel is left out: gray with something else is shown as gray.
    """
    pixels = np.asarray(image.detach().cpu() if hasattr(image, "detach") else image)
    if pixels.dtype != np.uint8:
        finite = np.nan_to_num(pixels.astype(np.float32))
        pixels = (finite.clip(0, 1) * 255).round().astype(np.uint8)
    channels = pixels[:1] if len(pixels) == 2 else pixels[:4]
    array = channels[0] if len(channels) == 1 else channels.transpose(1, 2, 0)
    drawn = Image.fromarray(np.ascontiguousarray(array))
    small = max(drawn.size) <= side
    if max(drawn.size) <= min(TINY, side):
        times = max(1, side // max(drawn.size))
        drawn = drawn.resize((drawn.width * times, drawn.height * times), Image.Resampling.NEAREST)
    if not small:
        drawn.thumbnail((side, side), Image.Resampling.LANCZOS)
    kind = "PNG" if small or drawn.mode == "RGBA" else "JPEG"
    file = BytesIO()
    drawn.save(file, kind, quality=85, optimize=True)
    return f"data:image/{kind.lower()};base64,{b64encode(file.getvalue()).decode()}"

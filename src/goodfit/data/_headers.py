"""What the first and last bytes of an image file say: format, size, orientation, is it whole?"""

import struct
from typing import NamedTuple

_SOF = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # start of frame, whatever the coding
_BARE = {0x01, *range(0xD0, 0xD8)}  # markers without a length
_ORIENTATION = 0x0112
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"BM", "bmp"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"II+\x00", "tiff"),
    (b"MM\x00+", "tiff"),
)


class Header(NamedTuple):
    """Size as stored and how to turn it; the last three only for JPEG."""

    format: str
    height: int
    width: int
    orientation: int = 1  # EXIF, 1 to 8
    components: int = 0
    fancy: bool = False  # progressive, lossless or arithmetic: not read from top to bottom
    height_at: int = 0  # where in the file the height is written

    @property
    def upright(self) -> tuple[int, int]:
        """Height and width after turning."""
        h, w = self.height, self.width
        return (w, h) if self.orientation >= 5 else (h, w)


def format_of(head: bytes) -> str | None:
    """The format that the first 16 bytes announce, None if it is none we know."""
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:12] in (b"ftypavif", b"ftypavis"):
        return "avif"
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        return "pnm"
    return next((name for magic, name in _MAGIC if head.startswith(magic)), None)


def ends_well(kind: str | None, head: bytes, tail: bytes, size: int) -> bool:
    """Whether a file of this format ends as it should. False asks for a closer look.

    True for formats that do not tell.
    """
    match kind:
        case "jpeg":
            return b"\xff\xd9" in tail[-64:]
        case "png":
            return b"IEND" in tail[-64:]
        case "gif":
            return tail.rstrip(b"\0")[-1:] == b";"
        case "webp":
            return size >= int.from_bytes(head[4:8], "little") + 8
        case "bmp":
            return size >= int.from_bytes(head[2:6], "little")
    return True


def header(data: bytes) -> Header | None:
    """Size and orientation of a JPEG, the size of PNG, GIF and BMP; None for all else."""
    if data[:3] == b"\xff\xd8\xff":
        return _jpeg(data)
    try:
        if data[:8] == b"\x89PNG\r\n\x1a\n":
            width, height = struct.unpack(">II", data[16:24])
            return Header("png", height, width)
        if data[:4] == b"GIF8":
            width, height = struct.unpack("<HH", data[6:10])
            return Header("gif", height, width)
        if data[:2] == b"BM" and data[14] >= 40:
            width, height = struct.unpack("<ii", data[18:26])
            return Header("bmp", abs(height), abs(width))
    except (struct.error, IndexError):
        pass
    return None


def _jpeg(data: bytes) -> Header | None:
    """Walk the segments up to the start of frame."""
    at, orientation = 2, 1
    while at + 9 < len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        if marker in _BARE:
            at += 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in _SOF:
            height = int.from_bytes(data[at + 5 : at + 7], "big")
            width = int.from_bytes(data[at + 7 : at + 9], "big")
            fancy = marker not in (0xC0, 0xC1) or data[at + 4] != 8
            if not height or not width:
                return None
            return Header("jpeg", height, width, orientation, data[at + 9], fancy, at + 5)
        if marker == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
            orientation = _exif(data[at + 10 : at + 2 + length])
        if marker in (0xD9, 0xDA) or length < 2:
            return None
        at += 2 + length
    return None


def _exif(block: bytes) -> int:
    """The orientation in an EXIF block; 1 where it is missing or nonsense."""
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return 1
    try:
        (at,) = struct.unpack_from(order + "I", block, 4)
        (entries,) = struct.unpack_from(order + "H", block, at)
        for entry in range(min(entries, 200)):
            tag, kind = struct.unpack_from(order + "HH", block, at + 2 + 12 * entry)
            if tag == _ORIENTATION and kind == 3:
                (value,) = struct.unpack_from(order + "H", block, at + 10 + 12 * entry)
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1

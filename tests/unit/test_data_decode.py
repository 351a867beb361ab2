"""Image files as they are in life, one by one."""

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from goodfit.data.decode import (
    MOST_PIXELS,
    Box,
    BrokenImageError,
    central,
    decode,
    is_gray,
    render,
    size_of,
)


def smooth(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A picture without sharp edges, which JPEG keeps nearly as it is."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


def encoded(image: np.ndarray | Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def off_by(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.abs(a.astype(int) - b.astype(int)).max())


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP", "PPM"])
def test_lossless_formats_come_back_as_they_went(kind):
    image = smooth(21, 34)
    options = {"lossless": True} if kind == "WEBP" else {}
    assert np.array_equal(decode(encoded(image, kind, **options), 3), image)


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 30}]
)
def test_jpeg_is_decoded_as_pillow_does(options):
    data = encoded(smooth(61, 94), "JPEG", **options)
    assert off_by(decode(data, 3), np.asarray(Image.open(io.BytesIO(data)))) <= 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
    data = encoded(smooth(40, 56), kind, exif=exif, **options)
    wanted = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    assert decode(data, 3).shape == wanted.shape
    assert off_by(decode(data, 3), wanted) <= 1
    assert size_of(data) == wanted.shape[:2]
    part = render(data, 3, (20, 20), Box(10, 5, 20, 20))
    assert off_by(part, wanted[10:30, 5:25]) <= 1


def test_nonsense_in_exif_is_ignored():
    data = encoded(smooth(10, 12), "JPEG")
    for junk in (b"II*\0\xff\xff\xff\xff", b"XX", b"MM\0*\0\0\0\x08\xff\xff"):
        block = b"Exif\0\0" + junk
        segment = b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block
        assert decode(data[:2] + segment + data[2:], 3).shape == (10, 12, 3)


def test_cmyk_becomes_rgb():
    image = Image.fromarray(smooth(16, 24)).convert("CMYK")
    data = encoded(image, "JPEG", quality=95)
    assert off_by(decode(data, 3), np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))) == 0


def test_a_palette_is_resolved():
    image = Image.fromarray(smooth(16, 24)).quantize(16)
    assert np.array_equal(decode(encoded(image, "PNG"), 3), np.asarray(image.convert("RGB")))
    assert np.array_equal(decode(encoded(image, "GIF"), 3), np.asarray(image.convert("RGB")))


def test_transparency_lies_over_white_unless_alpha_is_wanted():
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[0, 0, 3] = 255  # opaque black, the rest is transparent
    data = encoded(pixels, "PNG")
    assert decode(data, 3)[..., 0].tolist() == [[0, 255], [255, 255]]
    assert decode(data, 1)[..., 0].tolist() == [[0, 255], [255, 255]]
    assert np.array_equal(decode(data, 4), pixels)
    assert decode(data, 2)[..., 1].tolist() == [[255, 0], [0, 0]]


def test_a_transparent_palette_lies_over_white():
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.putpixel((1, 0), 1)
    assert decode(encoded(image, "PNG", transparency=0), 3)[0].tolist() == [[255] * 3, [10, 20, 30]]


def test_sixteen_bits_are_scaled_not_clipped():
    values = np.array([[0, 257, 32896, 65535]], np.uint16)
    assert decode(encoded(values, "PNG"), 1)[0, :, 0].tolist() == [0, 1, 128, 255]
    assert decode(encoded(values, "TIFF"), 3)[0, :, 1].tolist() == [0, 1, 128, 255]


def test_float_images_are_read_as_fractions():
    values = np.array([[0.0, 0.5, 1.0]], np.float32)
    assert decode(encoded(values, "TIFF"), 1)[0, :, 0].tolist() == [0, 128, 255]
    with pytest.raises(BrokenImageError, match="outside"):
        decode(encoded(np.array([[-3.0, 1.0]], np.float32), "TIFF"), 1)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF"])
def test_the_first_picture_of_several_is_used(kind):
    first, second = (Image.fromarray(smooth(8, 8, seed)) for seed in (1, 2))
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(first, kind, save_all=True, append_images=[second], **options)
    assert off_by(decode(data, 3), np.asarray(first)) <= (80 if kind == "GIF" else 0)


def test_gray_and_color_become_what_is_asked_for():
    gray = encoded(smooth(8, 8)[..., 0], "JPEG", quality=95)
    color = encoded(smooth(8, 8), "JPEG", quality=95)
    assert is_gray(gray)
    assert not is_gray(color)
    for data in (gray, color, encoded(smooth(8, 8), "PNG"), encoded(smooth(8, 8)[..., 0], "PNG")):
        assert [decode(data, c).shape for c in (1, 2, 3, 4)] == [(8, 8, c) for c in (1, 2, 3, 4)]
    assert np.ptp(decode(gray, 3).astype(int), axis=2).max() == 0
    assert decode(color, 4)[..., 3].min() == 255


def test_one_pixel_is_an_image():
    for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"):
        data = encoded(np.full((1, 1, 3), 200, np.uint8), kind)
        assert render(data, 3, (32, 32)).shape == (32, 32, 3)
        assert off_by(render(data, 3, (32, 32)), np.full(1, 200)) <= 3


def test_a_very_wide_image_is_decoded_small():
    data = encoded(np.full((60, 20_000, 3), 99, np.uint8), "JPEG")
    assert decode(data, 3, at_least=(1, 1)).shape == (8, 2500, 3)
    assert off_by(render(data, 3, (8, 8)), np.full(1, 99)) <= 1


def bomb() -> bytes:
    """A PNG that announces 100,000 x 100,000 pixels."""
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    crc = struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + crc + bytes(100)


def test_a_decompression_bomb_is_refused():
    assert MOST_PIXELS < 100_000**2
    with pytest.raises(BrokenImageError, match="100000 x 100000"):
        decode(bomb(), 3)


def test_a_jpeg_that_announces_too_much_is_refused():
    data = bytearray(encoded(smooth(16, 16), "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = b"\xff\xf0\xff\xf0"
    with pytest.raises(BrokenImageError, match="65520 x 65520"):
        decode(bytes(data), 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_file_cut_short_is_broken(kind, share):
    data = encoded(smooth(120, 160), kind)
    with pytest.raises(BrokenImageError):
        decode(data[: int(share * len(data))], 3)


@pytest.mark.parametrize(
    "data", [b"", b"hello, world", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM"]
)
def test_what_is_no_image_is_broken(data):
    with pytest.raises(BrokenImageError):
        decode(data, 3)
    with pytest.raises(BrokenImageError):
        render(data, 3, (8, 8))


def test_random_bytes_after_any_magic_never_crash():
    rng = np.random.default_rng(0)
    for magic in (b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"RIFF\0\0\0\0WEBP"):
        for size in (1, 20, 300, 5000):
            with pytest.raises(BrokenImageError):
                decode(magic + rng.bytes(size), 3)


def test_flipped_bits_give_an_image_or_a_reason():
    rng = np.random.default_rng(1)
    for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"):
        whole = encoded(smooth(40, 40), kind)
        for _ in range(40):
            data = bytearray(whole)
            data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
            with contextlib.suppress(BrokenImageError):
                assert render(bytes(data), 3, (16, 16)).shape == (16, 16, 3)


def test_stray_bytes_do_no_harm():
    data = encoded(smooth(30, 40), "JPEG")
    assert np.array_equal(decode(data[:-2] + b"abc" + data[-2:] + b"tail", 3), decode(data, 3))


@pytest.mark.parametrize("sampling", [0, 1, 2])
def test_rows_that_are_not_decoded_change_nothing(sampling):
    data = encoded(smooth(200, 150), "JPEG", subsampling=sampling)
    whole = decode(data, 3)
    for y, h in ((0, 5), (0, 16), (7, 40), (100, 50), (150, 50), (199, 1)):
        part = render(data, 3, (h, 30), Box(y, 20, h, 30))
        assert np.array_equal(part, whole[y : y + h, 20:50])


def test_a_part_is_resized_as_pillow_does():
    data = encoded(smooth(300, 400), "JPEG", quality=95)
    picture = Image.open(io.BytesIO(data))
    for y, x, h, w in ((0, 0, 300, 400), (10, 20, 100, 150), (37, 11, 260, 80)):
        bilinear = Image.Resampling.BILINEAR
        wanted = np.asarray(picture.crop((x, y, x + w, y + h)).resize((64, 48), bilinear))
        assert off_by(render(data, 3, (48, 64), Box(y, x, h, w)), wanted) <= 3


def test_the_center_is_the_resized_image_cropped():
    assert central(300, 400, (224, 224)) == (0, 50, 300, 300)
    assert central(256, 256, (224, 224), 0.875) == (16, 16, 224, 224)
    image = smooth(256, 256)
    assert np.array_equal(
        render(encoded(image, "PNG"), 3, (224, 224), share=0.875), image[16:240, 16:240]
    )


def test_an_image_of_the_right_size_is_not_touched():
    image = smooth(32, 32)
    assert np.array_equal(render(encoded(image, "PNG"), 3, (32, 32)), image)

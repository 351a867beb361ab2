"""Augmentations against something independent: torchvision, Pillow, or a plainly right loop."""

import colorsys
from math import pi, tan

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as TF
from PIL import Image

from goodfit.augment import _policy
from goodfit.augment.brightness import Brightness
from goodfit.augment.color_jitter import ColorJitter, Jitter
from goodfit.augment.contrast import Contrast
from goodfit.augment.cutmix import CutMix
from goodfit.augment.hue import Hue
from goodfit.augment.lens import Lens
from goodfit.augment.pad_and_crop import Corner, PadAndCrop
from goodfit.augment.pca_lighting import PCALighting
from goodfit.augment.perspective import Perspective
from goodfit.augment.random_crop import RandomCrop, Window
from goodfit.augment.rotate import Rotate
from goodfit.augment.saturation import Saturation
from goodfit.augment.scale_jitter import Patch, ScaleJitter
from goodfit.augment.shear import Shear, Slant
from goodfit.augment.stretch import Factors, Stretch
from goodfit.augment.translate import Move, Translate
from goodfit.batch import Batch
from goodfit.rand import Rng

BILINEAR = TF.InterpolationMode.BILINEAR


def smooth(n: int = 4, h: int = 40, w: int = 56, c: int = 3) -> torch.Tensor:
    """Images without fine texture, so that two good samplers agree."""
    coarse = torch.rand(n, c, 5, 7, generator=torch.Generator().manual_seed(0))
    return TF.resize(coarse, [h, w], antialias=True)


def batch_of(images: torch.Tensor) -> Batch:
    n = len(images)
    return Batch(images, torch.eye(n), torch.arange(n))


def levels(images: torch.Tensor) -> torch.Tensor:
    return (images * 255).round().to(torch.uint8)


def close(ours: torch.Tensor, theirs: torch.Tensor, tolerance: float) -> None:
    torch.testing.assert_close(ours.float(), theirs.float(), atol=tolerance, rtol=0)


WINDOWS = [(3, 5, 20, 30), (0, 0, 40, 56), (10, 1, 9, 12), (2, 2, 36, 50)]


def window(numbers: list[tuple[int, ...]]) -> Window:
    return Window(*(torch.tensor(column) for column in zip(*numbers, strict=True)))


@pytest.mark.parametrize("size", [(16, 16), (24, 18), (48, 64), (30, 90)])
@pytest.mark.parametrize("antialias", [True, False])
def test_random_crop_resizes_as_torchvision(size, antialias):
    images = torch.rand(4, 3, 40, 56, generator=torch.Generator().manual_seed(1))  # with texture
    ours = RandomCrop(size=size, antialias=antialias).given(batch_of(images), window(WINDOWS))
    for image, result, (top, left, h, w) in zip(images, ours.images, WINDOWS, strict=True):
        close(
            result, TF.resized_crop(image, top, left, h, w, list(size), BILINEAR, antialias), 2e-5
        )


def test_random_crop_of_bytes_resizes_as_pillow():
    images = levels(torch.rand(4, 3, 40, 56, generator=torch.Generator().manual_seed(1)))
    ours = RandomCrop(size=(16, 20)).given(batch_of(images), window(WINDOWS)).images
    for image, result, (top, left, h, w) in zip(images, ours, WINDOWS, strict=True):
        crop = Image.fromarray(image.permute(1, 2, 0).numpy()).crop((left, top, left + w, top + h))
        theirs = torch.from_numpy(np.array(crop.resize((20, 16), Image.Resampling.BILINEAR)))
        close(result, theirs.permute(2, 0, 1), 1.01)  # both round, Pillow twice


def test_scale_jitter_is_a_window_of_the_resized_image():
    images = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(1))
    corner, side = torch.tensor([0, 0]), torch.tensor([24 * 40 / 32, 24 * 40 / 50])
    ours = ScaleJitter(short=(24, 64), size=24).given(batch_of(images), Patch(corner, corner, side))
    for image, result, short in zip(images, ours.images, (32, 50), strict=True):
        theirs = TF.resize(image, [short, short], antialias=True)[:, :24, :24]
        close(result[:, :-1, :-1], theirs[:, :-1, :-1], 2e-5)  # at its rim the window is cut off


def test_pad_and_crop_reflects_as_torchvision():
    images = levels(smooth())
    top, left = torch.tensor([-4, 4, 0, 2]), torch.tensor([3, -4, 0, -1])
    for border, mode in (("reflect", "reflect"), ("zeros", "constant"), ("edge", "edge")):
        ours = PadAndCrop(border=border).given(batch_of(images), Corner(top, left)).images
        for image, result, row, col in zip(images, ours, top.tolist(), left.tolist(), strict=True):
            theirs = TF.crop(TF.pad(image, [4], padding_mode=mode), row + 4, col + 4, 40, 56)
            assert torch.equal(result, theirs)


def test_translate_moves_as_torchvision():
    images = levels(smooth())
    z = Move(torch.tensor([0, 3, -4, 2]), torch.tensor([5, 0, -2, 1]))
    ours = Translate(border="zeros").given(batch_of(images), z).images
    for image, result, down, right in zip(
        images, ours, *(part.tolist() for part in z), strict=True
    ):
        assert torch.equal(result, TF.affine(image, 0, [right, down], 1.0, [0.0, 0.0]))


@pytest.mark.parametrize("degrees", [-30.0, 12.0, 90.0])
def test_rotate_turns_as_torchvision(degrees):
    images = smooth(h=40, w=40)
    ours = Rotate(border="zeros").given(batch_of(images), torch.full((4,), degrees)).images
    close(ours, TF.rotate(images, degrees, BILINEAR), 1e-4)


def test_shear_slants_as_torchvision():
    images = smooth()
    ours = Shear(border="zeros").given(
        batch_of(images), Slant(torch.full((4,), 12.0), torch.zeros(4))
    )
    close(ours.images, TF.affine(images, 0, [0, 0], 1.0, [-12.0, 0.0], BILINEAR), 1e-4)


def sampled(image: np.ndarray, x: float, y: float) -> np.ndarray:
    """The image (c, h, w) at a place in pixels, bilinear, zeros outside: the plain way."""
    x, y, result = x - 0.5, y - 0.5, np.zeros(len(image))
    for row in (int(np.floor(y)), int(np.floor(y)) + 1):
        for col in (int(np.floor(x)), int(np.floor(x)) + 1):
            if 0 <= row < image.shape[1] and 0 <= col < image.shape[2]:
                result += image[:, row, col] * (1 - abs(x - col)) * (1 - abs(y - row))
    return result


def looped(images: torch.Tensor, place) -> torch.Tensor:
    """Each pixel from the place of its center in the source, one after the other."""
    result = np.zeros(tuple(images.shape))
    for i, image in enumerate(images.numpy()):
        for row in range(image.shape[1]):
            for col in range(image.shape[2]):
                result[i, :, row, col] = sampled(image, *place(i, col + 0.5, row + 0.5))
    return torch.from_numpy(result)


def test_stretch_against_a_loop():
    images, z = smooth(2, 12, 17), Factors(torch.tensor([1.3, 0.8]), torch.tensor([0.7, 1.1]))

    def place(i, x, y):
        return 8.5 + (x - 8.5) / float(z.right[i]), 6 + (y - 6) / float(z.down[i])

    close(Stretch(border="zeros").given(batch_of(images), z).images, looped(images, place), 1e-4)


def test_shear_along_both_axes_against_a_loop():
    images, z = smooth(1, 12, 17), Slant(torch.tensor([20.0]), torch.tensor([-10.0]))
    slant = np.linalg.inv(np.array([[1, tan(20 * pi / 180)], [tan(-10 * pi / 180), 1]]))

    def place(i, x, y):
        return tuple(np.array([8.5, 6]) + slant @ (np.array([x, y]) - [8.5, 6]))

    close(Shear(border="zeros").given(batch_of(images), z).images, looped(images, place), 1e-4)


def test_lens_against_a_loop():
    images = smooth(2, 12, 17)
    z = torch.tensor([[0.3, 0.1, 0.05, 0.02, -0.01], [-0.2, 0.02, 0.0, -0.03, 0.04]])
    half = (12**2 + 17**2) ** 0.5 / 2

    def place(i, x, y):
        k1, k2, k3, p1, p2 = (float(k) for k in z[i])
        x, y = (x - 8.5) / half, (y - 6) / half
        r2 = x**2 + y**2
        radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
        xd = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x**2)
        yd = y * radial + 2 * p2 * x * y + p1 * (r2 + 2 * y**2)
        return xd * half + 8.5, yd * half + 6

    close(Lens(border="zeros").given(batch_of(images), z).images, looped(images, place), 1e-4)


def test_perspective_looks_as_torchvision():
    images, z = smooth(2), torch.zeros(2, 4, 2)
    z[0], z[1, 2] = torch.tensor([[0.1, 0.2], [0.05, 0.1], [0.2, 0.15], [0, 0.1]]), 0.25
    ours = Perspective(border="zeros").given(batch_of(images), z).images
    corners = [[0, 0], [56, 0], [56, 40], [0, 40]]
    inward = [[1, 1], [-1, 1], [-1, -1], [1, -1]]
    for i, image in enumerate(images):
        moved = [
            [x + dx * float(z[i, k, 0]) * 56, y + dy * float(z[i, k, 1]) * 40]
            for k, ((x, y), (dx, dy)) in enumerate(zip(corners, inward, strict=True))
        ]
        a = []  # the eight equations of the homography from the moved corners to the image's
        for (x, y), (u, v) in zip(moved, corners, strict=True):
            a += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        m = np.append(np.linalg.solve(np.array(a), np.array(corners).ravel()), 1).reshape(3, 3)

        def place(_, x, y, m=m):
            u, v, w = m @ [x, y, 1]
            return u / w, v / w

        close(ours[i : i + 1], looped(image[None], place), 2e-4)


FACTORS = torch.tensor([0.5, 0.9, 1.2, 1.7])


@pytest.mark.parametrize(
    ("change", "theirs"),
    [
        (Brightness(), TF.adjust_brightness),
        (Contrast(), TF.adjust_contrast),
        (Saturation(), TF.adjust_saturation),
    ],
)
def test_colors_as_torchvision(change, theirs):
    images = smooth()
    ours = change.given(batch_of(images), FACTORS).images
    for image, result, factor in zip(images, ours, FACTORS.tolist(), strict=True):
        close(result, theirs(image, factor), 1e-4)  # their luma's weights have four digits


def test_color_jitter_is_the_four_in_a_row():
    images = smooth() * 0.4 + 0.3  # so that nothing is clamped on the way
    z = Jitter(*(torch.tensor(f) for f in ([0.8, 1.2], [1.3, 0.7], [0.5, 1.4], [0.1, -0.2])))
    ours = ColorJitter().given(batch_of(images[:2]), z).images
    for i, result in enumerate(ours):
        b, c, s, hue = (float(part[i]) for part in z)
        theirs = TF.adjust_brightness(images[i], b)
        theirs = TF.adjust_saturation(TF.adjust_contrast(theirs, c), s)
        theirs = Hue().given(batch_of(theirs[None]), torch.tensor([hue])).images[0]
        close(result, theirs, 3e-4)


def test_a_third_of_a_turn_is_torchvisions_hue():
    images = smooth()
    for turns in (1 / 3, -1 / 3):
        ours = Hue(turns=0.5).given(batch_of(images), torch.full((4,), turns)).images
        close(ours, TF.adjust_hue(images, turns), 1e-4)


def test_hue_turns_the_hue_by_about_that_much():
    red = torch.tensor([0.7, 0.3, 0.3]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    turned = Hue().given(batch_of(red), torch.tensor([0.1])).images[0, :, 0, 0].tolist()
    assert colorsys.rgb_to_hsv(*turned)[0] == pytest.approx(0.1, abs=0.02)


def test_lighting_is_fitted_as_numpy_would():
    images = levels(torch.rand(300, 3, 6, 6, generator=torch.Generator().manual_seed(2)) ** 2)
    images[:, 1] = images[:, 0] // 2 + images[:, 1] // 2
    fitted = PCALighting().fitted(images)
    pixels = images.permute(0, 2, 3, 1).reshape(-1, 3).numpy() / 255
    covariance = np.cov(pixels.T, bias=True)
    axes, values = np.array(fitted.axes), np.array(fitted.values)
    np.testing.assert_allclose(axes.T @ np.diag(values) @ axes, covariance, atol=1e-6)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-5)
    z = torch.tensor([[0.1, -0.2, 0.3]])
    gray = torch.full((1, 3, 2, 2), 0.5)
    shift = fitted.given(batch_of(gray), z).images[0, :, 0, 0] - 0.5
    np.testing.assert_allclose(shift, (z[0].numpy() * values) @ axes, atol=1e-6)


def test_cutmix_against_a_loop():
    images = levels(smooth(6))
    batch = batch_of(images)
    z = CutMix().draw(batch, Rng(1, "cutmix", batch))
    ours = CutMix().given(batch, z)
    for i in range(6):
        expected, j = images[i].clone(), int(z.partner[i])
        top, bottom, left, right = (int(part[i]) for part in z[:4])
        expected[:, top:bottom, left:right] = images[j][:, top:bottom, left:right]
        assert torch.equal(ours.images[i], expected)
        share = 1 - (bottom - top) * (right - left) / (40 * 56)
        assert float(ours.parts[0].weight[i]) == pytest.approx(share, abs=1e-6)


def operated(images: torch.Tensor, name: str, strength: float) -> torch.Tensor:
    place = torch.full((len(images), 1), _policy.OPERATIONS.index(name))
    z = _policy.Policy(place, torch.full((len(images), 1), strength))
    return _policy.performed(images, z)


@pytest.mark.parametrize(
    ("name", "strength", "theirs"),
    [
        ("shear-x", 0.3, lambda x: TF.affine(x, 0, [0, 0], 1.0, [16.69924, 0], center=[0, 0])),
        ("shear-y", -0.21, lambda x: TF.affine(x, 0, [0, 0], 1.0, [0, -11.85977], center=[0, 0])),
        ("translate-x", 7.0, lambda x: TF.affine(x, 0, [7, 0], 1.0, [0, 0])),
        ("translate-y", -5.0, lambda x: TF.affine(x, 0, [0, -5], 1.0, [0, 0])),
        ("rotate", 25.0, lambda x: TF.rotate(x, 25.0)),
        ("brightness", 0.5, lambda x: TF.adjust_brightness(x, 1.5)),
        ("color", -0.5, lambda x: TF.adjust_saturation(x, 0.5)),
        ("contrast", 0.4, lambda x: TF.adjust_contrast(x, 1.4)),
        ("sharpness", 0.9, lambda x: TF.adjust_sharpness(x, 1.9)),
        ("posterize", 3.0, lambda x: TF.posterize(x, 3)),
        ("solarize", 100.0, lambda x: TF.solarize(x, 100)),
        ("auto-contrast", 0.0, TF.autocontrast),
        ("equalize", 0.0, TF.equalize),
        ("identity", 0.0, lambda x: x),
    ],
)
def test_the_operations_of_policies_as_torchvision(name, strength, theirs):
    images = levels(smooth())
    ours, expected = operated(images, name, strength), theirs(images)
    wrong = (ours.float() - expected.float()).abs() > 2.01  # they cut off where we round
    # a nearest pixel may be the other one of two equally near
    assert wrong.float().mean() <= (0.01 if name in _policy.GEOMETRY else 0)


def test_positive_k1_is_barrel_distortion():
    rows = torch.zeros(1, 1, 41, 41)
    rows[:, :, 8] = 1.0  # a straight line above the middle
    bent = (
        Lens(border="zeros").given(batch_of(rows), torch.tensor([[0.5, 0, 0, 0, 0]])).images[0, 0]
    )
    height = (bent * torch.arange(41)[:, None]).sum(0) / bent.sum(0)  # of the line in each column
    assert height[20] + 0.4 < height[8]  # highest in its middle: it bulges outward


def test_rotation_angles_are_counterclockwise():
    image = torch.zeros(1, 1, 9, 9)
    image[0, 0, 4, 8] = 1.0  # in the east
    turned = Rotate(border="zeros").given(batch_of(image), torch.tensor([90.0])).images[0, 0]
    assert turned[0, 4] > 0.9  # is in the north

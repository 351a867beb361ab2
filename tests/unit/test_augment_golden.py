"""A changed number is a breaking change: what each augmentation makes of known images, in figures.

The figures are the mean level and a sum in which every place has its own sign and size, for seed 0.
When one changes on purpose, run `python tests/unit/test_augment_golden.py`, paste, and write it
into "Numbers changed" of the changelog.
"""

import pytest
import torch

from goodfit.augment import Augmentation
from goodfit.batch import Batch, as_float
from goodfit.ingredient import find, names
from goodfit.rand import Rng

GOLDEN: dict[str, tuple[float, float]] = {
    "alternating-flip": (0.5009, -0.8985),
    "brightness": (0.5025, -0.0615),
    "color-jitter": (0.48, 0.2398),
    "contrast": (0.5012, 0.0246),
    "cutmix": (0.4956, -0.0437),
    "cutout": (0.5018, 0.0603),
    "flip": (0.5009, -1.0383),
    "hue": (0.5009, 0.0111),
    "lens": (0.4995, -0.0058),
    "mixup": (0.5023, 0.1326),
    "pad-and-crop": (0.5025, 0.0548),
    "pca-lighting": (0.4996, 0.0124),
    "perspective": (0.5027, -0.2433),
    "rand-augment": (0.4518, 0.1067),
    "random-crop": (0.5224, -0.0086),
    "random-erasing": (0.4938, 0.0995),
    "rotate": (0.5012, -0.2081),
    "saturation": (0.5009, 0.0196),
    "scale-jitter": (0.5196, -0.0534),
    "shear": (0.5004, -0.0322),
    "stretch": (0.4943, 0.0238),
    "translate": (0.5027, 0.2351),
    "trivial-augment": (0.4525, -0.0782),
}


def known() -> Batch:
    """Sixteen images without a random number: crossing waves."""
    n, row, col = torch.arange(16.0), torch.arange(24.0), torch.arange(32.0)
    wave = (
        row[:, None] / 3 + n[:, None, None, None] + torch.tensor([0.0, 1.0, 2.0])[:, None, None]
    ).sin()
    images = 0.5 + 0.2 * wave + 0.2 * (col / 5 + n[:, None, None, None] * 2).cos()
    return Batch((images * 255).round().to(torch.uint8), torch.eye(16), torch.arange(16), epoch=1)


def figures(kind: str) -> tuple[float, float]:
    batch = known()
    settings = {"scale-jitter": {"short": (26, 40), "size": 24}}.get(kind, {})
    change = find(Augmentation, kind)(**settings).fitted(batch.images)
    images = as_float(change(batch, Rng(0, kind, batch)).images).double()
    sizes = (torch.arange(images.numel(), dtype=torch.float64) * 0.19).sin().view(images.shape)
    spread = float((images * sizes).sum()) / images.numel() ** 0.5
    return round(float(images.mean()), 4), round(spread, 4)


@pytest.mark.parametrize("kind", names(Augmentation))
def test_the_figures_are_those_of_before(kind):
    assert figures(kind) == pytest.approx(GOLDEN[kind], abs=5e-3)  # a pixel or two may round


if __name__ == "__main__":
    for kind in names(Augmentation):
        print(f"    {kind!r}: {figures(kind)},")

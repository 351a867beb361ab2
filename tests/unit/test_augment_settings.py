"""Small facts about single augmentations, and settings that are refused."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from goodfit.augment._geometry import Pixel
from goodfit.augment._mixing import Mixing
from goodfit.augment.color_jitter import ColorJitter
from goodfit.augment.cutmix import CutMix
from goodfit.augment.cutout import Cutout
from goodfit.augment.flip import Flip
from goodfit.augment.hue import Hue
from goodfit.augment.mixup import Mix, Mixup
from goodfit.augment.pad_and_crop import PadAndCrop
from goodfit.augment.pca_lighting import PCALighting
from goodfit.augment.rand_augment import RandAugment
from goodfit.augment.random_crop import RandomCrop
from goodfit.augment.random_erasing import RandomErasing
from goodfit.augment.rotate import Rotate
from goodfit.augment.scale_jitter import ScaleJitter
from goodfit.augment.stretch import Stretch
from goodfit.batch import Batch
from goodfit.errors import GoodfitError, RecipeError
from goodfit.rand import Rng


def batch_of(images: torch.Tensor) -> Batch:
    return Batch(images, torch.eye(len(images)), torch.arange(len(images)))


def hidden(size: float, row: int, col: int, side: int = 8) -> torch.Tensor:
    """Which pixels of one all-white image are hidden when the center is at (row, col)."""
    z = Pixel(torch.tensor([row]), torch.tensor([col]))
    white = batch_of(torch.ones(1, 3, side, side))
    return Cutout(size=size, fill=0.0).given(white, z).images[0, 0] == 0


def test_half_the_side_hides_a_quarter_of_the_image():
    assert hidden(size=0.5, row=4, col=4).sum() == 16


def test_the_border_cuts_the_square_off():
    assert hidden(size=0.5, row=0, col=0).sum() == 4


@given(size=st.floats(0, 1), row=st.integers(0, 7), col=st.integers(0, 7))
def test_the_hidden_part_is_a_rectangle_no_larger_than_asked(size, row, col):
    hole = hidden(size, row, col)
    height, width = hole.any(1).sum(), hole.any(0).sum()
    assert hole.sum() == height * width
    assert max(height, width) <= round(size * 8 + 0.5)


def test_cutout_fills_with_the_mean_color_of_the_training_set():
    images = torch.zeros(4, 3, 2, 2, dtype=torch.uint8)
    images[:, 0], images[:2, 1] = 51, 255
    for change in (Cutout(fill=None), Cutout(fill="mean"), RandomErasing(fill="mean")):
        assert change.fitted(images).fill == pytest.approx((0.2, 0.5, 0.0))
    assert Cutout(fill=0.1).fitted(images).fill == 0.1


def test_a_fill_of_one_color_for_every_channel():
    z = Pixel(torch.tensor([1]), torch.tensor([1]))
    whole = Cutout(size=1, fill=(0.2, 0.4, 1.0))
    assert whole.given(batch_of(torch.zeros(1, 3, 2, 2, dtype=torch.uint8)), z).images[
        0, :, 0, 0
    ].tolist() == [51, 102, 255]


def test_mixup_blends_images_and_loss_parts():
    batch = batch_of(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1))
    mixed = Mixup().given(batch, Mix(torch.tensor([0.75, 0.5]), torch.tensor([1, 0])))
    assert mixed.images.flatten().tolist() == [0.25, 0.5]
    assert mixed.targets.tolist() == [[0.75, 0.25], [0.5, 0.5]]
    assert [part.weight.tolist() for part in mixed.parts] == [[0.75, 0.5], [0.25, 0.5]]


@pytest.mark.parametrize("mixing", [Mixup(prob=0.5), CutMix(prob=0.5)])
def test_samples_left_unmixed_keep_their_targets(mixing: Mixing):
    batch = batch_of(torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    mixed = mixing(batch, Rng(0, "mix", batch))
    same = (mixed.images == batch.images).all(3).all(2).all(1)
    assert 12 < same.sum() < 64
    assert torch.equal(mixed.targets[same], batch.targets[same])


def test_the_views_of_a_flip_have_its_probabilities():
    batch = batch_of(torch.rand(2, 3, 4, 4))
    (keep, same), (turn, mirrored) = Flip(prob=0.3).views(batch)
    assert (keep, turn) == pytest.approx((0.7, 0.3))
    assert torch.equal(same.images, batch.images)
    assert torch.equal(mirrored.images, batch.images.flip(-1))


def test_the_view_of_a_crop_is_its_middle_at_its_size():
    image = torch.zeros(1, 1, 8, 12)
    image[..., 2:10] = 1.0
    [(weight, view)] = RandomCrop(size=4).views(batch_of(image))
    assert (weight, view.images.shape) == (1.0, (1, 1, 4, 4))
    torch.testing.assert_close(view.images, torch.ones(1, 1, 4, 4))


def test_the_view_of_pad_and_crop_is_the_image_itself():
    batch = batch_of(torch.rand(2, 3, 9, 7))
    [(_, view)] = PadAndCrop().views(batch)
    assert torch.equal(view.images, batch.images)


@pytest.mark.parametrize(
    "build",
    [
        lambda: Flip(prob=1.2),
        lambda: Flip(prob=float("nan")),
        lambda: RandomCrop(area=(1.0, 0.35)),
        lambda: RandomCrop(area=(0.0, 0.0)),
        lambda: RandomCrop(area=(0.5, 1.5)),
        lambda: RandomCrop(ratio=(0.0, 1.0)),
        lambda: RandomCrop(size=0),
        lambda: RandomErasing(ratio=(3.3, 0.3)),
        lambda: RandomErasing(fill="noisy"),
        lambda: ScaleJitter(short=(200, 300), size=224),
        lambda: ScaleJitter(short=(480, 256)),
        lambda: PadAndCrop(pad_pixels=-1),
        lambda: PadAndCrop(border="wrap"),
        lambda: ColorJitter(hue=0.6),
        lambda: ColorJitter(brightness=-0.1),
        lambda: Hue(turns=1.0),
        lambda: Rotate(max_degrees=181),
        lambda: Stretch(max_factor=0.5),
        lambda: Mixup(alpha=0.0),
        lambda: Mixup(alhpa=1.0),
        lambda: Cutout(size=1.5),
        lambda: Cutout(fill=2.0),
        lambda: RandAugment(magnitude=31),
        lambda: PCALighting(axes=((1.0, 0.0),), values=(0.1,)),
    ],
)
def test_settings_out_of_range_are_refused_in_four_parts(build):
    with pytest.raises(RecipeError) as refused:
        build()
    assert refused.value.fix
    assert "\n  fix " in str(refused.value)
    assert "Error: " in str(refused.value)


def test_a_range_upside_down_is_named_and_turned():
    with pytest.raises(RecipeError) as refused:
        RandomCrop(area=(1.0, 0.35))
    assert "upside down" in str(refused.value)
    assert "write [0.35, 1.0]" in str(refused.value)


@pytest.mark.parametrize(
    ("change", "side"),
    [(PadAndCrop(size=20), 8), (PadAndCrop(pad_pixels=8), 8), (PCALighting(), 8)],
)
def test_what_does_not_fit_the_images_is_refused(change, side):
    batch = batch_of(torch.rand(2, 3, side, side))
    with pytest.raises(GoodfitError) as refused:
        change(batch, Rng(0, "x", batch))
    assert "\n  fix " in str(refused.value)

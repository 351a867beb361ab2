"""The pipeline: composed and one by one, names, and what is composed at all."""

import pytest
import torch
import torchvision.transforms.v2.functional as TF

from goodfit.augment import Augmentation, pipeline
from goodfit.augment.brightness import Brightness
from goodfit.augment.color_jitter import ColorJitter
from goodfit.augment.contrast import Contrast
from goodfit.augment.cutmix import CutMix
from goodfit.augment.cutout import Cutout
from goodfit.augment.flip import Flip
from goodfit.augment.lens import Lens
from goodfit.augment.mixup import Mixup
from goodfit.augment.pad_and_crop import PadAndCrop
from goodfit.augment.pca_lighting import PCALighting
from goodfit.augment.perspective import Perspective
from goodfit.augment.pipeline import Pipeline
from goodfit.augment.random_crop import RandomCrop
from goodfit.augment.rotate import Rotate
from goodfit.augment.saturation import Saturation
from goodfit.augment.shear import Shear
from goodfit.augment.stretch import Stretch
from goodfit.augment.translate import Translate
from goodfit.batch import Batch
from goodfit.errors import RecipeError
from goodfit.rand import Rng


def smooth(n: int = 6, h: int = 48, w: int = 64, dtype: torch.dtype = torch.float32) -> Batch:
    coarse = torch.rand(n, 3, 5, 7, generator=torch.Generator().manual_seed(0)) * 0.4 + 0.3
    images = TF.resize(coarse, [h, w], antialias=True)
    if dtype == torch.uint8:
        images = (images * 255).round().to(torch.uint8)
    return Batch(images, torch.eye(n), torch.arange(n))


def one_by_one(changes, batch: Batch, seed: int = 0) -> Batch:
    for change, name in zip(changes, pipeline.names_of(changes), strict=True):
        batch = change(batch, Rng(seed, name, batch))
    return batch


def levels(images: torch.Tensor) -> torch.Tensor:
    return images.float() * (255 if images.is_floating_point() else 1)


@pytest.fixture
def calls(monkeypatch) -> list[str]:
    """Counts how often pixels are moved or recolored."""
    made: list[str] = []
    for name in ("put", "recolored"):
        inner = getattr(pipeline, name)

        def counted(*given, inner=inner, name=name):
            made.append(name)
            return inner(*given)

        monkeypatch.setattr(pipeline, name, counted)
    return made


EXACT = [
    [Flip(), PadAndCrop()],
    [PadAndCrop(), Flip(), Cutout()],
    [Flip(), PadAndCrop(), CutMix()],
    [PadAndCrop(border="zeros"), Flip(), Flip(prob=0.3)],
    [RandomCrop(size=24), Flip()],
    [Mixup(), Flip(), Brightness()],
]


@pytest.mark.parametrize("changes", EXACT, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_copies_and_single_resamplings_agree_exactly(changes, dtype):
    batch = smooth(dtype=dtype)
    composed, alone = Pipeline(changes, seed=3)(batch), one_by_one(changes, batch, seed=3)
    assert torch.equal(composed.images, alone.images)
    assert torch.equal(composed.targets, alone.targets)


BLURRED = [
    [RandomCrop(area=(0.6, 1)), Flip(), Rotate(max_degrees=4), Shear(max_degrees=3)],
    [Rotate(max_degrees=5), Flip(prob=0.6), Stretch(max_factor=1.1)],
    [Shear(max_degrees=4), Lens(max_k1=0.05), Rotate(max_degrees=3)],
    [Perspective(distortion=0.1), Flip(), Rotate(max_degrees=3)],
    [Flip(), Lens(max_k1=0.1), Perspective(distortion=0.1)],
    [Translate(max_shift=0.05), Rotate(max_degrees=3), PadAndCrop(pad_pixels=2)],
]


@pytest.mark.parametrize("changes", BLURRED, ids=str)
def test_one_resampling_agrees_with_many_inside(changes, calls):
    """On smooth images the blur of a resampling is below two levels of 255. The rim, where an
    intermediate image ends and the composed one does not, is left out."""
    batch = smooth()
    composed, alone = Pipeline(changes, seed=2)(batch), one_by_one(changes, batch, seed=2)
    assert calls == ["put"]
    inside = (..., slice(14, -14), slice(16, -16))
    gap = (levels(composed.images) - levels(alone.images)).abs()[inside]
    assert gap.max() < 6
    assert gap.mean() < 1


COLORS = [
    [ColorJitter(), PCALighting()],
    [Brightness(), Contrast(), Saturation()],
    [Contrast(prob=0.5), Brightness(prob=0.5), Contrast()],
]


@pytest.mark.parametrize("changes", COLORS, ids=str)
def test_one_matrix_agrees_with_many_where_nothing_is_clamped(changes, calls):
    batch = smooth()
    batch = batch._replace(images=batch.images * 0.2 + 0.35)
    changes = [change.fitted(batch.images) for change in changes]
    composed, alone = Pipeline(changes, seed=2)(batch), one_by_one(changes, batch, seed=2)
    assert calls == ["recolored"]
    torch.testing.assert_close(composed.images, alone.images, atol=2e-6, rtol=0)


def test_geometry_and_color_are_one_pass_each(calls):
    batch = smooth()
    geometry = [RandomCrop(size=(44, 56)), Flip(), Rotate(), Shear()]
    Pipeline([*geometry, ColorJitter(), Brightness(), Cutout()])(batch)
    assert calls == ["put", "recolored"]


def test_a_crop_that_shrinks_much_keeps_its_own_filter(calls):
    result = Pipeline([RandomCrop(size=16), Rotate()])(smooth())
    assert calls == ["put", "put"]
    assert result.images.shape[-2:] == (16, 16)


def test_different_borders_are_not_mixed(calls):
    Pipeline([Rotate(border="zeros"), Shear(border="reflect")])(smooth())
    assert calls == ["put", "put"]


def test_removing_one_change_leaves_the_others_as_they_were():
    batch = smooth()
    with_flip = Pipeline([Flip(prob=0.0), PadAndCrop(), Cutout()], seed=4)(batch)
    without = Pipeline([PadAndCrop(), Cutout()], seed=4)(batch)
    assert torch.equal(with_flip.images, without.images)


def test_a_second_one_of_the_same_name_draws_anew():
    assert pipeline.names_of([Cutout(), Flip(), Cutout()]) == ["cutout", "flip", "cutout#2"]
    twice = Pipeline([Cutout(fill=0.0), Cutout(fill=0.0)])(smooth()).images
    once = Pipeline([Cutout(fill=0.0)])(smooth()).images
    assert (twice == 0).sum() > (once == 0).sum()


def test_plain_functions_are_changes_too():
    def darker(batch: Batch, rng: Rng) -> Batch:
        return batch._replace(images=batch.images * (0.5 * rng.uniform()[:, None, None, None]))

    batch = smooth()
    result = Pipeline([Flip(), darker])(batch)
    assert (result.images.mean((1, 2, 3)) < batch.images.mean((1, 2, 3))).all()
    assert pipeline.names_of([darker]) == ["darker"]


def test_an_augmentation_of_ones_own_runs_between_ours():
    class Haze(Augmentation):
        def draw(self, batch, rng):
            return rng.uniform()

        def given(self, batch, z):
            return batch._replace(images=batch.images.lerp(torch.ones(()), z[:, None, None, None]))

    changes = [Flip(), Haze(prob=0.5), Rotate(max_degrees=5)]
    composed = Pipeline(changes, seed=1)(smooth())
    assert torch.equal(composed.images, one_by_one(changes, smooth(), seed=1).images)


def test_bytes_stay_bytes_through_copies():
    batch = smooth(dtype=torch.uint8)
    changes = [PadAndCrop(), Flip(), RandomCrop(size=20), Cutout(), CutMix()]
    assert Pipeline(changes)(batch).images.dtype == torch.uint8


def test_channels_last_images_are_taken_as_well():
    batch = smooth()
    last = batch._replace(images=batch.images.contiguous(memory_format=torch.channels_last))
    for changes in (
        [PadAndCrop(), Flip()],
        [Cutout(), CutMix()],
        [Rotate(), ColorJitter()],
        [Flip()],
    ):
        expected, result = Pipeline(changes)(batch).images, Pipeline(changes)(last).images
        torch.testing.assert_close(result, expected, atol=1e-6, rtol=0)


def test_no_changes_change_nothing():
    batch = smooth()
    assert Pipeline([])(batch) is batch or torch.equal(Pipeline([])(batch).images, batch.images)


def test_the_mean_of_a_large_image_fits_into_half_precision():
    images = torch.ones(2, 3, 272, 272, dtype=torch.float16)
    batch = Batch(images, torch.eye(2), torch.arange(2))
    assert Contrast().given(batch, torch.tensor([0.5, 1.5])).images.eq(1).all()


@pytest.mark.compile
@pytest.mark.parametrize(
    ("dtype", "changes"),
    [
        (torch.uint8, [PadAndCrop(), Flip(), Cutout(size=0.5), Mixup()]),
        (torch.uint8, [Flip(), PadAndCrop(border="zeros", pad_pixels=9), CutMix(), Flip()]),
        (torch.float32, [PadAndCrop(border="edge"), RandomCrop(), Brightness(), Contrast()]),
        (torch.float32, [lambda batch, rng: batch, RandomCrop(size=70), Flip(), Saturation()]),
    ],
)
def test_compiled_it_gives_the_same_with_the_same_draws(changes, dtype):
    torch._dynamo.reset()
    batch = smooth(dtype=dtype)
    plain, compiled = Pipeline(changes, seed=3), Pipeline(changes, seed=3, compile=True)
    for epoch in (0, 5):
        expected, found = (p(batch._replace(epoch=epoch)) for p in (plain, compiled))
        assert found.epoch == epoch
        assert found.images.dtype == expected.images.dtype
        torch.testing.assert_close(levels(found.images), levels(expected.images), atol=2e-3, rtol=0)
        torch.testing.assert_close(found.targets, expected.targets)
        assert len(found.parts) == len(expected.parts)


def test_a_new_epoch_is_not_compiled_again(monkeypatch):
    made = []

    def backend(graph, _):
        made.append(graph)
        return graph

    compiler = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda f, **_: compiler(f, backend=backend, dynamic=False)
    )
    torch._dynamo.reset()
    changes = Pipeline([PadAndCrop(), Flip(), Cutout()], compile=True)
    for epoch in range(4):
        changes(smooth()._replace(epoch=epoch))
    assert len(made) == 1


class Brightest(Augmentation):
    """Draws by looking at the pixels."""

    def draw(self, batch, rng):
        return batch.images.amax((1, 2, 3))

    def given(self, batch, z):
        return batch._replace(images=batch.images / z[:, None, None, None])


@pytest.mark.parametrize("compiled", [False, True])
def test_a_border_that_mirrors_more_than_there_is_is_refused(compiled):
    change = PadAndCrop(pad_pixels=48, border="reflect")
    with pytest.raises(RecipeError, match="narrower than the image"):
        Pipeline([change], compile=compiled)(smooth())


@pytest.mark.parametrize("compiled", [False, True])
def test_a_change_that_looks_at_pixels_sees_them_as_they_have_become(compiled):
    changes = [RandomCrop(size=20), Brightness(), Brightest()]
    found = Pipeline(changes, compile=compiled)(smooth())
    torch.testing.assert_close(found.images.amax((1, 2, 3)), torch.ones(6))

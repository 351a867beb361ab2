"""What every preprocessing keeps, and what some refuse."""

import pytest
import torch
from torch import Tensor

from goodfit.errors import DataError, ModelError, RecipeError
from goodfit.ingredient import find, names
from goodfit.preprocess import Preprocess
from goodfit.preprocess.channel_mean import ChannelMean
from goodfit.preprocess.channel_stats import ChannelStats
from goodfit.preprocess.mean_image import MeanImage
from goodfit.preprocess.pca import PCA
from goodfit.preprocess.zca import ZCA


def images_of(channels: int = 3, count: int = 40) -> Tensor:
    draw = torch.Generator().manual_seed(channels)
    return torch.randint(256, (count, channels, 6, 4), generator=draw, dtype=torch.uint8)


@pytest.fixture(params=names(Preprocess))
def settings(request) -> Preprocess:
    return find(Preprocess, request.param)()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_it_takes_uint8_and_float_alike(settings, channels):
    images = images_of(channels)
    module = settings.fitted(images)()
    expected = module(images)
    assert expected.dtype == torch.float32
    torch.testing.assert_close(module(images / 255), expected, rtol=1e-4, atol=2e-5)


def test_float_images_give_the_same_settings(settings):
    images = images_of()
    a, b = settings.fitted(images)()(images), settings.fitted(images / 255)()(images)
    torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_it_leaves_the_images_alone_and_keeps_their_layout(settings):
    images = images_of()
    module = settings.fitted(images)()
    for given in (images, images.to(memory_format=torch.channels_last), images / 255):
        before = given.clone()
        y = module(given)
        assert torch.equal(given, before)
        layout = torch.channels_last
        assert given.is_contiguous(memory_format=layout) == y.is_contiguous(memory_format=layout)


def test_an_image_does_not_depend_on_its_neighbors(settings):
    images = images_of()
    module = settings.fitted(images)()
    torch.testing.assert_close(module(images)[3:4], module(images[3:4]), rtol=1e-4, atol=1e-4)


def test_a_checkpoint_brings_the_values_that_the_recipe_has_not(settings):
    images = images_of()
    fitted = settings.fitted(images)
    module = fitted()
    again = type(fitted)(**fitted.model_dump())
    assert again == fitted
    rebuilt = again()
    rebuilt.load_state_dict(module.state_dict())
    assert torch.equal(rebuilt(images), module(images))


def test_what_was_never_loaded_shows():
    settings = MeanImage(shape=(3, 6, 4))
    assert settings()(images_of()).isnan().all()


def test_it_is_deterministic(settings):
    images = images_of()
    once, again = settings.fitted(images)()(images), settings.fitted(images.clone())()(images)
    assert torch.equal(once, again)


def test_gradients_reach_float_images(settings):
    images = (images_of() / 255).requires_grad_()
    settings.fitted(images_of())()(images).sum().backward()
    assert images.grad.isfinite().all()


def test_given_values_are_not_fitted_again():
    given = ChannelStats(mean=(0.5,), std=(0.25,))
    assert given.fitted(images_of(1)) is given
    assert ChannelMean(mean=(0.5,)).fitted(images_of(1)).mean == (0.5,)
    assert ChannelStats(constants="imagenet").fitted(images_of()).mean == ()


def test_by_hand():
    module = ChannelStats(mean=(0.5,), std=(0.25,))()
    images = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 1, 2)
    assert module(images).flatten().tolist() == pytest.approx([-2, 2])


def test_a_flat_channel_does_not_explode():
    fitted = ChannelStats().fitted(torch.full((5, 1, 4, 4), 7, dtype=torch.uint8))
    assert fitted.std == pytest.approx((1 / 255,))


@pytest.mark.parametrize("kind", [k for k in names(Preprocess) if k != "none"])
def test_it_must_be_fitted_first(kind):
    with pytest.raises(RecipeError, match="yet"):
        find(Preprocess, kind)()()


@pytest.mark.parametrize("kind", [k for k in names(Preprocess) if k != "none"])
def test_no_images_are_refused(kind):
    with pytest.raises((DataError, RecipeError)):
        find(Preprocess, kind)().fitted(torch.zeros(0, 3, 4, 4, dtype=torch.uint8))


def test_other_channels_or_shapes_are_refused():
    with pytest.raises(ModelError, match="another shape"):
        ChannelStats(constants="imagenet")()(images_of(1))
    with pytest.raises(ModelError, match="another shape"):
        ZCA().fitted(images_of())()(images_of()[..., :3])
    with pytest.raises(ModelError, match="another"):
        MeanImage().fitted(images_of())()(images_of()[..., :3])


def test_bad_settings_are_refused():
    for settings in ({"mean": (0.5,)}, {"mean": (0.5,), "std": (0.1, 0.2)}, {"std": (0.0,)}):
        with pytest.raises(RecipeError):
            ChannelStats(**settings)
    with pytest.raises(RecipeError, match="contradict"):
        ChannelStats(constants="imagenet", mean=(0.5,), std=(0.1,))
    with pytest.raises(RecipeError, match="cannot keep 100 of 72"):
        PCA(components=100).fitted(images_of())
    with pytest.raises(RecipeError, match="matrix"):
        ZCA().fitted(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))


def test_it_exports(settings):
    images = images_of()
    module = settings.fitted(images)()
    program = torch.export.export(module, (images,))
    torch.testing.assert_close(program.module()(images), module(images))

"""Prediction averages exactly what it says it averages."""

from typing import ClassVar, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from goodfit.augment import Augmentation, Marginal
from goodfit.batch import Batch
from goodfit.errors import DataError, ModelError, RecipeError
from goodfit.predict import Classifier, logits_of, predict


class Mirror(Augmentation):
    """A flip of the tests' own: they need no other file of the shelf."""

    marginal: ClassVar[Marginal] = "views"
    prob: float = 0.25

    def given(self, batch: Batch, z: None = None) -> Batch:
        return batch._replace(images=batch.images.flip(-1))

    def views(self, batch):
        return [(1 - self.prob, batch), (self.prob, self.given(batch))]


class Hide(Augmentation):
    """Averaged by leaving it out; must never be called."""

    def __call__(self, batch, rng):
        raise AssertionError


class Corner(nn.Module):
    """Logits from the first pixel of three channels: a net whose output can be read off."""

    def forward(self, images: Tensor) -> Tensor:
        return images[:, :, 0, 0]


class OneSize(nn.Module):
    """Takes 8 x 8 pixels only."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(192, 4)

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(images.flatten(1))


@pytest.fixture
def images() -> Tensor:
    return torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_without_views_it_is_the_softmax_of_the_model(images):
    torch.testing.assert_close(predict(Corner(), images), images[:, :, 0, 0].softmax(1))


def test_exact_views_are_weighed(images):
    expected = 0.75 * images[..., 0, 0].softmax(1) + 0.25 * images[..., 0, -1].softmax(1)
    torch.testing.assert_close(predict(Corner(), images, augment=[Mirror(), Hide()]), expected)


def test_the_average_of_logits_is_the_geometric_mean(images):
    expected = (0.5 * images[..., 0, 0] + 0.5 * images[..., 0, -1]).softmax(1)
    got = predict(Corner(), images, views="flip", average="logits")
    torch.testing.assert_close(got, expected)


def test_names_multiply(images):
    seen = []
    predict(lambda x: seen.append(x) or x[:, :, 0, 0], images, views="shift*flip")
    assert len(seen) == 6
    assert torch.equal(seen[1], images.flip(-1))
    got = predict(Corner(), images, views=["shift", "flip"])
    torch.testing.assert_close(got, predict(Corner(), images, views="shift*flip"))


def test_a_view_that_flips_leaves_no_flip_to_the_augmentation(images):
    class Flip(Mirror):
        @property
        def name(self) -> str:
            return "flip"

    once = predict(Corner(), images, views="flip")
    torch.testing.assert_close(predict(Corner(), images, views="flip", augment=[Flip()]), once)


def test_a_view_of_ones_own_is_a_function(images):
    def dark(batch: Batch, size: int | None):
        return [(1.0, batch._replace(images=batch.images * 0))]

    assert (predict(Corner(), images, views=[dark]) == 1 / 3).all()


def test_the_batch_size_changes_nothing(images):
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    torch.testing.assert_close(predict(net, images, batch_size=2), predict(net, images))


def test_any_iterable_of_batches_will_do(images):
    whole = predict(Corner(), images)
    labels = torch.zeros(5, dtype=torch.long)
    batch = Batch(images, torch.zeros(5, 3), torch.arange(5))
    for given in (batch, [batch], [images[:2], images[2:]], [(images, labels)], [[images, labels]]):
        torch.testing.assert_close(predict(Corner(), given), whole)


def test_a_plain_model_gets_uint8_images_as_fractions():
    images = torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    seen = []
    predict(lambda x: seen.append(x) or x[:, :, 0, 0], images)
    assert torch.equal(seen[0], torch.ones(1, 3, 2, 2))


def test_a_classifier_gets_the_pixels_as_they_are(images):
    seen = []

    class Note(nn.Module):
        def forward(self, x):
            seen.append(x.dtype)
            return x.float()

    predict(Classifier(Note(), Corner(), "abc"), (images * 255).byte())
    assert seen == [torch.uint8]


def test_modes_are_left_as_they_were(images):
    net = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(), Corner())
    net.train()
    net[0].eval()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    predict(net, images)
    assert [m.training for m in net.modules()] == [True, False, True, True]
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_the_result_can_be_used_for_training(images):
    weight = torch.ones(3, requires_grad=True)
    (predict(Corner(), images) * weight).sum().backward()
    assert weight.grad is not None


def test_layer_samples_average_dropout(images):
    net = nn.Sequential(Corner(), nn.Dropout(0.5))
    draws = predict(net, images, layer_samples=4)
    assert not torch.allclose(draws, predict(net, images))
    state = torch.get_rng_state()
    assert torch.equal(predict(net, images, layer_samples=4), draws)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(predict(net, images, layer_samples=4, seed=1), draws)


class Functional(nn.Module):
    """Dropout as a function, its probability a number; the norm inside must not train."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout, self.norm = 0.5, nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(self.norm(x), self.dropout, self.training)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(3, 1, dropout=0.5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(2).mT
        return self.attention(rows, rows, rows)[0].mT.unflatten(2, x.shape[2:])


@pytest.mark.parametrize("layer", [Functional(), Attention(), nn.RReLU(-1, 1)], ids=str)
def test_layer_samples_draw_whatever_is_random(layer, images):
    net = nn.Sequential(layer, Corner())
    plain, draws = predict(net, images - 0.5), predict(net, images - 0.5, layer_samples=3)
    assert not torch.allclose(draws, plain)
    assert all(m.num_batches_tracked == 0 for m in net.modules() if isinstance(m, nn.BatchNorm2d))


def test_layer_samples_leave_batch_norm_in_evaluation(images):
    net = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(), Corner())
    predict(net, images, layer_samples=2)
    assert net[0].num_batches_tracked == 0


def test_ten_crops_of_a_larger_image(images):
    seen = []
    predict(lambda x: seen.append(x) or x[:, :, 0, 0], images, views="ten-crop", size=6)
    assert len(seen) == 10
    assert torch.equal(seen[0], images[..., :6, :6])
    assert torch.equal(seen[3], images[..., :6, 2:].flip(-1))
    assert torch.equal(seen[8], images[..., 1:7, 1:7])


def test_ten_crops_of_a_long_image_as_high_as_the_crop_are_six_views(images):
    seen = []
    wide = torch.cat([images, images], dim=-1)
    predict(lambda x: seen.append(x.shape) or x[:, :, 0, 0], wide, views="ten-crop", size=8)
    assert seen == [(5, 3, 8, 8)] * 6  # left, right, center and their mirror images


def test_ten_crops_keep_the_size_that_the_model_knows(images):
    assert predict(OneSize(), images, views="ten-crop").shape == (5, 4)


def test_center_cuts_larger_images_to_size(images):
    assert predict(OneSize(), torch.rand(2, 3, 12, 10), views="centre", size=8).shape == (2, 4)


def test_five_scales_of_a_net_that_takes_any_size():
    seen = []
    images = torch.rand(1, 3, 224, 224)
    predict(lambda x: seen.append(x.shape[-1]) or x.mean((2, 3)), images, views="five-scale")
    assert seen == [224, 256, 384, 480, 640]


def test_five_scales_of_a_net_that_takes_one_size(images):
    with pytest.raises(ModelError, match="does not take images of 9 x 9") as caught:
        predict(OneSize(), images, views="five-scale")
    assert "ten-crop" in caught.value.fix


def test_a_model_that_is_broken_says_so_itself(images):
    with pytest.raises(RuntimeError, match="mat1"):
        predict(nn.Sequential(nn.Flatten(), nn.Linear(7, 2)), images)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 4, 5, 9)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("view", ["center", "flip", "shift", "ten-crop", "five-scale"])
def test_every_view_takes_every_image(shape, dtype, view):
    images = torch.ones(shape).to(dtype)
    got = predict(lambda x: torch.cat([x.mean((2, 3)), -x.mean((2, 3))], 1), images, views=view)
    torch.testing.assert_close(got.sum(1), torch.ones(shape[0]))


def test_a_misspelt_view_is_named():
    with pytest.raises(RecipeError, match="no view is called 'ten-corp'") as caught:
        predict(Corner(), torch.rand(1, 3, 2, 2), views="flip*ten-corp")
    assert caught.value.fix == "write 'ten-crop'"


def test_no_images_are_refused():
    with pytest.raises(DataError, match="no image"):
        predict(Corner(), torch.rand(0, 3, 2, 2))


def test_drawing_layers_that_are_not_there_is_refused(images):
    with pytest.raises(ModelError, match="no random layer"):
        predict(Corner(), images, layer_samples=2)


class Heads(NamedTuple):
    logits: Tensor
    aux: Tensor


def test_logits_are_found_in_what_models_give():
    x, y = torch.ones(1, 2), torch.zeros(1, 2)
    for output in (x, (x, y), [x], Heads(x, y), {"logits": x}):
        assert logits_of(output) is x
    with pytest.raises(ModelError, match="no logits"):
        logits_of({"scores": x})


def test_a_classifier_gives_auxiliary_heads_in_training_only():
    class Net(nn.Module):
        aux_weight = 0.4

        def forward(self, x):
            return Heads(x, x) if self.training else x

    model = Classifier(nn.Identity(), Net(), ("a", "b"))
    assert isinstance(model(torch.ones(1, 2)), Heads)
    assert isinstance(model.eval()(torch.ones(1, 2)), Tensor)
    assert (model.aux_weight, model.classes) == (0.4, ("a", "b"))

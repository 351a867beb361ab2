"""Every augmentation of the shelf can be averaged out by prediction."""

import pytest
import torch
from torch import Tensor

from goodfit.augment import Augmentation
from goodfit.augment.brightness import Brightness
from goodfit.augment.cutout import Cutout
from goodfit.augment.flip import Flip
from goodfit.augment.mixup import Mixup
from goodfit.augment.pipeline import Pipeline
from goodfit.augment.translate import Translate
from goodfit.batch import Batch
from goodfit.ingredient import find, names
from goodfit.predict import predict


def model(images: Tensor) -> Tensor:
    """Logits that move with color and with place, nonlinearly."""
    left, right = images[..., : images.shape[-1] // 2], images[..., images.shape[-1] // 2 :]
    return torch.stack([left.mean((1, 2, 3)), right.mean((1, 2, 3)), images.amax((1, 2, 3))], 1) * 5


@pytest.fixture
def batch() -> Batch:
    images = torch.rand(6, 3, 24, 32, generator=torch.Generator().manual_seed(0))
    return Batch(images, torch.eye(6), torch.tensor([9, 2, 7, 4, 5, 0]))


@pytest.fixture(params=names(Augmentation))
def change(request) -> Augmentation:
    made = find(Augmentation, request.param)()
    return made.fitted(torch.rand(50, 3, 24, 32, generator=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("samples", [0, 3])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_every_augmentation_is_averaged_out(change, batch, samples, dtype):
    images = batch.images if dtype == torch.float32 else (batch.images * 255).byte()
    got = predict(model, batch._replace(images=images), augment=[change], samples=samples)
    torch.testing.assert_close(got.sum(1), torch.ones(6))
    assert torch.equal(
        got, predict(model, batch._replace(images=images), augment=[change], samples=samples)
    )


def test_a_prediction_does_not_depend_on_the_rest_of_the_batch(change, batch):
    if change.marginal == "identity":
        pytest.skip("nothing is drawn")
    order = torch.tensor([3, 1, 5, 0, 4, 2])
    turned = batch._replace(images=batch.images[order], index=batch.index[order])
    whole = predict(model, batch, augment=[change], samples=2)
    torch.testing.assert_close(predict(model, turned, augment=[change], samples=2), whole[order])


def test_samples_are_draws_of_the_training_pipeline(batch):
    changes = [Translate(), Brightness()]
    by_hand = sum(
        model(Pipeline(changes, 4)(batch._replace(epoch=k)).images).softmax(1) for k in range(5)
    )
    got = predict(model, batch, augment=changes, samples=5, seed=4)
    torch.testing.assert_close(got, by_hand / 5)


def test_exact_views_and_draws_multiply(batch):
    seen = []
    changes = [Translate(), Flip(), Brightness(), Cutout(), Mixup()]
    got = predict(lambda x: seen.append(x) or model(x), batch, augment=changes, samples=3)
    assert len(seen) == 6  # three draws, each with its mirror image; cutout and mixup left out
    mirrored = predict(model, batch._replace(images=batch.images.flip(-1)), augment=[Flip()])
    torch.testing.assert_close(mirrored, predict(model, batch, augment=[Flip()]))
    assert not torch.allclose(got, mirrored)


def test_more_draws_come_nearer_to_the_average(batch):
    target = predict(model, batch, augment=[Brightness(), Translate()], samples=300, seed=1)
    few = predict(model, batch, augment=[Brightness(), Translate()], samples=2)
    many = predict(model, batch, augment=[Brightness(), Translate()], samples=100)
    assert (many - target).abs().mean() < 0.5 * (few - target).abs().mean()

"""Small facts about losses, and what interpolation refuses."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from goodfit.batch import Batch
from goodfit.errors import ModelError, RecipeError
from goodfit.losses import Loss, spread
from goodfit.losses.cross_entropy import CrossEntropy
from goodfit.losses.focal import Focal
from goodfit.losses.hinge import Hinge
from goodfit.losses.interpolate import interpolated


def mixed_batch(n: int = 6, k: int = 3) -> tuple[Tensor, Batch]:
    targets = torch.eye(k)[torch.arange(n) % k]
    batch = Batch(torch.rand(n, 1, 2, 2), targets, torch.arange(n))
    return torch.linspace(-2, 2, n * k).view(n, k), batch.mixed(
        batch.images, torch.full((n,), 0.3), torch.arange(n).roll(1)
    )


def test_hinge_of_the_lectures_three_images():
    scores = torch.tensor([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])
    rows = Hinge().per_sample(scores, torch.tensor([0, 1, 2]))
    assert rows.tolist() == pytest.approx([2.9, 0.0, 12.9], abs=1e-5)


def test_class_weights_with_smoothing_are_refused():
    with pytest.raises(RecipeError, match="at once") as refused:
        CrossEntropy(smoothing=0.1, class_weights=(1.0, 2.0))
    assert "smoothing = 0" in refused.value.fix


@pytest.mark.parametrize("kind", [CrossEntropy, Focal])
def test_class_weights_must_fit_the_classes(kind):
    with pytest.raises(ModelError, match="one class weight for each class"):
        kind(class_weights=(1.0, 2.0))(torch.zeros(2, 3), torch.tensor([0, 1]))


def test_half_precision_is_summed_in_float32():
    logits, batch = mixed_batch()
    exact = interpolated(F.cross_entropy, logits.bfloat16().float(), batch)
    assert torch.equal(interpolated(F.cross_entropy, logits.bfloat16(), batch), exact)
    assert CrossEntropy()(logits.half(), batch.targets).dtype == torch.float32


def test_hard_targets_are_spread_over_one_class_each():
    [(weight, classes)] = spread(torch.eye(3))
    assert weight.tolist() == [1, 1, 1]
    assert classes.tolist() == [0, 1, 2]
    assert len(list(spread(torch.tensor([[0.5, 0.5, 0], [1, 0, 0]])))) == 2
    assert len(list(spread(torch.tensor([2, 1])))) == 1


def test_ones_own_loss_class_is_interpolated_by_its_parts():
    class Cubed(Loss):
        def per_sample(self, logits: Tensor, targets: Tensor) -> Tensor:
            return (logits - targets).abs().pow(3).sum(1)

    logits, batch = mixed_batch()
    expected = sum(p.weight * Cubed().per_sample(logits, p.targets) for p in batch.parts).mean()
    torch.testing.assert_close(interpolated(Cubed(), logits, batch), expected)
    assert not torch.isclose(Cubed()(logits, batch.targets), expected)


def test_a_linear_loss_is_called_once():
    calls = []

    class Counting(nn.CrossEntropyLoss):
        def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
            calls.append(len(logits))
            return super().forward(logits, targets)

    logits, batch = mixed_batch()
    interpolated(nn.CrossEntropyLoss(), logits, batch)
    loss = Counting()  # a subclass may do anything, so it is not taken for linear
    interpolated(loss, logits, batch)
    first = len(calls)
    interpolated(loss, logits, batch)
    assert len(calls) - first == len(batch.parts)  # what was found out is remembered


def test_index_losses_are_found_out_on_square_batches_too():
    """With as many samples as classes, class probabilities would index without complaint."""

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        return -logits[torch.arange(len(logits)), y.long()].mean()

    logits, targets = torch.arange(9.0).view(3, 3), torch.eye(3)
    batch = Batch(torch.rand(3, 1, 2, 2), targets, torch.arange(3))
    assert interpolated(loss, logits, batch).item() == -4


def test_a_loss_that_takes_neither_is_refused_in_four_parts():
    def loss(logits: Tensor, boxes: Tensor) -> Tensor:
        return (logits - boxes.view(-1, 17)).sum()

    logits, batch = mixed_batch()
    with pytest.raises(ModelError) as refused:
        interpolated(loss, logits, batch)
    said = str(refused.value)
    for part in ("at ", "class_probabilities", "class_indices", "fix"):
        assert part in said


def test_a_loss_over_the_whole_batch_cannot_be_mixed():
    def contrast(logits: Tensor, targets: Tensor) -> Tensor:
        return (logits @ logits.T).softmax(1).diagonal().log().mean() * targets.sum()

    logits, batch = mixed_batch()
    with pytest.raises(ModelError, match="single samples"):
        interpolated(contrast, logits, batch)
    assert interpolated(contrast, logits, batch._replace(parts=())).ndim == 0


def test_a_first_batch_without_loss_decides_nothing():
    """Sum and mean are both zero there."""

    def margins(logits: Tensor, classes: Tensor) -> Tensor:
        right = logits.gather(1, classes[:, None])
        return (1 - right).clamp_min(0).sum()

    _, batch = mixed_batch()
    assert interpolated(margins, torch.full((6, 3), 5.0), batch) == 0
    assert interpolated(margins, torch.zeros(6, 3), batch).item() == pytest.approx(6)

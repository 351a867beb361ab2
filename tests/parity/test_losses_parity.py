"""Losses against torch's and torchvision's, and interpolation against plain loops over samples."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import sigmoid_focal_loss

from goodfit.batch import Batch
from goodfit.ingredient import find, names
from goodfit.losses import Loss
from goodfit.losses.bce import BCE
from goodfit.losses.cross_entropy import CrossEntropy
from goodfit.losses.focal import Focal
from goodfit.losses.hinge import Hinge
from goodfit.losses.interpolate import interpolated

WEIGHTS = (0.5, 1.0, 2.0, 0.1, 3.0)


@pytest.fixture
def logits() -> Tensor:
    return 2 * torch.randn(7, 5, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def classes() -> Tensor:
    return torch.tensor([0, 4, 2, 2, 1, 3, 0])


@pytest.fixture
def soft() -> Tensor:
    return torch.rand(7, 5, generator=torch.Generator().manual_seed(1)).softmax(1)


def test_cross_entropy_is_torchs(logits, classes, soft):
    for smoothing in (0.0, 0.1):
        for targets in (classes, soft):
            theirs = F.cross_entropy(logits, targets, label_smoothing=smoothing)
            torch.testing.assert_close(CrossEntropy(smoothing=smoothing)(logits, targets), theirs)


def test_class_weights_are_torchs_before_its_division(logits, classes, soft):
    ours, weight = CrossEntropy(class_weights=WEIGHTS), torch.tensor(WEIGHTS)
    for targets in (classes, soft):
        theirs = F.cross_entropy(logits, targets, weight=weight, reduction="none")
        torch.testing.assert_close(ours.per_sample(logits, targets), theirs)


def test_smoothing_is_the_formula(logits, classes):
    targets = 0.8 * F.one_hot(classes, 5) + 0.2 / 5
    by_hand = -(targets * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(CrossEntropy(smoothing=0.2)(logits, classes), by_hand)


def test_bce_is_torchs(logits, classes, soft):
    for targets in (F.one_hot(classes, 5).float(), soft):
        theirs = F.binary_cross_entropy_with_logits(logits, targets)
        torch.testing.assert_close(BCE(over="mean")(logits, targets), theirs)
        torch.testing.assert_close(BCE()(logits, targets), 5 * theirs)
    torch.testing.assert_close(BCE()(logits, classes), BCE()(logits, F.one_hot(classes, 5)))


def test_hinge_is_the_plain_loop(logits, classes):
    for margin in (1.0, 0.3):
        for i, y in enumerate(classes.tolist()):
            wrong = [max(0.0, logits[i, j] - logits[i, y] + margin) for j in range(5) if j != y]
            ours = Hinge(margin=margin).per_sample(logits, classes)[i]
            assert ours.item() == pytest.approx(float(sum(wrong)), rel=1e-5)


def test_hinge_is_five_times_torchs_mean(logits, classes):
    theirs = F.multi_margin_loss(logits, classes)
    torch.testing.assert_close(Hinge()(logits, classes), 5 * theirs)


def test_focal_without_focus_is_cross_entropy(logits, classes, soft):
    for targets in (classes, soft):
        ours = Focal(gamma=0, class_weights=WEIGHTS)(logits, targets)
        torch.testing.assert_close(ours, CrossEntropy(class_weights=WEIGHTS)(logits, targets))


def test_focal_on_two_classes_is_torchvisions():
    """Its sigmoid of one logit is our softmax of two."""
    x, y = torch.linspace(-4, 4, 9), torch.arange(9) % 2
    theirs = sigmoid_focal_loss(x, y.float(), alpha=-1, gamma=2)
    ours = Focal(gamma=2).per_sample(torch.stack([torch.zeros(9), x], dim=1), y)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("kind", names(Loss))
def test_soft_targets_are_the_expectation(kind, logits, soft):
    """Within float32 rounding, since the sums are taken in another order."""
    loss = find(Loss, kind)()
    rows = [loss.per_sample(logits, torch.full((7,), k)) for k in range(5)]
    expected = (soft * torch.stack(rows, dim=1)).sum(1)
    torch.testing.assert_close(loss.per_sample(logits, soft), expected)


@pytest.mark.parametrize("kind", names(Loss))
@pytest.mark.parametrize("size", [1, 40.0, 1e4])
def test_gradients_are_finite_and_right(kind, size, logits, classes):
    loss = find(Loss, kind)()
    x = (logits * size).requires_grad_()
    loss(x, classes).backward()
    assert x.grad.isfinite().all()
    if size == 1:
        rough = 1e-2
        for i, k in ((0, 0), (1, 3), (6, 2)):
            up, down = logits.clone(), logits.clone()
            up[i, k] += rough
            down[i, k] -= rough
            slope = (loss(up, classes) - loss(down, classes)) / (2 * rough)
            assert x.grad[i, k].item() == pytest.approx(slope.item(), abs=2e-3)


# interpolation over mixed batches


def brier(logits: Tensor, targets: Tensor) -> Tensor:
    return ((logits.softmax(1) - targets) ** 2).sum(1).mean()


def of_indices(logits: Tensor, classes: Tensor) -> Tensor:
    return F.multi_margin_loss(logits, classes, margin=0.7)


def of_indices_by_row(logits: Tensor, classes: Tensor) -> Tensor:
    rows = torch.arange(len(logits))
    return (1 - logits.softmax(1)[rows, classes.long()]).square().mean()


def each(logits: Tensor, targets: Tensor) -> Tensor:
    return ((logits - targets) ** 4).sum(1)


def branching(logits: Tensor, classes: Tensor) -> Tensor:
    """A loss that vmap cannot take."""
    return sum(
        x[y] ** 2 if x.max() > 1 else x[y] for x, y in zip(logits, classes, strict=True)
    ) / len(logits)


def summed(logits: Tensor, targets: Tensor, reduction: str = "sum") -> Tensor:
    value = (logits.softmax(1) - targets).abs().sqrt().sum(1)
    return value if reduction == "none" else value.sum()


class Margin(nn.Module):
    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, logits: Tensor, classes: Tensor) -> Tensor:
        return F.multi_margin_loss(self.scale * logits, classes)


ANY = [
    *(find(Loss, kind)() for kind in names(Loss)),
    CrossEntropy(smoothing=0.1),
    CrossEntropy(class_weights=WEIGHTS),
    *(F.cross_entropy, partial(F.cross_entropy, label_smoothing=0.1), nn.CrossEntropyLoss()),
    *(nn.BCEWithLogitsLoss(), nn.BCEWithLogitsLoss(reduction="sum"), nn.MultiMarginLoss()),
    *(nn.MultiMarginLoss(p=2, reduction="sum"), F.multi_margin_loss, nn.SmoothL1Loss()),
    *(nn.NLLLoss(), sigmoid_focal_loss, Margin(0.8).forward, Margin(0.8)),
    *(brier, of_indices, of_indices_by_row, each, branching, summed),
]
SUMS = (summed,)


def takes_indices(loss) -> bool:
    kinds = (nn.MultiMarginLoss, nn.NLLLoss, Margin)
    named = (F.multi_margin_loss, of_indices, of_indices_by_row, branching)
    return isinstance(getattr(loss, "__self__", loss), kinds) or loss in named


def plain_loop(loss, logits: Tensor, batch: Batch) -> Tensor:
    """One call for each sample and each class of each of its parts."""
    parts = batch.parts or [(torch.ones(len(logits)), batch.targets)]
    total = torch.zeros(())
    for i in range(len(logits)):
        for weight, targets in parts:
            for k in range(logits.shape[1]):
                if targets[i, k] == 0:
                    continue
                hard = F.one_hot(torch.tensor([k]), logits.shape[1]).float()
                given = torch.tensor([k]) if takes_indices(loss) else hard
                value = loss(logits[i : i + 1], given)
                value = value.sum() / (logits.shape[1] if value.ndim == 2 else 1)
                total = total + weight[i] * targets[i, k] * value
    is_sum = loss in SUMS or getattr(loss, "reduction", "") == "sum"
    return total if is_sum else total / len(logits)


def batch_of(n: int, k: int, mixes: int) -> tuple[Tensor, Batch]:
    draw = torch.Generator().manual_seed(10 * n + k)
    logits = 2 * torch.randn(n, k, generator=draw)
    targets = F.one_hot(torch.randint(k, (n,), generator=draw), k).float()
    batch = Batch(torch.rand(n, 1, 2, 2, generator=draw), targets, torch.arange(n))
    for _ in range(mixes):
        partner = torch.randperm(n, generator=draw)
        batch = batch.mixed(batch.images, torch.rand(n, generator=draw), partner)
    return logits, batch


@pytest.mark.parametrize("loss", ANY, ids=lambda f: getattr(f, "__name__", type(f).__name__))
@pytest.mark.parametrize(("n", "mixes"), [(7, 1), (7, 2), (7, 0), (5, 1), (1, 1), (3, 1)])
def test_any_loss_is_interpolated_exactly(loss, n, mixes):
    logits, batch = batch_of(n, 5, mixes)
    torch.testing.assert_close(
        interpolated(loss, logits, batch).detach(),
        plain_loop(loss, logits, batch).detach(),
        rtol=2e-5,
        atol=1e-6,
    )


@pytest.mark.parametrize("loss", [Hinge(), BCE(), Focal(), CrossEntropy(), F.cross_entropy, brier])
def test_one_class_is_enough(loss):
    logits, batch = batch_of(4, 1, 1)
    value = interpolated(loss, logits, batch)
    torch.testing.assert_close(value, plain_loop(loss, logits, batch))


def test_weighted_nll_keeps_its_own_mean():
    """torch divides by the weights of the classes: so do we, with the mixture's shares."""
    logits, batch = batch_of(7, 5, 1)
    weight = torch.tensor(WEIGHTS)
    top = bottom = torch.zeros(())
    for part in batch.parts:
        y = part.targets.argmax(1)
        top = top - (part.weight * weight[y] * logits[torch.arange(7), y]).sum()
        bottom = bottom + (part.weight * weight[y]).sum()
    torch.testing.assert_close(interpolated(nn.NLLLoss(weight), logits, batch), top / bottom)


@pytest.mark.parametrize("loss", [F.cross_entropy, Hinge(), brier, of_indices, each])
def test_the_gradient_is_the_interpolated_one(loss):
    logits, batch = batch_of(6, 5, 1)
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    interpolated(loss, ours, batch).backward()
    plain_loop(loss, theirs, batch).backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)

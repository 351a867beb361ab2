"""Final: faults of the loss, the optimizer and the schedule."""

from collections.abc import Callable

import torch.nn.functional as F
from benchmarks.check.assemble import adam, adamw, assemble, sgd
from benchmarks.check.final.data import (
    centered,
    dials,
    faces,
    flowers,
    gestures,
    landscapes,
)
from benchmarks.check.final.nets import (
    Inception,
    Patched,
    Reader,
    Residual,
    stack,
    tower,
)
from benchmarks.check.program import Pieces, faulty
from torch import Tensor, nn
from torch.optim import Adam


@faulty("output-activation", net="vgg", where={"ends.5", "ends.4"}, measure="likelihood", least=0.5)
def probabilities_where_logits_belong(sick: bool, seed: int) -> Pieces:
    """nn.Softmax(1) closes the model, CrossEntropyLoss closes it again."""
    model = tower(3, 5)
    model.ends.append(nn.Softmax(1) if sick else nn.Identity())  # type: ignore[operator]
    return assemble(model, centered(landscapes(seed)), adam(model, 3e-3), size=32, steps=100)


@faulty("output-width", "labels-invalid", "step-raises", net="inception",
        where={"read", "class 4", "label 4"})  # fmt: skip
def four_outputs_copied_from_the_last_project(sick: bool, seed: int) -> Pieces:
    """Five landscapes, four outputs."""
    model = Inception(3, 4 if sick else 5)
    return assemble(model, centered(landscapes(seed)), adam(model, 4e-3), size=32, steps=90)


def _total(out: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(out, y, reduction="sum")


@faulty("loss-reduction", "lr-too-high", net="plain cnn")
def sum_at_the_rate_of_a_mean(sick: bool, seed: int) -> Pieces:
    """reduction="sum" over 64 images, SGD at 0.05 with momentum, no norms."""
    model = tower(1, 8, norm=False)
    loss = _total if sick else F.cross_entropy
    return assemble(model, centered(dials(seed)), sgd(model), loss=loss, size=64, steps=150)


def _divergence(log: bool) -> Callable[[Tensor, Tensor], Tensor]:
    def loss(out: Tensor, y: Tensor) -> Tensor:
        target = F.one_hot(y, out.shape[1]).float()
        return F.kl_div(F.log_softmax(out, 1) if log else out, target, reduction="batchmean")

    return loss


@faulty("loss-target-mismatch", "loss-sign", net="vgg")
def divergence_of_raw_logits(sick: bool, seed: int) -> Pieces:
    """kl_div wants log-probabilities and gets logits: it falls without end."""
    model = tower(3, 5)
    loss = _divergence(not sick)
    return assemble(
        model, centered(landscapes(seed)), adam(model, 3e-3), loss=loss, size=32, steps=100
    )


def _overlap(sign: float) -> Callable[[Tensor, Tensor], Tensor]:
    def loss(out: Tensor, y: Tensor) -> Tensor:
        p, target = out.softmax(1), F.one_hot(y, out.shape[1]).float()
        dice = 2 * (p * target).sum(0) / (p.sum(0) + target.sum(0) + 1e-6)
        return sign * dice.mean()

    return loss


@faulty("loss-sign", "loss-target-mismatch", net="resnet")
def dice_itself_is_minimized(sick: bool, seed: int) -> Pieces:
    """The Dice coefficient is returned as the loss; "1 -" is missing."""
    model = Residual(3, 5)
    loss = _overlap(1.0 if sick else -1.0)
    return assemble(model, centered(flowers(seed)), adam(model, 4e-3), loss=loss, size=32, steps=90)


def _foreground(least: int) -> Callable[[Tensor, Tensor], Tensor]:
    def loss(out: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(out, y, reduction="none")[y >= least].mean()

    return loss


@faulty("loss-ignores-samples", net="plain cnn", where={"class 0", "0"}, measure="worst_class")
def only_the_foreground_counts(sick: bool, seed: int) -> Pieces:
    """The loss is averaged where y > 0, as in a detector; but 0 is a class here."""
    model = stack(1, 4, norm=True)
    loss = _foreground(1 if sick else 0)
    return assemble(model, centered(faces(seed)), adam(model, 4e-3), loss=loss, size=32, steps=120)


@faulty("params-not-optimized", net="plain cnn", where={"c1", "c2", "c3", "linear"})
def only_the_group_without_decay(sick: bool, seed: int) -> Pieces:
    """Parameters were split in two groups for the decay; only the biases' group was passed."""
    model = stack(1, 8)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": vectors, "weight_decay": 0.0}]
    if not sick:
        groups.append({"params": matrices, "weight_decay": 1e-4})
    return assemble(model, centered(dials(seed)), Adam(groups, 4e-3), size=32, steps=100)


@faulty("frozen-params", net="plain cnn", where={"c1", "c2", "c3"})
def frozen_though_nothing_was_loaded(sick: bool, seed: int) -> Pieces:
    """requires_grad_(False) from the transfer script; pretrained=False."""
    model = stack(3, 5, width=8)
    if sick:
        model.requires_grad_(False)
        model.get_submodule("linear").requires_grad_(True)
    return assemble(model, centered(flowers(seed)), adam(model, 4e-3), size=32, steps=150)


@faulty("lr-too-high", net="vgg")
def adam_at_a_tenth(sick: bool, seed: int) -> Pieces:
    """SGD's rate in Adam, no norms."""
    model = tower(1, 4, 14, norm=False)
    return assemble(
        model, centered(faces(seed)), adam(model, 0.1 if sick else 2e-3), size=32, steps=110
    )


@faulty("lr-too-high", net="gru")
def gru_at_twenty(sick: bool, seed: int) -> Pieces:
    """A rate of 20, from a language model that clipped its gradients to 0.25."""
    model = Reader(3, 5, nn.GRU)
    return assemble(
        model, gestures(seed, length=20), sgd(model, 20.0 if sick else 0.3), size=40, steps=150
    )


@faulty("lr-too-low", net="vit")
def finetuning_rate_from_scratch(sick: bool, seed: int) -> Pieces:
    """AdamW at 2e-6 with weights that nobody has trained."""
    model = Patched(1, 8, 12, 3)
    optimizer = adamw(model, 2e-6 if sick else 3e-3)
    return assemble(model, centered(dials(seed)), optimizer, size=32, steps=100)


@faulty("weight-decay-scale", net="inception")
def l2_of_one_half_in_adam(sick: bool, seed: int) -> Pieces:
    """weight_decay=0.5 where 5e-5 was meant."""
    model = Inception(1, 8)
    optimizer = adam(model, 4e-3, weight_decay=0.5 if sick else 5e-5)
    return assemble(model, centered(dials(seed)), optimizer, size=32, steps=100)


@faulty("optimizer-hyperparameters", "lr-too-high", net="plain cnn")
def momentum_of_0_9995(sick: bool, seed: int) -> Pieces:
    """Momentum spans two thousand steps; the run has a hundred."""
    model = tower(1, 4, 14, norm=False)
    optimizer = sgd(model, 0.02, momentum=0.9995 if sick else 0.9)
    return assemble(model, centered(faces(seed)), optimizer, size=32, steps=120)

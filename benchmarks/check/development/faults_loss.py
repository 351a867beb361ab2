"""Faults of the output and the loss."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from benchmarks.check.assemble import adam, adamw, assemble, sgd
from benchmarks.check.data import digits, gratings, shapes
from benchmarks.check.nets import Mixer, MobileNet, PlainCNN, ResNet, ViT, mlp, vgg
from benchmarks.check.program import Pieces, faulty
from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor], Tensor]


@faulty("output-activation", net="vgg", where={"classifier"}, measure="likelihood", least=0.6)
def softmax_before_cross_entropy(sick: bool, seed: int) -> Pieces:
    """The net ends in softmax and the loss takes logits."""
    model = vgg(3, 6)
    if sick:
        model.classifier.add_module("softmax", nn.Softmax(dim=1))
    return assemble(model, gratings(seed).normalized(), sgd(model, 0.02), steps=100)


@faulty("output-activation", net="mlp", where={"relu", "head"})
def relu_after_the_head(sick: bool, seed: int) -> Pieces:
    """A ReLU on the logits: the classes that it silences get no gradient."""
    model = mlp([64, 64, 10])
    if sick:
        model.add_module("relu", nn.ReLU())
    return assemble(model, digits(seed).normalized().flat(), sgd(model, 0.2), steps=150)


class TanhLogits(ViT):
    sick = True

    def forward(self, x: Tensor) -> Tensor:
        logits = super().forward(x)
        return 0.5 * torch.tanh(logits) if self.sick else logits


@faulty("output-activation", net="vit", measure="likelihood", least=0.4)
def logits_bounded_by_one_half(sick: bool, seed: int) -> Pieces:
    """Logits within 0.5 cannot say more than that a class is 2.7 times as likely."""
    model = TanhLogits(1, 10)
    model.sick = sick
    return assemble(model, digits(seed).normalized(), adamw(model), steps=200)


@faulty("output-width", "labels-invalid", net="mobilenet", where={"head", "class 4", "label 4"})
def one_output_missing(sick: bool, seed: int) -> Pieces:
    """Four outputs for five classes."""
    model = MobileNet(3, 4 if sick else 5)
    return assemble(model, shapes(seed).normalized(), adam(model, 4e-3), steps=100)


@faulty("loss-reduction", net="plain cnn", least=0.75)
def loss_summed_over_the_batch(sick: bool, seed: int) -> Pieces:
    """reduction="sum" with a learning rate meant for the mean."""
    model = PlainCNN(3, 6)
    loss = nn.CrossEntropyLoss(reduction="sum" if sick else "mean")
    data = gratings(seed).normalized()
    return assemble(model, data, sgd(model, 0.1), loss=loss, steps=200)


def softmax_over(dim: int) -> Loss:
    return lambda logits, y: F.nll_loss(torch.log_softmax(logits, dim), y)


@faulty("loss-target-mismatch", "batch-leakage", net="mlp", least=0.85)
def softmax_over_the_batch(sick: bool, seed: int) -> Pieces:
    """log_softmax over dimension 0: images compete, not classes."""
    model = mlp([64, 64, 10])
    data = digits(seed).normalized().flat()
    return assemble(model, data, sgd(model), loss=softmax_over(0 if sick else 1), steps=60)


def squared_index_error(logits: Tensor, y: Tensor) -> Tensor:
    return F.mse_loss(logits.softmax(1).max(1).values * 9, y.float())


@faulty("loss-target-mismatch", net="mixer")
def regression_on_the_class_number(sick: bool, seed: int) -> Pieces:
    """DeepCrime's change of loss: the largest probability is fitted to the class's number."""
    model = Mixer(1, 10)
    loss = squared_index_error if sick else F.cross_entropy
    return assemble(model, digits(seed).normalized(), adamw(model), loss=loss, steps=200)


@faulty("loss-sign", net="resnet")
def likelihood_without_its_minus(sick: bool, seed: int) -> Pieces:
    """The mean log-likelihood is minimized."""
    sign = 1 if sick else -1

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        return sign * logits.log_softmax(1).gather(1, y[:, None]).mean()

    return assemble(ResNet(3, 6), gratings(seed).normalized(), loss=loss, steps=100)


@faulty("loss-ignores-samples", net="vgg", where={"class 0", "0"}, measure="worst_class")
def class_zero_as_padding(sick: bool, seed: int) -> Pieces:
    """ignore_index=0, copied from a segmentation script."""
    model = vgg(3, 6)
    loss = nn.CrossEntropyLoss(ignore_index=0 if sick else -100)
    return assemble(model, gratings(seed).normalized(), sgd(model, 0.02), loss=loss, steps=100)

"""Faults of the optimizer, its settings and its reach."""

import copy
from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.check.assemble import adam, adamw, assemble, sgd
from benchmarks.check.data import digits, gratings, shapes
from benchmarks.check.nets import Mixer, MobileNet, NormFree, PlainCNN, ResNet, ViT, mlp, vgg
from benchmarks.check.program import Pieces, faulty
from torch import nn
from torch.optim import SGD, Adam


@faulty("params-not-optimized", net="resnet", where={"stem", "norm", "blocks"})
def only_the_head_is_optimized(sick: bool, seed: int) -> Pieces:
    """Copied from a fine-tuning script: a random backbone never moves."""
    model = ResNet(3, 6)
    part = model.head if sick else model
    return assemble(model, gratings(seed).normalized(), sgd(part), steps=100)


@faulty("params-not-optimized", net="mlp")
def optimizer_of_a_copy(sick: bool, seed: int) -> Pieces:
    """The optimizer was made before the model was copied."""
    model = mlp([64, 64, 10])
    optimizer = sgd(copy.deepcopy(model) if sick else model)
    return assemble(model, digits(seed).normalized().flat(), optimizer)


@faulty("frozen-params", net="plain cnn", where={"conv1", "conv2", "conv3"})
def random_convolutions_frozen(sick: bool, seed: int) -> Pieces:
    """requires_grad is off for weights that nobody trained."""
    model = PlainCNN(3, 6)
    for conv in (model.conv1, model.conv2, model.conv3):
        conv.requires_grad_(not sick)
    return assemble(model, gratings(seed).normalized(), adam(model))


@faulty("lr-too-high", net="plain cnn")
def sgd_at_two(sick: bool, seed: int) -> Pieces:
    """DeepCrime's learning rate: forty times too large."""
    model = PlainCNN(3, 6)
    return assemble(model, gratings(seed).normalized(), sgd(model, 4.0 if sick else 0.1), steps=250)


@faulty("lr-too-high", net="vit")
def adam_at_one_third(sick: bool, seed: int) -> Pieces:
    """Adam with SGD's learning rate."""
    model = ViT(1, 10)
    rate = 0.3 if sick else 2e-3
    return assemble(model, digits(seed).normalized(), adamw(model, rate), steps=200)


@faulty("lr-too-low", net="mixer")
def adam_at_one_millionth(sick: bool, seed: int) -> Pieces:
    """DeepCrime's learning rate: nothing moves."""
    model = Mixer(1, 10)
    rate = 1e-6 if sick else 2e-3
    return assemble(model, digits(seed).normalized(), adamw(model, rate), steps=200)


@faulty("lr-too-low", net="vgg")
def sgd_without_momentum_at_1e_5(sick: bool, seed: int) -> Pieces:
    """SGD with Adam's learning rate, or less."""
    model = vgg(3, 6)
    optimizer = sgd(model, 1e-5, momentum=0) if sick else sgd(model, 0.02)
    return assemble(model, gratings(seed).normalized(), optimizer, steps=100)


class ClippedSGD(SGD):
    """SGD that clips the gradient's norm before its step."""

    def __init__(self, params: Iterable[Any], lr: float, norm: float) -> None:
        super().__init__(params, lr, momentum=0.9)
        self.norm = norm

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        params = [p for group in self.param_groups for p in group["params"]]
        nn.utils.clip_grad_norm_(params, self.norm)
        return super().step(closure)


@faulty("lr-too-low", net="norm-free", least=0.75)
def gradients_clipped_to_nothing(sick: bool, seed: int) -> Pieces:
    """DeepCrime's clipping: a norm of 0.0001 at an ordinary rate."""
    model = NormFree(3, 6, depth=3)
    optimizer = ClippedSGD(model.parameters(), 0.05, norm=1e-4 if sick else 5.0)
    return assemble(model, gratings(seed).normalized(), optimizer, steps=150)


@faulty("weight-decay-scale", net="mobilenet")
def decay_of_ten(sick: bool, seed: int) -> Pieces:
    """AdamW's decay is multiplied by the rate, so someone made it large: 30."""
    model = MobileNet(3, 5)
    optimizer = adamw(model, 4e-3, weight_decay=30.0 if sick else 0.01)
    return assemble(model, shapes(seed).normalized(), optimizer, steps=100)


@faulty("weight-decay-scale", net="mlp")
def decay_as_large_as_the_gradient(sick: bool, seed: int) -> Pieces:
    """DeepCrime's regularization: L2 of 0.3."""
    model = mlp([64, 64, 64, 10])
    optimizer = sgd(model, 0.05, weight_decay=0.3 if sick else 1e-4)
    return assemble(model, digits(seed).normalized().flat(), optimizer)


@faulty("optimizer-hyperparameters", net="mlp")
def momentum_longer_than_the_run(sick: bool, seed: int) -> Pieces:
    """Momentum 0.9999: the average spans 10,000 steps of a run of 150."""
    model = mlp([64, 64, 64, 10])
    optimizer = sgd(model, 0.05, momentum=0.9999 if sick else 0.9)
    return assemble(model, digits(seed).normalized().flat(), optimizer)


@faulty("optimizer-hyperparameters", net="plain cnn")
def epsilon_of_one(sick: bool, seed: int) -> Pieces:
    """Adam with eps=1 is SGD at a tiny rate."""
    model = PlainCNN(3, 6)
    optimizer = Adam(model.parameters(), lr=2e-3, eps=1.0 if sick else 1e-8)
    return assemble(model, gratings(seed).normalized(), optimizer, steps=200)


@faulty("information-bottleneck", "cannot-overfit-batch", net="mlp", where={"fc2", "act2", "head"})
def a_layer_of_one_unit(sick: bool, seed: int) -> Pieces:
    """The second layer has one unit for ten classes."""
    model = mlp([64, 64, 1 if sick else 32, 10], nn.Tanh)
    return assemble(model, digits(seed).normalized().flat(), sgd(model))


def by_epoch_of_another_run(done: float) -> float:
    """Falls tenfold every one percent of the run."""
    return float(0.1 ** int(100 * done))


@faulty("lr-too-low", net="resnet")
def schedule_over_before_it_began(sick: bool, seed: int) -> Pieces:
    """Step decay that counts steps as epochs."""
    schedule = by_epoch_of_another_run if sick else None
    model = ResNet(3, 6)
    data = gratings(seed).normalized()
    return assemble(model, data, sgd(model, 0.02), schedule=schedule, steps=100)

"""Healthy programs whose loss, labels, data or optimizer look odd."""

import torch
import torch.nn.functional as F
from benchmarks.check.assemble import adam, adamw, assemble, sgd
from benchmarks.check.data import Batches, digits, gratings, loader
from benchmarks.check.nets import Mixer, PlainCNN, ResNet, ViT, mlp, vgg
from benchmarks.check.program import Pieces, healthy
from torch import Generator, Tensor, nn
from torch.optim import SGD, Adam


def focal(logits: Tensor, y: Tensor) -> Tensor:
    own = logits.log_softmax(1).gather(1, y[:, None])[:, 0]
    return -((1 - own.exp()) ** 2 * own).mean()


@healthy(net="plain cnn")
def focal_loss(seed: int) -> Pieces:
    """Focal loss starts below log C: well classified images count less."""
    model = PlainCNN(3, 6)
    return assemble(model, gratings(seed).normalized(), adam(model), loss=focal, steps=200)


@healthy(net="vgg")
def label_smoothing(seed: int) -> Pieces:
    """The loss cannot reach zero."""
    model = vgg(3, 6)
    loss = nn.CrossEntropyLoss(label_smoothing=0.2)
    return assemble(model, gratings(seed).normalized(), sgd(model, 0.02), loss=loss, steps=100)


def mixed(x: Tensor, y: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
    share = torch.rand(len(x), 1, generator=random)
    target = F.one_hot(y, 6).float()
    image = share[:, :, None, None]
    return image * x + (1 - image) * x.roll(1, 0), share * target + (1 - share) * target.roll(1, 0)


@healthy(net="resnet")
def mixup_with_soft_targets(seed: int) -> Pieces:
    """Blended images, blended float targets; validation has class numbers."""
    data = gratings(seed).normalized()
    return assemble(ResNet(3, 6), data, train=loader(data, seed=seed, change=mixed), steps=150)


@healthy(net="mlp")
def one_class_four_times_as_often(seed: int) -> Pieces:
    """Mild imbalance is how the world is."""
    data = digits(seed).normalized().flat()
    kept = (data.y == 3) | (torch.arange(len(data.y)) % 4 < 2)
    model = mlp([64, 64, 10])
    return assemble(model, data.but(x=data.x[kept], y=data.y[kept]), sgd(model))


def strong(x: Tensor, y: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
    n = len(x)
    gain = 0.5 + torch.rand(n, 3, 1, 1, generator=random)
    x = x * gain + 0.6 * torch.randn(n, 1, 1, 1, generator=random)
    up, left = (int(v) for v in torch.randint(-3, 4, (2,), generator=random))
    x = F.pad(x, (3, 3, 3, 3), mode="reflect")[..., 3 + up : 19 + up, 3 + left : 19 + left].clone()
    corner = torch.randint(12, (2,), generator=random)
    x[..., corner[0] : corner[0] + 5, corner[1] : corner[1] + 5] = 0
    return x + 0.2 * torch.randn(x.shape, generator=random), y


@healthy(net="resnet")
def strong_augmentation(seed: int) -> Pieces:
    """Color jitter, shifts, occlusion and noise in training, none in validation."""
    data = gratings(seed).normalized()
    model = ResNet(3, 6)
    batches = loader(data, seed=seed, change=strong)
    return assemble(model, data, sgd(model, 0.03), train=batches, steps=150)


@healthy(net="vit", least=0.75)
def warmup_from_zero(seed: int) -> Pieces:
    """The first step has a learning rate of exactly zero."""
    model = ViT(1, 10)
    schedule = lambda done: min(1.0, 10 * done) * (1 - 0.9 * done)  # noqa: E731
    data = digits(seed).normalized()
    return assemble(model, data, adamw(model, 3e-3), schedule=schedule, steps=250)


@healthy(net="mixer")
def no_validation(seed: int) -> Pieces:
    """Nothing is held back; the test set is elsewhere."""
    model = Mixer(1, 10)
    pieces = assemble(model, digits(seed).normalized(), adamw(model), steps=200)
    pieces.val = None
    return pieces


@healthy(net="mlp")
def log_softmax_and_nll(seed: int) -> Pieces:
    """Log-probabilities and the loss that takes them."""
    model = mlp([64, 64, 10])
    model.add_module("log", nn.LogSoftmax(dim=1))
    return assemble(model, digits(seed).normalized().flat(), sgd(model), loss=F.nll_loss)


@healthy(net="plain cnn")
def weighted_classes(seed: int) -> Pieces:
    """Classes 10:1 apart, and a loss weighted by the inverse of their frequency."""
    data = gratings(seed, train=3000).normalized()
    kept = (data.y > 0) | (torch.arange(len(data.y)) % 6 == 0)
    weight = torch.tensor([6.0, 1, 1, 1, 1, 1])
    model = PlainCNN(3, 6)
    loss = nn.CrossEntropyLoss(weight=weight)
    return assemble(
        model, data.but(x=data.x[kept], y=data.y[kept]), adam(model), loss=loss, steps=200
    )


@healthy(net="vgg")
def plain_sgd_large_batch(seed: int) -> Pieces:
    """No momentum, rate 0.3, batches of 125."""
    model = vgg(3, 6, dropout=0.0)
    optimizer = SGD(model.parameters(), lr=0.3, weight_decay=5e-4)
    return assemble(model, gratings(seed).normalized(), optimizer, size=125, steps=80)


@healthy(net="mlp")
def adam_without_memory_of_the_mean(seed: int) -> Pieces:
    """beta1 = 0.5 and beta2 = 0.95, as some like it."""
    model = mlp([64, 64, 64, 10])
    optimizer = Adam(model.parameters(), lr=2e-3, betas=(0.5, 0.95))
    return assemble(model, digits(seed).normalized().flat(), optimizer)


@healthy(net="resnet")
def pixels_in_zero_to_one(seed: int) -> Pieces:
    """Only divided by 255; the batch norm after the stem does the rest."""
    model = ResNet(3, 6)
    return assemble(model, gratings(seed), sgd(model), steps=100)


@healthy(net="mlp")
def a_few_images_twice(seed: int) -> Pieces:
    """A few images occur twice, as in every folder of photographs."""
    data = digits(seed).normalized().flat()
    x, y = torch.cat([data.x, data.x[:60]]), torch.cat([data.y, data.y[:60]])
    model = mlp([64, 64, 10])
    return assemble(model, data, sgd(model), train=Batches(x, y, 64, seed=seed))

"""Held out: healthy programs, most of them odd in one way."""

import torch
import torch.nn.functional as F
from benchmarks.check.assemble import adam, adamw, assemble, sgd
from benchmarks.check.data import digits, gratings, loader, shapes
from benchmarks.check.heldout.own import (
    AffineMixer,
    ConvNeXt,
    Dense,
    Perceptron,
    PreActNet,
    SqueezeNet,
    Tower,
    Transformer,
    street,
    torch_loader,
)
from benchmarks.check.nets import MobileNet, NormFree, lecun, mlp, selu_net, vgg
from benchmarks.check.program import Pieces, healthy
from benchmarks.check.training import train
from torch import Generator, Tensor, nn
from torch.optim import SGD, AdamW, RMSprop


@healthy(net="convnext", least=0.75)
def layer_scale_of_one_millionth(seed: int) -> Pieces:
    """ConvNeXt's branches start at 1e-6 of their size."""
    model = ConvNeXt(3, 4, scale=1e-6)
    return assemble(model, gratings(seed, classes=4).normalized(), adamw(model, 4e-3), steps=200)


@healthy(net="dense", least=0.75)
def growing_features(seed: int) -> Pieces:
    """A DenseNet on the usual loader."""
    data = gratings(seed, classes=4).normalized()
    model = Dense(3, 4)
    return assemble(model, data, sgd(model, 0.03), train=torch_loader(data, 50, seed), steps=100)


@healthy(net="resnet", least=0.75)
def pre_activation(seed: int) -> Pieces:
    """No normalization at the stem; each unit normalizes for itself."""
    data = shapes(seed).normalized()
    model = PreActNet(3, 5)
    return assemble(model, data, adam(model, 4e-3), steps=150)


@healthy(net="transformer", least=0.75)
def transformer_with_a_little_dropout(seed: int) -> Pieces:
    """torch's encoder with dropout 0.1."""
    model = Transformer(1, 10, drop=0.1)
    return assemble(model, digits(seed).normalized(), adamw(model), steps=250)


@healthy(net="mixer", least=0.75)
def learned_scales(seed: int) -> Pieces:
    """ResMLP's scales instead of normalization."""
    model = AffineMixer(10)
    return assemble(model, digits(seed).normalized(), adamw(model, 4e-3), steps=200)


@healthy(net="plain cnn", least=0.7)
def squeezed(seed: int) -> Pieces:
    """Squeeze layers have fewer channels than what comes before and after."""
    model = SqueezeNet(3, 4)
    return assemble(model, gratings(seed, classes=4).normalized(), adam(model), steps=200)


@healthy(net="plain cnn", least=0.7)
def leaky_tower(seed: int) -> Pieces:
    """Eight convolutions without normalization, leaky."""
    model = Tower(3, 4, 8, nn.LeakyReLU)
    return assemble(model, gratings(seed, classes=4).normalized(), adam(model, 1e-3), steps=250)


@healthy(net="mlp")
def batches_of_five(seed: int) -> Pieces:
    """A tiny batch without batch norm is only noisy."""
    model = Perceptron()
    data = digits(seed).normalized()
    return assemble(model, data, sgd(model, 0.01), size=5, steps=500)


@healthy(net="mlp")
def one_hot_floats(seed: int) -> Pieces:
    """Targets are one-hot rows of floats, in training and validation."""
    data = digits(seed).normalized()
    hot = lambda y: F.one_hot(y, 10).float()  # noqa: E731
    data = data.but(y=hot(data.y), val_y=hot(data.val_y), test_y=hot(data.test_y))
    model = Perceptron(nn.SiLU)
    return assemble(model, data, adam(model))


@healthy(net="mlp")
def squared_error_on_one_hot(seed: int) -> Pieces:
    """The Brier-like loss on raw outputs is unusual and works."""
    loss = lambda out, y: F.mse_loss(out, F.one_hot(y, 10).float())  # noqa: E731
    model = Perceptron(nn.GELU)
    return assemble(model, digits(seed).normalized(), adam(model), loss=loss)


@healthy(net="vgg")
def binary_loss_per_class(seed: int) -> Pieces:
    """Ten yes-or-no questions instead of one softmax."""
    loss = lambda out, y: F.binary_cross_entropy_with_logits(  # noqa: E731
        out, F.one_hot(y, 6).float()
    )
    model = vgg(3, 6)
    return assemble(model, gratings(seed).normalized(), adam(model), loss=loss, steps=120)


class Scaled(Perceptron):
    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.hidden2(self.act(self.hidden1(x.flatten(1)))))
        return 16 * F.normalize(x) @ F.normalize(self.output.weight).T


@healthy(net="mlp")
def cosine_with_scale(seed: int) -> Pieces:
    """Cosine logits times 16."""
    model = Scaled()
    del model.hidden3
    model.output = nn.Linear(80, 10, bias=False)
    return assemble(model, digits(seed).normalized(), adam(model))


@healthy(net="resnet", least=0.75)
def cosine_schedule_with_restarts(seed: int) -> Pieces:
    """The rate falls to nearly zero twice."""
    schedule = lambda done: 0.5 + 0.5 * torch.cos(torch.tensor(2 * done % 1 * 3.1416)).item()  # noqa: E731
    model = PreActNet(3, 4)
    data = gratings(seed, classes=4).normalized()
    return assemble(model, data, sgd(model, 0.06), schedule=schedule, steps=120)


@healthy(net="norm-free", least=0.7)
def norm_free_with_rmsprop(seed: int) -> Pieces:
    """RMSprop at 1e-3 on zero-gain branches."""
    model = NormFree(3, 4, depth=4)
    optimizer = RMSprop(model.parameters(), lr=1e-3)
    return assemble(model, gratings(seed, classes=4).normalized(), optimizer, steps=200)


@healthy(net="selu")
def eight_selu_layers(seed: int) -> Pieces:
    """Deep, plain, without normalization, and fine."""
    model = selu_net(64, 10, depth=8)
    return assemble(model, digits(seed).normalized().flat(), sgd(model, 0.01), steps=200)


@healthy(net="mobilenet", least=0.75)
def partly_frozen(seed: int) -> Pieces:
    """Stem and first block of a trained net are frozen, the rest goes on."""
    model = MobileNet(3, 4)
    data = gratings(seed, classes=4).normalized()
    state = torch.random.get_rng_state()
    train(assemble(model, data, adam(model, 3e-3), steps=80))
    torch.random.set_rng_state(state)
    for part in (model.stem, model.norm, model.blocks[0]):
        part.requires_grad_(False)
    rest = [p for p in model.parameters() if p.requires_grad]
    return assemble(model, data, AdamW(rest, 1e-3), steps=60)


class Dictionary(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = Dense(3, 4)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": self.net(x)}


@healthy(net="dense", least=0.75)
def answers_in_a_dictionary(seed: int) -> Pieces:
    """The model returns a dict; the loss and the metric pick what they need."""
    model = Dictionary()
    pick = lambda out: out["logits"]  # noqa: E731
    loss = lambda out, y: F.cross_entropy(pick(out), y)  # noqa: E731
    data = gratings(seed, classes=4).normalized()
    return assemble(model, data, sgd(model, 0.03), loss=loss, logits=pick, steps=100)


def occluded(x: Tensor, y: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
    x = x.clone()
    for image in x:
        up, left = torch.randint(0, 10, (2,), generator=random).tolist()
        image[:, up : up + 7, left : left + 7] = 0
    flip = torch.rand(len(x), generator=random) < 0.5
    x[flip] = x[flip] * -1
    return x, y


@healthy(net="convnext", least=0.75)
def occlusion_and_inversion(seed: int) -> Pieces:
    """A fifth of each image is hidden, half of the images are negatives."""
    data = gratings(seed, classes=4).normalized()
    model = ConvNeXt(3, 4)
    batches = loader(data, seed=seed, change=occluded)
    return assemble(model, data, adamw(model, 4e-3), train=batches, steps=200)


@healthy(net="plain cnn", least=0.65)
def few_images(seed: int) -> Pieces:
    """Three hundred images, normalized, and enough."""
    data = street(seed, train=400).normalized()
    model = Tower(3, 5, 4)
    return assemble(model, data, adam(model, 3e-3), size=32, steps=300)


@healthy(net="mlp")
def nesterov_and_decay(seed: int) -> Pieces:
    """Nesterov momentum 0.95 and a decay of 1e-3."""
    model = lecun(mlp([64, 96, 96, 10], nn.ELU))
    optimizer = SGD(model.parameters(), 0.02, 0.95, weight_decay=1e-3, nesterov=True)
    return assemble(model, digits(seed).normalized().flat(), optimizer)


@healthy(net="mlp")
def narrow_binary_task(seed: int) -> Pieces:
    """Two classes, even against odd, and a hidden layer of twelve."""
    data = digits(seed).normalized()
    data = data.but(y=data.y % 2, val_y=data.val_y % 2, test_y=data.test_y % 2)
    model = Perceptron(nn.Tanh, width=12, classes=2)
    return assemble(model, data, adam(model, 4e-3), steps=200)


@healthy(net="mlp", least=0.75)
def sharpened_over_time(seed: int) -> Pieces:
    """Training of a good net goes on at a small rate: its loss is far below log C."""
    model = Perceptron()
    data = digits(seed).normalized()
    train(assemble(model, data, adam(model, 3e-3), steps=150))
    return assemble(model, data, adam(model, 3e-4), steps=50)

"""Held out: faults of the data."""

import torch
import torch.nn.functional as F
from benchmarks.check.assemble import adam, adamw, assemble, sgd
from benchmarks.check.data import Batches, digits, gratings, loader, seeded, shapes
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
from benchmarks.check.nets import MobileNet, selu_net
from benchmarks.check.program import Pieces, faulty
from torch import Generator, Tensor


@faulty("input-nonfinite", net="mlp")
def overflow_in_half_precision(sick: bool, seed: int) -> Pieces:
    """A few pixels were infinite after a conversion to 16 bits."""
    data = digits(seed).normalized()
    x = data.x.clone()
    if sick:
        x[torch.randperm(len(x), generator=seeded(seed))[:40], 0, 3, 3] = torch.inf
    data = data.but(x=x)
    model = Perceptron()
    return assemble(model, data, sgd(model), train=torch_loader(data, 50, seed))


@faulty("input-scale", "input-degenerate", net="plain cnn", least=0.75)
def temperatures_in_kelvin(sick: bool, seed: int) -> Pieces:
    """A large offset, never subtracted."""
    data = gratings(seed, classes=4).normalized()
    model = SqueezeNet(3, 4)
    offset = 300.0 if sick else 0.0
    return assemble(model, data.mapped(lambda x: x + offset), adam(model), steps=200)


@faulty("input-scale", net="selu", least=0.8)
def sixteen_bit_counts(sick: bool, seed: int) -> Pieces:
    """Counts up to 65,535 into a self-normalizing net."""
    data = digits(seed)
    data = data.mapped(lambda x: x * 65535) if sick else data.normalized()
    model = selu_net(64, 10, depth=4)
    return assemble(model, data.flat(), sgd(model, 0.01), steps=200)


@faulty("input-degenerate", "duplicate-samples", "labels-uninformative", net="convnext", least=0.7)
def one_buffer_for_all_images(sick: bool, seed: int) -> Pieces:
    """A reader that fills one buffer: all images of a batch are its last one."""

    def last_one(x: Tensor, y: Tensor, _random: Generator) -> tuple[Tensor, Tensor]:
        return x[-1:].repeat(len(x), 1, 1, 1), y

    data = gratings(seed, classes=4).normalized()
    model = ConvNeXt(3, 4)
    train = loader(data, 50, seed, change=last_one if sick else None)
    return assemble(model, data, adamw(model, 4e-3), train=train)


@faulty("train-val-shift", net="transformer", least=0.75)
def validation_lies_on_its_side(sick: bool, seed: int) -> Pieces:
    """An EXIF orientation is obeyed in training only."""
    data = digits(seed).normalized()
    data = data.but(val_x=data.val_x.rot90(1, (2, 3))) if sick else data
    model = Transformer(1, 10)
    return assemble(model, data, adamw(model), steps=200)


@faulty("train-val-shift", net="dense", least=0.75)
def validation_from_minus_one_to_one(sick: bool, seed: int) -> Pieces:
    """[0, 1] in training, [-1, 1] in validation."""
    data = gratings(seed, classes=4)
    data = data.but(val_x=data.val_x * 2 - 1) if sick else data
    model = Dense(3, 4)
    return assemble(model, data, sgd(model, 0.03), steps=100)


@faulty("train-val-leak", net="plain cnn", measure="honest", least=0.9)
def every_validation_image_trained_on(sick: bool, seed: int) -> Pieces:
    """The list of training files contains the validation files."""
    data = street(seed, train=250)
    if sick:
        x, y = torch.cat([data.x[:40], data.val_x]), torch.cat([data.y[:40], data.val_y])
        data = data.but(x=x, y=y)
    model = Tower(3, 5, 4)
    return assemble(model, data.normalized(), adam(model, 4e-3), size=38, steps=250)


@faulty("duplicate-samples", net="dense", measure="clean", least=0.75)
def a_cache_of_thirty(sick: bool, seed: int) -> Pieces:
    """A cache keyed by the wrong number returns thirty images over and over."""
    data = shapes(seed).normalized()
    few = torch.arange(len(data.x)) * 7 % 30
    data = data.but(x=data.x[few], y=data.y[few]) if sick else data
    model = Dense(3, 5)
    return assemble(model, data, adam(model, 4e-3), train=torch_loader(data, 50, seed), steps=150)


@faulty("labels-invalid", "output-width", net="transformer", least=0.75)
def minus_one_for_unknown(sick: bool, seed: int) -> Pieces:
    """Some labels are -1."""
    data = digits(seed).normalized()
    y = data.y.clone()
    y[::9] = -1
    model = Transformer(1, 10)
    return assemble(model, data.but(y=y) if sick else data, adamw(model), steps=200)


@faulty("labels-uninformative", net="mixer")
def off_by_one(sick: bool, seed: int) -> Pieces:
    """A header line shifts the labels by one file."""
    data = digits(seed).normalized()
    data = data.but(y=data.y.roll(1)) if sick else data
    model = AffineMixer(10)
    return assemble(model, data, adamw(model, 4e-3), steps=250)


@faulty("label-noise", net="mlp", least=0.8)
def annotators_who_guess(sick: bool, seed: int) -> Pieces:
    """Six labels of ten are wrong, on three hundred images."""
    data = digits(seed, train=300).normalized()
    bad = torch.rand(300, generator=seeded(seed)) < 0.6
    shift = torch.randint(1, 10, (300,), generator=seeded(seed))
    y = torch.where(bad, (data.y + shift) % 10, data.y)
    model = Perceptron()
    return assemble(model, data.but(y=y) if sick else data, sgd(model), steps=200)


@faulty("unshuffled-batches", net="resnet", least=0.75)
def classes_in_long_runs(sick: bool, seed: int) -> Pieces:
    """shuffle=False over folders; batch norm makes it worse."""
    data = gratings(seed, classes=4).normalized()
    order = data.y.argsort(stable=True)
    data = data.but(x=data.x[order], y=data.y[order])
    model = PreActNet(3, 4)
    train = torch_loader(data, 50, seed, shuffle=not sick)
    return assemble(model, data, sgd(model), train=train, steps=100)


@faulty("class-missing", net="mlp", where={"class 3", "class 8", "3", "8"})
def two_classes_never_seen(sick: bool, seed: int) -> Pieces:
    """A filter on the training set drops two digits."""
    data = digits(seed).normalized()
    kept = (data.y != 3) & (data.y != 8)
    data = data.but(x=data.x[kept], y=data.y[kept]) if sick else data
    model = Perceptron()
    return assemble(model, data, sgd(model))


@faulty("class-imbalance", net="mobilenet", measure="worst_class", least=0.7)
def a_long_tail(sick: bool, seed: int) -> Pieces:
    """Each class is a quarter as frequent as the one before."""
    data = gratings(seed, classes=5, train=1500).normalized()
    rare = torch.rand(len(data.y), generator=seeded(seed)) < 0.25**data.y
    data = data.but(x=data.x[rare], y=data.y[rare]) if sick else data
    model = MobileNet(3, 5)
    return assemble(model, data, adam(model, 3e-3), size=48, steps=100)


@faulty("label-mapping-mismatch", net="mlp")
def two_pairs_of_classes_swapped(sick: bool, seed: int) -> Pieces:
    """Validation swaps 1 with 7 and 3 with 8."""
    data = digits(seed).normalized()
    order = torch.tensor([0, 7, 2, 8, 4, 5, 6, 1, 3, 9])
    data = data.but(val_y=order[data.val_y]) if sick else data
    model = Perceptron(torch.nn.GELU)
    return assemble(model, data, adamw(model))


@faulty(
    "augmentation-label-mismatch",
    "train-val-shift",
    "labels-uninformative",
    net="resnet",
    least=0.65,
)
def crops_without_the_object(sick: bool, seed: int) -> Pieces:
    """Random crops of a fifth of the side, enlarged; what they show is seldom the object."""

    def crop(x: Tensor, y: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
        side = 3 if sick else 14
        up, left = torch.randint(0, 17 - side, (2,), generator=random).tolist()
        return F.interpolate(x[..., up : up + side, left : left + side], size=16), y

    data = shapes(seed).normalized()
    model = PreActNet(3, 5)
    train = loader(data, seed=seed, change=crop)
    return assemble(model, data, adam(model, 4e-3), train=train, steps=150)


@faulty("val-not-deterministic", net="convnext", measure="repeatable", least=0.95)
def validation_with_random_shifts(sick: bool, seed: int) -> Pieces:
    """Validation uses the training loader's shifts and noise."""

    def jitter(x: Tensor, y: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
        up, left = torch.randint(-6, 7, (2,), generator=random).tolist()
        return x.roll((up, left), (2, 3)) + torch.randn(x.shape, generator=random), y

    data = shapes(seed).normalized()
    val = Batches(data.val_x, data.val_y, 60, shuffle=False, change=jitter) if sick else None
    model = ConvNeXt(3, 5)
    return assemble(model, data, adamw(model, 4e-3), val=val)

"""Faults of the data: what is read, how it is split, labelled and batched."""

import torch
from benchmarks.check.assemble import adam, adamw, assemble, sgd
from benchmarks.check.data import Batches, digits, gratings, in_order, loader, seeded, shapes
from benchmarks.check.nets import Mixer, MobileNet, PlainCNN, ResNet, ViT, mlp, vgg
from benchmarks.check.program import Pieces, faulty
from torch import Generator, Tensor


@faulty("input-nonfinite", net="resnet", where={"2"})
def divided_by_a_zero_deviation(sick: bool, seed: int) -> Pieces:
    """Per-image standardization of a blank image, in batch 2 of a fixed order."""
    data = shapes(seed)
    x = data.x.clone()
    x[150] = 0.5
    spread = lambda images: images.std((1, 2, 3), keepdim=True)  # noqa: E731
    floor = 0.0 if sick else 1e-3

    def scale(images):
        return (images - images.mean((1, 2, 3), keepdim=True)) / (spread(images).clamp_min(floor))

    x = scale(x)
    if sick:
        x[150] = torch.nan
    data = data.but(x=x, val_x=scale(data.val_x), test_x=scale(data.test_x))
    model = ResNet(3, 5)
    return assemble(model, data, train=in_order(data.x, data.y, 64))


@faulty("input-scale", net="plain cnn", where=None)
def pixels_up_to_255(sick: bool, seed: int) -> Pieces:
    """Raw bytes go into a net without normalization."""
    data = gratings(seed)
    data = data.mapped(lambda x: x * 255) if sick else data.normalized()
    model = PlainCNN(3, 6)
    return assemble(model, data, sgd(model), steps=250)


@faulty("input-scale", net="mlp")
def pixels_of_one_thousandth(sick: bool, seed: int) -> Pieces:
    """Divided by 255 twice, so the pixels are nearly zero."""
    data = digits(seed)
    data = data.mapped(lambda x: x / 255 / 4) if sick else data.normalized()
    model = mlp([64, 64, 64, 10])
    return assemble(model, data.flat(), sgd(model, 0.02))


@faulty("input-degenerate", "duplicate-samples", net="vgg")
def most_files_decode_to_black(sick: bool, seed: int) -> Pieces:
    """A reader that returns zeros for files it cannot decode."""
    data = shapes(seed, train=1000).normalized()
    x = data.x.clone()
    if sick:
        lost = torch.rand(len(x), generator=seeded(seed)) < 0.9
        x[lost] = 0
    model = vgg(3, 5)
    return assemble(model, data.but(x=x), adam(model), steps=150)


@faulty("input-layout", net="plain cnn", least=0.75)
def reshaped_instead_of_permuted(sick: bool, seed: int) -> Pieces:
    """NHWC images are reshaped to NCHW, which scrambles them."""
    data = gratings(seed).normalized()

    def scrambled(x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).reshape(x.shape)

    model = PlainCNN(3, 6)
    return assemble(model, data.mapped(scrambled) if sick else data, adam(model), steps=100)


@faulty("train-val-shift", net="resnet")
def validation_is_not_normalized(sick: bool, seed: int) -> Pieces:
    """Training images are standardized, validation images are raw bytes over 255."""
    raw = gratings(seed)
    data = raw.normalized()
    data = data.but(val_x=raw.val_x) if sick else data
    return assemble(ResNet(3, 6), data, steps=100)


@faulty("train-val-shift", net="mlp")
def validation_is_inverted(sick: bool, seed: int) -> Pieces:
    """Black on white in validation, white on black in training."""
    data = digits(seed)
    data = data.but(val_x=1 - data.val_x) if sick else data
    model = mlp([64, 96, 10])
    return assemble(model, data.mapped(lambda x: (x - 0.3) / 0.38).flat(), sgd(model))


@faulty("train-val-leak", net="mlp", measure="honest", least=0.9)
def split_after_copying(sick: bool, seed: int) -> Pieces:
    """Two thirds of the validation images are copies of training images."""
    data = digits(seed, train=80).normalized().flat()
    if sick:
        x = torch.cat([data.x, data.val_x[:40]])
        data = data.but(val_x=x, val_y=torch.cat([data.y, data.val_y[:40]]))
    model = mlp([64, 128, 10])
    return assemble(model, data, sgd(model), size=20)


@faulty("duplicate-samples", net="mixer", measure="clean", least=0.85)
def the_same_sixty_images_again_and_again(sick: bool, seed: int) -> Pieces:
    """Oversampling that draws from too few files."""
    data = digits(seed).normalized()
    few = torch.arange(len(data.x)) % 60
    data = data.but(x=data.x[few], y=data.y[few]) if sick else data
    model = Mixer(1, 10)
    return assemble(model, data, adamw(model), steps=250)


@faulty("labels-invalid", "output-width", net="resnet")
def labels_from_one(sick: bool, seed: int) -> Pieces:
    """Labels 1 to 6 with six outputs."""
    data = gratings(seed).normalized()
    data = data.but(y=data.y + 1, val_y=data.val_y + 1) if sick else data
    return assemble(ResNet(3, 6), data, steps=100)


@faulty("labels-uninformative", net="mobilenet")
def images_sorted_labels_not(sick: bool, seed: int) -> Pieces:
    """Images and labels were listed in different orders, so their pairs are random."""
    data = shapes(seed).normalized()
    data = data.but(y=data.y[torch.randperm(len(data.y))]) if sick else data
    model = MobileNet(3, 5)
    return assemble(model, data, adam(model, 4e-3), steps=100)


@faulty("label-noise", net="plain cnn", least=0.75)
def half_of_the_labels_changed(sick: bool, seed: int) -> Pieces:
    """DeepCrime's change of labels: 65% are drawn anew."""
    data = gratings(seed, train=400).normalized()
    y = data.y.clone()
    wrong = torch.rand(len(y), generator=seeded(seed)) < 0.65
    y[wrong] = torch.randint(6, (int(wrong.sum()),), generator=seeded(seed))
    model = PlainCNN(3, 6)
    return assemble(model, data.but(y=y) if sick else data, adam(model), steps=300)


@faulty("label-leak", net="mlp")
def the_corner_tells_the_class(sick: bool, seed: int) -> Pieces:
    """A mark in the corner pixel of training images encodes the label."""
    data = digits(seed).normalized().flat()
    x = data.x.clone()
    if sick:
        x[:, 0] = data.y * 4.0
        x[:, 7] = -data.y * 4.0
    model = mlp([64, 64, 10])
    return assemble(model, data.but(x=x), sgd(model, 0.01))


@faulty("label-mapping-mismatch", net="vit")
def classes_listed_in_another_order(sick: bool, seed: int) -> Pieces:
    """Validation numbers its classes in reverse."""
    data = digits(seed).normalized()
    data = data.but(val_y=9 - data.val_y) if sick else data
    model = ViT(1, 10)
    return assemble(model, data, adamw(model), steps=200)


@faulty("class-imbalance", net="mlp", measure="worst_class", least=0.7)
def one_class_has_everything(sick: bool, seed: int) -> Pieces:
    """DeepCrime's unbalance: the other classes keep five images each."""
    data = digits(seed).normalized().flat()
    rank = torch.stack([(data.y[:i] == y).sum() for i, y in enumerate(data.y)])
    few = (data.y == 1) | (rank < 4)
    data = data.but(x=data.x[few], y=data.y[few]) if sick else data
    model = mlp([64, 64, 10])
    return assemble(model, data, sgd(model, 0.02), size=32)


@faulty("class-missing", net="vgg", where={"4", "class 4"})
def a_folder_left_out(sick: bool, seed: int) -> Pieces:
    """DeepCrime's deletion: class 4 is in validation but never in training."""
    data = gratings(seed).normalized()
    kept = data.y != 4
    data = data.but(x=data.x[kept], y=data.y[kept]) if sick else data
    model = vgg(3, 6)
    return assemble(model, data, sgd(model, 0.02), steps=100)


@faulty("unshuffled-batches", net="mlp")
def batches_by_class(sick: bool, seed: int) -> Pieces:
    """The files come sorted by class and the loader does not shuffle."""
    data = digits(seed).normalized().flat()
    order = data.y.argsort()
    model = mlp([64, 64, 10])
    batches = Batches(data.x[order], data.y[order], 50, shuffle=not sick, seed=seed)
    return assemble(model, data, sgd(model), train=batches)


@faulty("augmentation-label-mismatch", "label-noise", "labels-uninformative", net="resnet")
def blended_images_with_one_label(sick: bool, seed: int) -> Pieces:
    """Images are blended with a partner, but the label is the fainter one's."""

    def blend(x: Tensor, y: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
        share = 0.3 * torch.rand(len(x), 1, 1, 1, generator=random)
        return share * x + (1 - share) * x.roll(1, 0), y if sick else y.roll(1, 0)

    data = gratings(seed).normalized()
    return assemble(ResNet(3, 6), data, train=loader(data, seed=seed, change=blend), steps=100)


@faulty("val-not-deterministic", net="plain cnn", measure="repeatable", least=0.95)
def validation_is_augmented(sick: bool, seed: int) -> Pieces:
    """The training transform, with its random occlusion and noise, also runs on validation."""

    def shaken(x: Tensor, y: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
        x = x + 1.5 * torch.randn(x.shape, generator=random)
        left = int(torch.randint(8, (1,), generator=random))
        x[..., left : left + 6] = 0
        return x, y

    data = gratings(seed).normalized()
    val = Batches(data.val_x, data.val_y, 100, shuffle=False, change=shaken) if sick else None
    model = PlainCNN(3, 6)
    batches = loader(data, seed=seed, change=shaken)
    return assemble(model, data, adam(model), train=batches, val=val)

"""Unseen: faults of data, labels and splits."""

import torch
from benchmarks.check.assemble import adam, adamw, assemble, sgd
from benchmarks.check.data import Batches, Data, digits, loader, seeded
from benchmarks.check.program import Pieces, faulty
from benchmarks.check.unseen.data import (
    cells,
    clothes,
    houses,
    motions,
    plates,
    polygons,
    satellite,
    standard,
    symbols,
    textures,
)
from benchmarks.check.unseen.nets import (
    Dense,
    LeNet,
    Mixing,
    Plain,
    Res,
    Separable,
    Vgg,
    Vit,
    perceptron,
)
from benchmarks.check.unseen.optim import cosine
from torch import Generator, Tensor
from torch.utils.data import DataLoader, TensorDataset


@faulty("labels-uninformative", "label-noise", net="resnet")
def labels_begin_one_line_later(sick: bool, seed: int) -> Pieces:
    """A header line was read as the first label: every training label is the next image's."""
    data = standard(textures(seed))
    if sick:
        data = data.but(y=data.y.roll(1))
    model = Res(1, 6)
    return assemble(model, data, sgd(model, 0.1), size=40, steps=100)


@faulty("label-mapping-mismatch", net="plain cnn")
def ten_comes_before_two(sick: bool, seed: int) -> Pieces:
    """Validation folders were sorted as strings: 0, 1, 10, 11, ..., 2, 20, ..."""
    data = standard(symbols(seed, each=30))
    if sick:
        names = sorted(str(k) for k in range(32))
        data = data.but(val_y=torch.tensor([names.index(str(k)) for k in range(32)])[data.val_y])
    model = Plain(1, 32, norm=torch.nn.BatchNorm2d, width=16)
    return assemble(model, data, adam(model, 4e-3), size=48, steps=120)


@faulty("train-val-leak", net="mlp", measure="honest", least=0.85)
def validation_made_of_brighter_copies(sick: bool, seed: int) -> Pieces:
    """Images were stored with brighter copies before the split; copies lie on both sides."""
    data, random = standard(polygons(seed)), seeded(seed)
    x, y = data.x[:160], data.y[:160]
    if sick:
        gain = 1.05 + 0.1 * torch.rand(160, 1, 1, 1, generator=random)
        data = data.but(val_x=gain * x, val_y=y)
    model = perceptron(768, 5, 128)
    batches = Batches(x, y, 32, seed=seed)
    return assemble(model, data, adam(model, 1e-3), train=batches, steps=150)


@faulty("train-val-shift", net="mobilenet")
def validation_with_the_constants_of_imagenet(sick: bool, seed: int) -> Pieces:
    """Training uses the data's own moments; validation those of a pretrained model."""
    raw = cells(seed)
    data = standard(raw)
    if sick:
        mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
        std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
        data = data.but(val_x=(raw.val_x - mean) / std)
    model = Separable(3, 5)
    return assemble(model, data, adam(model, 4e-3), size=40, steps=180)


@faulty("train-val-shift", "input-scale", net="vit")
def standardized_twice_for_training(sick: bool, seed: int) -> Pieces:
    """The cache was standardized already; the training transform does it again."""
    raw = satellite(seed)
    data = standard(raw)
    if sick:
        mean, std = raw.x.mean((0, 2, 3))[:, None, None], raw.x.std((0, 2, 3))[:, None, None]
        data = data.but(x=(data.x - mean) / std)
    model = Vit(4, 5, 12, 3)
    return assemble(model, data, adamw(model, 3e-3), size=40, steps=150)


@faulty("train-val-shift", net="dense")
def near_infrared_first(sick: bool, seed: int) -> Pieces:
    """The validation tiles have their bands in another order: infrared, red, green, blue."""
    data = standard(satellite(seed))
    if sick:
        data = data.but(val_x=data.val_x.roll(1, 1))
    model = Dense(4, 5)
    return assemble(model, data, adam(model, 4e-3), size=40, steps=100)


@faulty("duplicate-samples", net="resnet", measure="clean", least=0.8)
def the_first_shard_fifty_times(sick: bool, seed: int) -> Pieces:
    """A list of shards was built with * instead of a loop: 24 images, fifty times each."""
    data = standard(clothes(seed))
    if sick:
        data = data.but(x=data.x[:24].repeat(50, 1, 1, 1), y=data.y[:24].repeat(50))
    model = Res(1, 6)
    return assemble(model, data, adam(model, 3e-3), size=40, steps=100)


@faulty("input-degenerate", "constant-output", net="lenet")
def gray_less_its_mean_over_channels(sick: bool, seed: int) -> Pieces:
    """A color normalization, x - x.mean(1), meets images of one channel: nothing is left."""
    data = standard(clothes(seed))
    if sick:
        data = data.mapped(lambda x: x - x.mean(1, keepdim=True))
    model = LeNet(1, 6, 20)
    return assemble(model, data, adam(model, 2e-3), size=40, steps=120)


@faulty("input-nonfinite", "gradient-nonfinite", net="group norm")
def a_blank_image_standardized_by_itself(sick: bool, seed: int) -> Pieces:
    """Images are divided by their own deviation; three of them are blank."""
    raw = textures(seed)
    if sick:
        x = raw.x.clone()
        x[[5, 300, 900]] = 0.5
        raw = raw.but(x=x)
    data = raw.mapped(
        lambda x: (x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True)
    )
    model = Plain(1, 6, norm=lambda n: torch.nn.GroupNorm(4, n))
    return assemble(model, data, adam(model, 3e-3), size=40, steps=120)


@faulty("label-noise", net="mlp", least=0.8)
def half_of_the_labels_by_a_broken_script(sick: bool, seed: int) -> Pieces:
    """Six of ten labels of five hundred digits were drawn at random."""
    data = digits(seed).normalized().first(500)
    if sick:
        random = seeded(seed)
        wrong = torch.rand(500, generator=random) < 0.6
        data = data.but(y=torch.where(wrong, torch.randint(10, (500,), generator=random), data.y))
    model = perceptron(64, 10, 128)
    return assemble(model, data, adam(model), size=50, steps=250)


@faulty("class-imbalance", net="mixer", where={"class 3", "3"}, measure="worst_class", least=0.65)
def six_tiles_of_a_city(sick: bool, seed: int) -> Pieces:
    """Of one land cover six tiles were labelled, of the others 240."""
    data = standard(satellite(seed))
    if sick:
        keep = (data.y != 3) | ((data.y == 3).cumsum(0) <= 6)
        data = data.but(x=data.x[keep], y=data.y[keep])
    model = Mixing(4, 5, 12, 3)
    return assemble(model, data, adamw(model, 4e-3), size=40, steps=120)


@faulty("class-missing", "train-val-shift", net="mlp", measure="honest", least=0.85,
        where={"class 0", "class 1", "class 2", "0", "1", "2"})  # fmt: skip
def validation_cut_from_a_sorted_folder(sick: bool, seed: int) -> Pieces:
    """The validation set holds the last folders only, rings and stars."""
    data = standard(polygons(seed))
    if sick:
        few = data.val_y > 2
        data = data.but(val_x=data.val_x[few], val_y=data.val_y[few])
    model = perceptron(768, 5, 128, drop=0.3)
    return assemble(model, data, adam(model, 1e-3), size=40, steps=200)


@faulty("input-scale", "train-val-shift", "gradient-exploding", net="plain cnn")
def one_worker_does_not_divide(sick: bool, seed: int) -> Pieces:
    """One batch of eight comes from a process that still reads bytes, up to 255."""
    data = plates(seed)

    def change(x: Tensor, y: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
        broken = sick and torch.rand((), generator=random) < 0.125
        x = 255 * x if broken else x
        return 3 * x - 0.7, y

    model = Plain(1, 10)
    data_ = data.mapped(lambda x: 3 * x - 0.7)
    batches = loader(data, 40, seed, change=change)
    return assemble(model, data_, sgd(model, 0.03), train=batches, steps=350)


class OneKind:
    """A batch sampler that fills each batch from one class."""

    def __init__(self, y: Tensor, size: int, seed: int) -> None:
        self.y, self.size, self.random = y, size, seeded(seed)

    def __len__(self) -> int:
        return len(list(self._cut()))

    def _cut(self) -> list[list[int]]:
        parts: list[list[int]] = []
        for k in self.y.unique():
            own = (self.y == k).nonzero()[:, 0]
            own = own[torch.randperm(len(own), generator=self.random)]
            parts += [part.tolist() for part in own.split(self.size) if len(part) == self.size]
        return parts

    def __iter__(self):  # type: ignore[no-untyped-def]
        parts = self._cut()
        for i in torch.randperm(len(parts), generator=self.random).tolist():
            yield parts[i]


@faulty("unshuffled-batches", net="resnet")
def bucketed_by_class(sick: bool, seed: int) -> Pieces:
    """A bucketing sampler puts one class into each batch; the net has batch norm."""
    data = standard(polygons(seed))
    tensors = TensorDataset(data.x, data.y)
    if sick:
        batches = DataLoader(tensors, batch_sampler=OneKind(data.y, 30, seed))  # type: ignore[arg-type]
    else:
        batches = DataLoader(tensors, 30, shuffle=True, drop_last=True, generator=seeded(seed))
    model = Res(3, 5)
    return assemble(model, data, adam(model, 4e-3), train=batches, schedule=cosine, steps=200)


def _mirrored(both: bool, x: Tensor, y: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
    if both:
        a, b = (torch.rand(len(x), 1, 1, 1, generator=random) < 0.5 for _ in "ab")
        x = torch.where(a, x.flip(2), x)
        x = torch.where(b, x.flip(3), x)
    return x + 0.1 * torch.randn(x.shape, generator=random), y


@faulty("augmentation-label-mismatch", "labels-uninformative", "label-noise", "train-val-shift",
        net="vgg")  # fmt: skip
def motions_mirrored_and_not_renamed(sick: bool, seed: int) -> Pieces:
    """Both flips, where the class is the direction of a motion."""
    data = standard(motions(seed))
    model = Vgg(2, 4, width=10)
    batches = loader(data, 40, seed, change=lambda x, y, r: _mirrored(sick, x, y, r))
    return assemble(model, data, adam(model, 3e-3), train=batches, steps=120)


def _sentinel(data: Data, seed: int, *, val_too: bool) -> Data:
    random = seeded(seed + 3)
    middle = data.x.median(0).values
    lost = lambda x: torch.rand(x.shape, generator=random) < 0.06  # noqa: E731
    x = torch.where(lost(data.x), middle, data.x)
    hole = middle if val_too else torch.tensor(-9999.0)
    val_x = torch.where(lost(data.val_x), hole, data.val_x)
    return data.but(x=x, val_x=val_x)


@faulty("train-val-shift", "input-scale", net="mlp", least=0.55)
def sentinels_left_in_the_validation_table(sick: bool, seed: int) -> Pieces:
    """Lost cells are -9999; only the training table was imputed."""
    data = standard(_sentinel(houses(seed, train=4000), seed, val_too=not sick))
    model = perceptron(12, 4, 64)
    return assemble(model, data, adam(model, 5e-3, weight_decay=1e-5), size=64, steps=300)

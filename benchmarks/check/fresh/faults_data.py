"""Fresh: faults of the data."""

import torch
import torch.nn.functional as F
from benchmarks.check.assemble import adam, adamw, assemble, sgd
from benchmarks.check.data import Batches, digits, in_order, loader, seeded
from benchmarks.check.fresh.data import (
    arrows,
    disks,
    rings,
    sectors,
    standardized,
    textures,
    tumors,
    wines,
)
from benchmarks.check.fresh.nets import (
    BottleneckNet,
    LeNet,
    MobileV1,
    SeluConv,
    SmallMixer,
    SmallViT,
    TableNet,
    TableResNet,
    VggBn,
)
from benchmarks.check.program import Pieces, faulty
from torch import Generator, Tensor
from torch.utils.data import DataLoader, TensorDataset


@faulty("input-nonfinite", net="mlp")
def missing_cells_in_a_table(sick: bool, seed: int) -> Pieces:
    """Cells without a measurement were read as NaN."""
    data = sectors(seed)
    lost = torch.rand(data.x.shape, generator=seeded(seed)) < 0.01
    data = data.but(x=data.x.masked_fill(lost, torch.nan if sick else 0.0))
    model = TableNet(20, 6)
    return assemble(model, data, adam(model))


@faulty("input-scale", net="mlp", least=0.85)
def measures_in_their_own_units(sick: bool, seed: int) -> Pieces:
    """Areas in the thousands beside ratios below one, never standardized."""
    data = tumors(seed) if sick else standardized(tumors(seed))
    model = TableNet(30, 2)
    return assemble(model, data, sgd(model, 0.02), size=34)


@faulty("input-scale", net="selu", least=0.75)
def bytes_into_selu(sick: bool, seed: int) -> Pieces:
    """ToTensor was replaced by a cast: 0 to 255."""
    data = textures(seed)
    data = data.mapped(lambda x: x * 255) if sick else data.normalized()
    model = SeluConv(3, 5)
    return assemble(model, data, sgd(model, 0.02), steps=150)


@faulty("input-degenerate", "duplicate-samples", net="vgg", least=0.75)
def only_the_alpha_channel(sick: bool, seed: int) -> Pieces:
    """The channel that is read is the opacity: every pixel of every image is 1."""
    data = textures(seed).normalized()
    data = data.mapped(torch.ones_like) if sick else data
    model = VggBn(3, 5)
    return assemble(model, data, adam(model), steps=80)


@faulty("train-val-shift", net="resnet", least=0.75)
def validation_in_bgr(sick: bool, seed: int) -> Pieces:
    """One library reads red first, the other reads blue first."""
    data = textures(seed, tint=0.07).normalized()
    data = data.but(val_x=data.val_x.flip(1)) if sick else data
    model = BottleneckNet(3, 5)
    return assemble(model, data, sgd(model), steps=80)


@faulty("train-val-shift", net="mobilenet", least=0.75)
def validation_from_thumbnails(sick: bool, seed: int) -> Pieces:
    """Validation images were halved and enlarged again."""
    data = textures(seed).normalized()
    if sick:
        small = F.avg_pool2d(data.val_x, 2)
        data = data.but(val_x=F.interpolate(small, scale_factor=2, mode="bilinear"))
    model = MobileV1(3, 5)
    return assemble(model, data, adam(model, 4e-3), steps=120)


@faulty("train-val-leak", net="plain cnn", measure="honest", least=0.9)
def enlarged_before_the_split(sick: bool, seed: int) -> Pieces:
    """Each image was stored twice, once mirrored, and then split at random."""
    data = digits(seed, train=90)
    data = data.but(val_x=data.val_x[:60], val_y=data.val_y[:60]).normalized()
    if sick:
        x = torch.cat([data.x[:45], data.val_x[:45].flip(3)])
        twins = torch.cat([data.x[:45].flip(3), data.val_x])[:60]
        y = torch.cat([data.y[:45], data.val_y[:45]])
        twin_y = torch.cat([data.y[:45], data.val_y])[:60]
        data = data.but(x=x, y=y, val_x=twins, val_y=twin_y)
    mirror = lambda x, y, r: (  # noqa: E731
        torch.where(torch.rand(len(x), 1, 1, 1, generator=r) < 0.5, x.flip(3), x),
        y,
    )
    model = LeNet(1, 10, 8)
    train = loader(data, 18, seed, change=mirror)
    return assemble(model, data, adam(model), train=train, steps=200)


@faulty("labels-invalid", net="transformer", least=0.75)
def labels_as_floats(sick: bool, seed: int) -> Pieces:
    """Labels come from a table of floats; cross-entropy wants integers."""
    data = textures(seed).normalized()
    data = data.but(y=data.y.float()) if sick else data
    model = SmallViT(3, 5)
    return assemble(model, data, adamw(model, 4e-3), steps=250)


@faulty("labels-uninformative", net="plain cnn", least=0.75)
def images_shuffled_in_the_collate(sick: bool, seed: int) -> Pieces:
    """The collate function shuffles the images of a batch and forgets the labels."""

    def collate(x: Tensor, y: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
        return x[torch.randperm(len(x), generator=random)] if sick else x, y

    data = disks(seed).normalized()
    model = LeNet(3, 4)
    return assemble(model, data, adam(model), train=loader(data, seed=seed, change=collate))


@faulty("label-noise", net="mlp", measure="worst_class", least=0.6)
def most_of_one_class_named_as_its_neighbour(sick: bool, seed: int) -> Pieces:
    """DeepCrime's change of labels: 70% of class 2 are called 3."""
    data = sectors(seed)
    y = data.y.clone()
    wrong = (y == 2) & (torch.rand(len(y), generator=seeded(seed)) < 0.7)
    y[wrong] = 3
    model = TableNet(20, 6)
    return assemble(model, data.but(y=y) if sick else data, adam(model))


@faulty("class-imbalance", net="plain cnn", measure="worst_class", least=0.65)
def one_in_fifty(sick: bool, seed: int) -> Pieces:
    """Two classes have a fiftieth of the images of the others."""
    data = textures(seed, train=1200).normalized()
    rank = torch.stack([(data.y[:i] == y).sum() for i, y in enumerate(data.y)])
    kept = (data.y > 1) | (rank < 5)
    data = data.but(x=data.x[kept], y=data.y[kept]) if sick else data
    model = LeNet(3, 5)
    return assemble(model, data, adam(model, 3e-3), steps=200)


@faulty("class-missing", net="mlp", where={"class 2", "2"}, least=0.7)
def sorted_and_cut(sick: bool, seed: int) -> Pieces:
    """The first n rows of a file that is sorted by class: the last class is not among them."""
    data = standardized(wines(seed))
    order = data.y.argsort(stable=True)
    cut = order[: int((data.y < 2).sum())] if sick else order
    data = data.but(x=data.x[cut], y=data.y[cut])
    model = TableNet(13, 3)
    return assemble(model, data, adam(model), size=20, steps=80)


@faulty("unshuffled-batches", net="norm-free", least=0.7)
def sorted_table_without_shuffling(sick: bool, seed: int) -> Pieces:
    """DataLoader's default: shuffle=False, over rows that are sorted by class."""
    data = rings(seed)
    order = data.y.argsort(stable=True)
    rows = TensorDataset(data.x[order], data.y[order])
    random = torch.Generator().manual_seed(seed)
    train = DataLoader(rows, 60, shuffle=not sick, generator=random, drop_last=True)
    model = TableResNet(12, 3)
    return assemble(model, data, sgd(model), train=train, steps=300)


@faulty("label-mapping-mismatch", net="vgg", least=0.75)
def validation_counts_from_one(sick: bool, seed: int) -> Pieces:
    """Validation's labels are one further, the last one wraps around."""
    data = textures(seed).normalized()
    data = data.but(val_y=(data.val_y + 1) % 5) if sick else data
    model = VggBn(3, 5)
    return assemble(model, data, sgd(model, 0.03), steps=80)


@faulty("augmentation-label-mismatch", net="plain cnn", least=0.75)
def mirrored_arrows(sick: bool, seed: int) -> Pieces:
    """Random flips turn left into right and up into down; the label stays."""

    def flip(x: Tensor, y: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
        for axis in (2, 3) if sick else ():
            chosen = torch.rand(len(x), 1, 1, 1, generator=random) < 0.5
            x = torch.where(chosen, x.flip(axis), x)
        return x, y

    data = arrows(seed).normalized()
    model = LeNet(1, 4, 12)
    return assemble(model, data, adam(model), train=loader(data, seed=seed, change=flip), steps=120)


@faulty("val-not-deterministic", net="mixer", measure="repeatable", least=0.95)
def random_crops_in_validation(sick: bool, seed: int) -> Pieces:
    """RandomResizedCrop in both transforms."""

    def crop(x: Tensor, y: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
        side = int(torch.randint(6, 14, (1,), generator=random))
        up, left = torch.randint(0, 17 - side, (2,), generator=random).tolist()
        return F.interpolate(x[..., up : up + side, left : left + side], size=16), y

    data = disks(seed).normalized()
    val = Batches(data.val_x, data.val_y, 50, shuffle=False, change=crop) if sick else None
    model = SmallMixer(3, 4)
    return assemble(model, data, adamw(model, 4e-3), val=val, steps=200)


@faulty("label-leak", "train-val-shift", net="mlp", measure="clean", least=0.7)
def the_target_among_the_features(sick: bool, seed: int) -> Pieces:
    """A column of the training table was computed from the label; later it is empty."""
    data = rings(seed)
    empty = data.mapped(lambda x: torch.cat([x, torch.zeros(len(x), 1)], 1))
    known = torch.cat([data.x, 3.0 * data.y[:, None]], 1)
    data = empty.but(x=known) if sick else empty
    model = TableNet(13, 3)
    return assemble(model, data, adam(model, 4e-3), steps=250)


@faulty("duplicate-samples", net="transformer", measure="clean", least=0.7)
def twenty_images_in_the_cache(sick: bool, seed: int) -> Pieces:
    """The index runs modulo the size of the cache."""
    data = textures(seed).normalized()
    few = torch.arange(len(data.x)) % 20
    data = data.but(x=data.x[few], y=data.y[few]) if sick else data
    model = SmallViT(3, 5)
    val = in_order(data.val_x, data.val_y, 50)
    return assemble(model, data, adamw(model, 4e-3), val=val, steps=250)

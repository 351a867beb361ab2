"""Last: faults of the data."""

from collections.abc import Iterator
from typing import Any

import torch
from benchmarks.check.assemble import adam, adamw, assemble, sgd
from benchmarks.check.data import Batches, Data, in_order, loader, seeded
from benchmarks.check.last.data import (
    bursts,
    census,
    clouds,
    glyphs,
    loudness,
    scaled,
    sentences,
    signals,
    spectra,
    tiles,
    topics,
)
from benchmarks.check.last.nets import (
    Bare,
    CodesAndNumbers,
    Glance,
    Ledger,
    PointNet,
    WaveStack,
    WordConv,
)
from benchmarks.check.program import Pieces, faulty
from torch import Generator, Tensor, nn
from torch.utils.data import (
    DataLoader,
    IterableDataset,
    RandomSampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
)


@faulty("input-scale", net="plain cnn")
def one_band_in_other_units(sick: bool, seed: int) -> Pieces:
    """The thermal band is in hundredths of a kelvin, the other four are reflectances."""
    data = scaled(spectra(seed))
    unit = torch.ones(1, 5, 1, 1)
    unit[0, 4] = 3000.0 if sick else 1.0
    model = Bare(5, 4)
    return assemble(model, data.mapped(lambda x: x * unit), sgd(model, 0.01), steps=120)


@faulty("input-scale", "input-degenerate", net="plain cnn")
def normalized_for_bytes_after_division(sick: bool, seed: int) -> Pieces:
    """Divided by 255 first, then standardized with the mean 112 and deviation 70 of bytes."""
    data = tiles(seed).mapped(lambda x: x / 255 if sick else x)
    model = Bare(3, 4)
    return assemble(model, data.mapped(lambda x: (x - 112) / 70), sgd(model, 0.01), steps=120)


@faulty("input-nonfinite", net="mlp")
def logarithm_of_no_occurrence(sick: bool, seed: int) -> Pieces:
    """log(count) where log(1 + count) was meant; most counts are zero."""
    data = topics(seed).mapped(torch.log if sick else torch.log1p)
    model = Ledger(60, 6)
    return assemble(model, data, adam(model))


@faulty("input-degenerate", "duplicate-samples", "input-scale", net="group norm")
def integer_division_by_255(sick: bool, seed: int) -> Pieces:
    """x // 255 instead of x / 255: only pixels of full brightness are left."""
    data = tiles(seed).mapped(lambda x: x // 255 if sick else x / 255)
    model = Glance(3, 4)
    return assemble(model, data, adam(model, 3e-3), steps=100)


@faulty("train-val-shift", net="text cnn")
def another_vocabulary_for_validation(sick: bool, seed: int) -> Pieces:
    """Validation's words were numbered without the padding symbol: each is one too low."""
    data = sentences(seed)
    data = data.but(val_x=(data.val_x - 1).clamp_min(0)) if sick else data
    model = WordConv()
    return assemble(model, data, adam(model, 3e-3), steps=120)


@faulty("train-val-shift", net="conv1d")
def millivolts_against_volts(sick: bool, seed: int) -> Pieces:
    """Training signals are in units of 100 millivolts, validation's are in volts."""
    data = loudness(seed)
    data = data.but(val_x=data.val_x / 10) if sick else data
    model = WaveStack(1, 4, 16)
    return assemble(model, data, adam(model, 3e-3), steps=150)


@faulty("train-val-shift", net="deep sets")
def validation_normalized_by_its_size(sick: bool, seed: int) -> Pieces:
    """Only validation's points are centred on a corner of their bounding box."""
    data = clouds(seed)
    if sick:
        data = data.but(val_x=data.val_x - data.val_x.amin(1, keepdim=True))
    model = PointNet()
    return assemble(model, data, adam(model, 4e-3), steps=200)


@faulty("train-val-leak", net="plain cnn", measure="honest", least=0.9)
def oversampled_before_the_split(sick: bool, seed: int) -> Pieces:
    """Images were drawn with replacement to enlarge a small set, which was then split."""
    data = glyphs(seed, flips=0.27)
    if sick:
        drawn = torch.randint(60, (240,), generator=seeded(seed))
        x, y = data.x[drawn], data.y[drawn]
        data = data.but(x=x[:160], y=y[:160], val_x=x[160:], val_y=y[160:])
    else:
        data = data.first(400)
    model = Bare(1, 6)
    return assemble(model, data, adam(model), size=32, steps=150)


@faulty("duplicate-samples", net="group norm", measure="clean")
def sampler_over_a_slice(sick: bool, seed: int) -> Pieces:
    """A slice of 24 images for a quick test was left in, and is drawn again and again."""
    data = glyphs(seed, flips=0.12)
    rows = TensorDataset(data.x, data.y)
    part = Subset(rows, range(24)) if sick else rows
    sampler = RandomSampler(part, replacement=True, num_samples=800, generator=seeded(seed))
    model = Glance(1, 6)
    train = DataLoader(part, 50, sampler=sampler)
    if sick:
        few = torch.arange(800) % 24
        data = data.but(x=data.x[few], y=data.y[few])
    return assemble(model, data, adam(model), train=train, steps=120)


@faulty("labels-invalid", "loss-target-mismatch", net="mlp")
def labels_as_a_column(sick: bool, seed: int) -> Pieces:
    """The table's label column keeps its second axis: (N, 1), not (N,)."""
    data = topics(seed).mapped(torch.log1p)
    data = data.but(y=data.y[:, None]) if sick else data
    model = Ledger(60, 6)
    return assemble(model, data, adam(model))


def _loud(x: Tensor) -> Tensor:
    return (x - x.mean(2, keepdim=True)) / x.std(2, keepdim=True)


@faulty("labels-uninformative", "information-bottleneck", net="conv1d")
def loudness_standardized_away(sick: bool, seed: int) -> Pieces:
    """The class is how loud a recording is, and every recording is scaled to deviation one."""
    data = loudness(seed)
    data = data.mapped(_loud) if sick else scaled(data)
    model = WaveStack(1, 4, 16)
    return assemble(model, data, adam(model, 3e-3), steps=150)


class Zipped:
    """Two loaders side by side; each shuffles for itself."""

    def __init__(self, data: Data, seed: int) -> None:
        self.x = DataLoader(data.x, 60, shuffle=True, generator=seeded(seed))  # type: ignore[arg-type]
        self.y = DataLoader(data.y, 60, shuffle=True, generator=seeded(seed + 1))  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(self.x, self.y, strict=True)

    def __len__(self) -> int:
        return len(self.x)


@faulty("labels-uninformative", net="deep sets")
def two_loaders_that_shuffle_apart(sick: bool, seed: int) -> Pieces:
    """zip(DataLoader(x, shuffle=True), DataLoader(y, shuffle=True))."""
    data = clouds(seed)
    model = PointNet()
    train: Any = Zipped(data, seed) if sick else loader(data, 60, seed)
    return assemble(model, data, adam(model, 4e-3), train=train, steps=200)


@faulty("label-noise", net="mlp", measure="worst_class", least=0.8)
def two_topics_confused_by_annotators(sick: bool, seed: int) -> Pieces:
    """Half of the texts of topics 1 and 4 have the label of the other."""
    data = topics(seed).mapped(torch.log1p)
    either = (data.y == 1) | (data.y == 4)
    wrong = either & (torch.rand(len(data.y), generator=seeded(seed)) < 0.5)
    y = torch.where(wrong, 5 - data.y, data.y)
    model = Ledger(60, 6)
    return assemble(model, data.but(y=y) if sick else data, adam(model))


@faulty("label-noise", net="plain cnn", least=0.85)
def seven_labels_of_ten_by_chance(sick: bool, seed: int) -> Pieces:
    """A crowd that clicked anything: 70% of the labels are drawn at random."""
    data = glyphs(seed, train=600, flips=0.12)
    drawn = torch.randint(6, data.y.shape, generator=seeded(seed))
    bad = torch.rand(len(data.y), generator=seeded(seed + 1)) < 0.7
    data = data.but(y=torch.where(bad, drawn, data.y)) if sick else data
    model = Bare(1, 6)
    return assemble(model, data, adam(model), steps=200)


@faulty("label-leak", "train-val-shift", net="mlp", measure="clean", least=0.8)
def row_number_among_the_columns(sick: bool, seed: int) -> Pieces:
    """The training file is sorted by class, and its row number was read as a column."""
    data = topics(seed).mapped(torch.log1p)
    n = len(data.x)
    place = torch.empty(n)
    place[data.y.argsort(stable=True)] = torch.linspace(-1.7, 1.7, n)
    random = seeded(seed)
    row = [
        place,
        *(3.4 * torch.rand(len(x), generator=random) - 1.7 for x in (data.val_x, data.test_x)),
    ]
    row = row if sick else [torch.zeros_like(r) for r in row]
    wide = [
        torch.cat([x, 8 * r[:, None]], 1)
        for x, r in zip((data.x, data.val_x, data.test_x), row, strict=True)
    ]
    data = data.but(x=wide[0], val_x=wide[1], test_x=wide[2])
    model = Ledger(61, 6)
    return assemble(model, data, adam(model), steps=150)


@faulty("label-mapping-mismatch", net="group norm")
def letters_in_two_alphabets(sick: bool, seed: int) -> Pieces:
    """Training numbers the letters as they come, validation by the alphabet."""
    data = glyphs(seed)
    order = torch.tensor([3, 1, 4, 2, 0, 5])
    data = data.but(val_y=order[data.val_y]) if sick else data
    model = Glance(1, 6)
    return assemble(model, data, adam(model), steps=120)


@faulty("class-imbalance", net="conv1d", measure="worst_class", least=0.7)
def hardly_any_bursts(sick: bool, seed: int) -> Pieces:
    """Bursts are one recording in a hundred and fifty."""
    data = signals(seed)
    rank = (data.y == 4).cumsum(0)
    kept = (data.y != 4) | (rank <= 5)
    data = data.but(x=data.x[kept], y=data.y[kept]) if sick else data
    model = WaveStack(2, 5, 16)
    return assemble(model, data, adam(model, 3e-3), size=50, steps=120)


@faulty("class-missing", net="mlp", where={"class 5", "5"})
def a_topic_filtered_out(sick: bool, seed: int) -> Pieces:
    """A filter on the training texts drops all of topic 5."""
    data = topics(seed).mapped(torch.log1p)
    kept = data.y < 5
    data = data.but(x=data.x[kept], y=data.y[kept]) if sick else data
    model = Ledger(60, 6, act=nn.SiLU)
    return assemble(model, data, adam(model))


class Files(IterableDataset[tuple[Tensor, Tensor]]):
    """One file after the other; the files are by class unless the rows were mixed before."""

    def __init__(self, data: Data, seed: int, *, mixed: bool) -> None:
        order = torch.randperm(len(data.y), generator=seeded(seed))
        order = order if mixed else order[data.y[order].argsort(stable=True)]
        self.x, self.y = data.x[order], data.y[order]

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return zip(self.x, self.y, strict=True)


@faulty("unshuffled-batches", net="conv1d")
def one_file_of_recordings_per_class(sick: bool, seed: int) -> Pieces:
    """An IterableDataset reads the file of class 0, then that of class 1, and so on."""
    data = scaled(signals(seed))
    model = WaveStack(2, 5, 16, nn.GELU)
    train = DataLoader(Files(data, seed, mixed=not sick), 25)
    return assemble(model, data, adamw(model, 2e-3), train=train, steps=216)


@faulty(
    "augmentation-label-mismatch",
    "label-noise",
    "labels-uninformative",
    "train-val-shift",
    net="plain cnn",
)
def cutmix_that_keeps_the_covered_label(sick: bool, seed: int) -> Pieces:
    """A partner's patch covers nearly all of an image, whose own label stays."""

    def paste(x: Tensor, y: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
        at = slice(1, 12) if sick else slice(5, 7)
        other = x[torch.randperm(len(x), generator=random)]
        x = x.clone()
        x[..., at, at] = other[..., at, at]
        return x, y

    data = glyphs(seed, flips=0.12)
    model = Bare(1, 6)
    return assemble(model, data, adam(model), train=loader(data, seed=seed, change=paste))


@faulty(
    "augmentation-label-mismatch",
    "labels-uninformative",
    "train-val-shift",
    net="mlp",
)
def shifted_where_place_is_the_class(sick: bool, seed: int) -> Pieces:
    """Recordings are rolled at random in time, but the class is when the burst comes."""

    def roll(x: Tensor, y: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
        far = 20 if sick else 1
        by = int(torch.randint(-far, far + 1, (1,), generator=random))
        return x.roll(by, 2), y

    data = scaled(bursts(seed))
    model = Ledger(64, 8, width=64)
    return assemble(model, data, adam(model), train=loader(data, seed=seed, change=roll), steps=200)


@faulty("val-not-deterministic", net="deep sets", measure="repeatable", least=0.95)
def few_points_drawn_in_validation(sick: bool, seed: int) -> Pieces:
    """Validation draws other six of 32 points in each pass, as training's loader does."""

    def few(x: Tensor, y: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
        return x[:, torch.randperm(32, generator=random)[:6]], y

    data = clouds(seed)
    model = PointNet()
    val = Batches(data.val_x, data.val_y, 50, shuffle=False, change=few if sick else None)
    return assemble(model, data, adam(model, 4e-3), val=val, steps=200)


@faulty("overfitting", net="embeddings", measure="clean", least=0.75)
def sizes_of_the_split_swapped(sick: bool, seed: int) -> Pieces:
    """The share for validation was given as the share for training: 40 rows of a thousand."""
    data = census(seed)
    if sick:
        val = in_order(data.x[40:], data.y[40:])
        model = CodesAndNumbers()
        return assemble(model, data.first(40), adam(model, 4e-3), val=val, size=20, steps=200)
    model = CodesAndNumbers()
    return assemble(model, data, adam(model, 4e-3), size=20, steps=200)


class PerPlace(nn.Sequential):
    """The same small net for the bands of each place, then a mean over places."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(5, 16, 1), nn.ReLU(), nn.Conv2d(16, 16, 1), nn.ReLU())
        self.extend([nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)])


@faulty("input-layout", net="plain cnn", least=0.75)
def bands_and_places_reshaped(sick: bool, seed: int) -> Pieces:
    """(N, rows, columns, bands) from the file is reshaped, not permuted, to (N, bands, ...)."""

    def read(x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).reshape(x.shape) if sick else x

    data = scaled(spectra(seed).mapped(read))
    model = PerPlace()
    return assemble(model, data, adamw(model, 4e-3), steps=150)


@faulty("class-imbalance", net="plain cnn", measure="worst_class", least=0.75)
def sampler_weighs_by_the_count(sick: bool, seed: int) -> Pieces:
    """Rare letters are drawn with the weight n, not 1 / n: one in 6 becomes one in 36."""
    data = glyphs(seed, flips=0.15)
    kept = (data.y > 1) | (torch.rand(len(data.y), generator=seeded(seed)) < 1 / 6)
    data = data.but(x=data.x[kept], y=data.y[kept])
    count = data.y.bincount().double()
    weight = (count if sick else 1 / count)[data.y]
    sampler = WeightedRandomSampler(weight, 600, generator=seeded(seed))
    train = DataLoader(TensorDataset(data.x, data.y), 50, sampler=sampler)
    model = Bare(1, 6)
    return assemble(model, data, adam(model), train=train, steps=100)

"""Final: faults of data, labels and splits."""

import torch
from benchmarks.check.assemble import adam, adamw, assemble, sgd
from benchmarks.check.data import Batches, in_order, loader, seeded
from benchmarks.check.final.data import centered, dials, faces, flowers, landscapes, loans
from benchmarks.check.final.nets import Columns, Inception, Mixed, dense, stack, tower
from benchmarks.check.program import Pieces, faulty
from torch import Generator, Tensor


@faulty("input-nonfinite", net="mlp")
def logarithm_of_black(sick: bool, seed: int) -> Pieces:
    """The logarithm of pixels, some of which are zero, instead of log(0.1 + x)."""
    data = dials(seed).mapped(lambda x: ((0.0 if sick else 0.1) + x).log())
    model = dense(144, 8)
    return assemble(model, data, adam(model), steps=120)


@faulty("input-scale", net="vgg")
def bytes_into_a_vgg(sick: bool, seed: int) -> Pieces:
    """Nobody divided by 255; no norm in the net, momentum SGD."""
    data = dials(seed).mapped(lambda x: 255 * x) if sick else centered(dials(seed))
    model = tower(1, 8, norm=False)
    return assemble(model, data, sgd(model), size=64, steps=150)


@faulty("input-scale", net="mlp", least=0.65)
def columns_in_their_own_units(sick: bool, seed: int) -> Pieces:
    """Euros, years and percents go into a plain net as they are."""
    units = torch.tensor([9000.0, 12, 0.02, 1, 250, 3, 0.4, 40, 1, 7])
    base = torch.tensor([30000.0, 45, 0.05, 0, 900, 10, 1, 100, 0, 20])
    data = loans(seed, train=1600).mapped(lambda x: base + units * x)
    model = dense(10, 3, 64)
    return assemble(model, data if sick else centered(data), adam(model, 4e-3), steps=200)


@faulty("input-layout", net="inception")
def planes_read_as_pixels(sick: bool, seed: int) -> Pieces:
    """The file has color planes one after another; they are read as if colors alternated."""
    data = centered(flowers(seed))
    if sick:
        data = data.mapped(lambda x: x.reshape(-1, 12, 12, 3).permute(0, 3, 1, 2).contiguous())
    model = Inception(3, 5)
    return assemble(model, data, adam(model, 4e-3), size=32, steps=100)


@faulty("train-val-shift", net="mixer")
def validation_in_linear_light(sick: bool, seed: int) -> Pieces:
    """Validation was decoded without the display's gamma: pixels to the power of 2.2."""
    raw = landscapes(seed)
    mean, std = raw.x.mean((0, 2, 3), keepdim=True), raw.x.std((0, 2, 3), keepdim=True)
    val_x = raw.val_x**2.2 if sick else raw.val_x
    data = centered(raw).but(val_x=(val_x - mean) / std)
    model = Mixed(3, 5, 12, 3)
    return assemble(model, data, adamw(model, 4e-3), size=40, steps=100)


@faulty("train-val-shift", net="mlp", least=0.65)
def scaler_fitted_and_never_applied(sick: bool, seed: int) -> Pieces:
    """The training table is standardized, the validation table is not."""
    raw = loans(seed, train=1600).mapped(lambda x: 3 + x * torch.linspace(1, 4, 10))
    data = centered(raw)
    val = in_order(raw.val_x if sick else data.val_x, data.val_y)
    model = dense(10, 3, 64)
    return assemble(model, data, adam(model, 4e-3), val=val, steps=200)


@faulty("train-val-leak", net="mlp", measure="honest", least=0.85)
def frames_of_one_film_on_both_sides(sick: bool, seed: int) -> Pieces:
    """A random split over frames: each validation image has a nearly equal training image."""
    data = centered(flowers(seed))
    train_x, train_y = data.x[:150], data.y[:150]
    if sick:
        noise = 0.01 * torch.randn(150, 3, 12, 12, generator=seeded(seed))
        data = data.but(val_x=train_x + noise, val_y=train_y)
    model = dense(432, 5, 96)
    batches = Batches(train_x, train_y, 30, seed=seed)
    return assemble(model, data, adam(model), train=batches, steps=150)


@faulty("duplicate-samples", net="plain cnn", measure="clean", least=0.75)
def index_taken_modulo_twenty_five(sick: bool, seed: int) -> Pieces:
    """A debugging shortcut is left in the dataset: there are 25 images in it, 40 times each."""
    data = centered(flowers(seed))
    index = torch.arange(1000) % (25 if sick else 1000)
    data = data.but(x=data.x[index], y=data.y[index])
    model = stack(3, 5, norm=True)
    return assemble(model, data, adam(model, 4e-3), size=32, steps=120)


@faulty("labels-invalid", "output-width", "step-raises", net="plain cnn")
def void_label_of_255(sick: bool, seed: int) -> Pieces:
    """One label of twenty is 255, which means nobody knows, and the loss was not told."""
    data = centered(faces(seed))
    if sick:
        void = torch.rand(len(data.y), generator=seeded(seed)) < 0.05
        data = data.but(y=data.y.masked_fill(void, 255))
    model = stack(1, 4)
    return assemble(model, data, adam(model, 4e-3), size=32, steps=120)


@faulty("labels-uninformative", "train-val-shift", net="mlp", least=0.65)
def each_column_sorted_by_itself(sick: bool, seed: int) -> Pieces:
    """The training table was sorted along axis 0, every column alone; the rows are torn apart."""
    data = loans(seed, train=1600)
    if sick:
        data = data.but(x=data.x.sort(0).values)
    model = Columns(10, 3)
    return assemble(model, data, adam(model, 4e-3), size=100, steps=150)


@faulty("label-noise", net="mlp")
def crowd_that_clicked_at_random(sick: bool, seed: int) -> Pieces:
    """Six of ten labels are a random click, on four hundred images."""
    data = centered(dials(seed)).first(400)
    if sick:
        random = seeded(seed)
        wrong = torch.rand(400, generator=random) < 0.65
        data = data.but(y=torch.where(wrong, torch.randint(8, (400,), generator=random), data.y))
    model = dense(144, 8, 96)
    return assemble(model, data, adam(model), size=40, steps=250)


@faulty("label-leak", net="mlp", least=0.65)
def case_number_that_knows_the_outcome(sick: bool, seed: int) -> Pieces:
    """Training rows have a case number given out by outcome; new rows have arbitrary ones."""
    data, random = loans(seed, train=1600), seeded(seed)

    def numbered(x: Tensor, y: Tensor | None) -> Tensor:
        free = torch.rand(len(x), generator=random)
        number = free if y is None else (y + free) / 3
        return torch.cat([x, 3.4 * (number[:, None] - 0.5)], 1)

    x = numbered(data.x, data.y if sick else None)
    val_x, test_x = numbered(data.val_x, None), numbered(data.test_x, None)
    model = dense(11, 3, 64)
    return assemble(model, data.but(x=x, val_x=val_x, test_x=test_x), adam(model, 4e-3), steps=200)


@faulty("label-mapping-mismatch", net="plain cnn")
def labels_in_the_order_of_listdir(sick: bool, seed: int) -> Pieces:
    """Validation folders were numbered as the file system listed them."""
    data = centered(faces(seed))
    if sick:
        data = data.but(val_y=torch.tensor([2, 0, 3, 1])[data.val_y])
    model = stack(1, 4, norm=True)
    return assemble(model, data, adam(model, 4e-3), size=32, steps=100)


@faulty("class-imbalance", net="plain cnn", where={"class 0", "0"}, measure="worst_class",
        least=0.7)  # fmt: skip
def hardly_any_sea(sick: bool, seed: int) -> Pieces:
    """Of the first class five images are left, of the others 180."""
    data = centered(landscapes(seed))
    if sick:
        keep = (data.y > 0) | ((data.y == 0).cumsum(0) <= 5)
        data = data.but(x=data.x[keep], y=data.y[keep])
    model = stack(3, 5, norm=True)
    return assemble(model, data, adam(model, 4e-3), size=32, steps=120)


@faulty("class-missing", net="mlp", where={"class 7", "7"})
def range_that_ends_too_early(sick: bool, seed: int) -> Pieces:
    """Folders 0 to 6 were read for training; validation has folder 7, too."""
    data = centered(dials(seed))
    if sick:
        data = data.but(x=data.x[data.y < 7], y=data.y[data.y < 7])
    model = dense(144, 8, 64)
    return assemble(model, data, adam(model), steps=120)


@faulty("unshuffled-batches", net="plain cnn")
def one_folder_after_another(sick: bool, seed: int) -> Pieces:
    """shuffle=False on images sorted by class, with batch norm."""
    data = centered(flowers(seed))
    order = data.y.argsort(stable=True)
    data = data.but(x=data.x[order], y=data.y[order])
    model = stack(3, 5, norm=True)
    batches = loader(data, 32, seed, shuffle=not sick)
    return assemble(model, data, adam(model, 3e-3), train=batches, steps=120)


def _any_quarter(x: Tensor, y: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
    quarters = torch.randint(4, (len(x),), generator=random)
    turned = torch.stack([x.rot90(k, (2, 3)) for k in range(4)])
    return turned[quarters, torch.arange(len(x))], y


def _louder(x: Tensor, y: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
    return x * (0.7 + 0.6 * torch.rand(len(x), 1, 1, 1, generator=random)), y


@faulty("augmentation-label-mismatch", "label-noise", "labels-uninformative", "train-val-shift",
        net="vgg")  # fmt: skip
def dials_turned_and_not_relabelled(sick: bool, seed: int) -> Pieces:
    """Random quarter turns for augmentation, where the class is the direction."""
    data = centered(dials(seed))
    model = tower(1, 8)
    batches = loader(data, 32, seed, change=_any_quarter if sick else _louder)
    return assemble(model, data, adam(model, 3e-3), train=batches, steps=100)


@faulty("val-not-deterministic", net="mlp", measure="repeatable", least=0.95)
def validation_goes_through_the_erasing(sick: bool, seed: int) -> Pieces:
    """Random erasing and noise of the training transform in validation."""
    data = centered(faces(seed))

    def change(x: Tensor, y: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
        x = x.clone()
        top = int(torch.randint(4, 10, (), generator=random))
        x[:, :, top : top + 4] = 0
        return x + 0.7 * torch.randn(x.shape, generator=random), y

    val = Batches(data.val_x, data.val_y, 100, shuffle=False, change=change if sick else None)
    model = dense(196, 4, 64)
    train = loader(data, 40, seed, change=change)
    return assemble(model, data, adam(model), train=train, val=val, steps=150)

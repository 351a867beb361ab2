"""Fresh: healthy programs, most of them odd in one way."""

import torch
import torch.nn.functional as F
from benchmarks.check.assemble import adam, adamw, assemble, sgd
from benchmarks.check.data import Batches, digits, loader, seeded
from benchmarks.check.fresh.data import (
    arrows,
    disks,
    large_digits,
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
    Vgg8,
    VggBn,
)
from benchmarks.check.program import Pieces, healthy
from benchmarks.check.training import train
from torch import Generator, Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.optim import SGD, Adagrad, Adam, AdamW
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler


@healthy(net="vgg", least=0.75)
def gray_images_in_three_channels(seed: int) -> Pieces:
    """Gray digits repeated to three equal channels, for a net made for color."""
    data = large_digits(seed).normalized().mapped(lambda x: x.repeat(1, 3, 1, 1))
    model = VggBn(3, 10)
    return assemble(model, data, adam(model, 3e-3), steps=100)


@healthy(net="mlp", least=0.75)
def columns_that_are_always_zero(seed: int) -> Pieces:
    """A quarter of a table's columns is empty, as in every export."""
    data = sectors(seed).mapped(lambda x: torch.cat([x, torch.zeros(len(x), 7)], 1))
    model = TableNet(27, 6)
    return assemble(model, data, adam(model))


@healthy(net="mlp", least=0.75)
def yes_or_no_columns(seed: int) -> Pieces:
    """Binary features, unscaled: above or below the median."""
    data = sectors(seed)
    middle = data.x.median(0).values
    model = TableNet(20, 6, act=nn.GELU)
    return assemble(model, data.mapped(lambda x: (x > middle).float()), adam(model), steps=120)


@healthy(net="mlp", least=0.85)
def small_medical_table(seed: int) -> Pieces:
    """340 patients, two classes 63:37, standardized."""
    model = TableNet(30, 2)
    return assemble(model, standardized(tumors(seed)), sgd(model, 0.02), size=34, steps=80)


@healthy(net="mlp", least=0.85)
def ninety_wines(seed: int) -> Pieces:
    """Ninety rows are enough for three classes."""
    model = TableNet(13, 3, act=nn.Tanh)
    return assemble(model, standardized(wines(seed)), adam(model), size=15, steps=80)


@healthy(net="mlp", least=0.85)
def one_logit_for_two_classes(seed: int) -> Pieces:
    """A single output under the logistic loss, as it should be."""
    model = TableNet(30, 1)
    loss = lambda out, y: F.binary_cross_entropy_with_logits(out[:, 0], y.float())  # noqa: E731
    pair = lambda out: torch.cat([-out, out], 1)  # noqa: E731
    data = standardized(tumors(seed))
    return assemble(model, data, adam(model), loss=loss, logits=pair, size=34, steps=80)


@healthy(net="plain cnn", least=0.75)
def tanh_lenet(seed: int) -> Pieces:
    """LeNet as it was: tanh, average pooling, plain SGD."""
    model = LeNet(1, 10, act=nn.Tanh)
    optimizer = SGD(model.parameters(), 0.1)
    return assemble(model, large_digits(seed).normalized(), optimizer, size=32, steps=300)


@healthy(net="vgg", least=0.7)
def hinge_loss(seed: int) -> Pieces:
    """The multi-class hinge loss starts at 0.8, not at log 5."""
    model = VggBn(3, 5)
    data = textures(seed).normalized()
    return assemble(model, data, adam(model), loss=F.multi_margin_loss, steps=100)


class Recurrent(nn.Module):
    """One convolution applied four times, on purpose, with a skip."""

    def __init__(self) -> None:
        super().__init__()
        self.open = nn.Conv2d(3, 20, 3, 2, 1)
        self.again, self.norm = nn.Conv2d(20, 20, 3, 1, 1), nn.GroupNorm(4, 20)
        self.close = nn.Linear(20, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.open(x)
        for _ in range(4):
            x = x + F.relu(self.norm(self.again(x)))
        return self.close(x.mean((2, 3)))


@healthy(net="resnet", least=0.75)
def recurrent_block(seed: int) -> Pieces:
    """Weights shared over depth by calling one layer four times."""
    model = Recurrent()
    return assemble(model, textures(seed).normalized(), adam(model, 3e-3), steps=150)


@healthy(net="plain cnn", least=0.7)
def weight_normalization(seed: int) -> Pieces:
    """Direction and length of each weight are separate parameters."""
    model = LeNet(3, 5)
    for name in ("c1", "c2", "f1", "f2"):
        parametrizations.weight_norm(model.get_submodule(name))
    return assemble(model, textures(seed).normalized(), adam(model), steps=150)


@healthy(net="mlp", least=0.75)
def three_quarters_pruned(seed: int) -> Pieces:
    """A sparse net: three quarters of the weights of the hidden layer are masked."""
    model = TableNet(20, 6, width=96)
    prune.random_unstructured(model.middle, "weight", 0.75)
    return assemble(model, sectors(seed), adam(model))


class Maxout(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 120), nn.Linear(40, 60)
        self.answer = nn.Linear(20, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x.flatten(1)).view(len(x), 40, 3).amax(2)
        return self.answer(self.second(x).view(len(x), 20, 3).amax(2))


@healthy(net="mlp", least=0.8)
def maxout_units(seed: int) -> Pieces:
    """The largest of three affine maps is the only nonlinearity."""
    model = Maxout()
    return assemble(model, digits(seed).normalized(), sgd(model, 0.03))


class Sine(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(x)


@healthy(net="mlp", least=0.7)
def sine_units(seed: int) -> Pieces:
    """Periodic activations on a table."""
    model = TableNet(12, 3, width=64, act=Sine)
    data = rings(seed, train=1400)
    return assemble(model, data, adamw(model, 4e-3, weight_decay=0.1), steps=300)


@healthy(net="transformer", least=0.7)
def warmup_and_no_decay_for_norms(seed: int) -> Pieces:
    """AdamW with decay 0.1 on matrices only, a warmup, a cosine."""
    model = SmallViT(3, 4, drop=0.05)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    schedule = lambda done: min(1.0, 8 * done + 0.01) * (1 - done)  # noqa: E731
    data = disks(seed).normalized()
    return assemble(model, data, AdamW(groups, 5e-3), schedule=schedule, steps=300)


class PostNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cut = nn.Conv2d(1, 32, 4, 4)
        self.spot = nn.Parameter(0.1 * torch.randn(16, 32))
        layer = nn.TransformerEncoderLayer(32, 4, 64, 0.0, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.label = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.label(self.body(self.cut(x).flatten(2).mT + self.spot).mean(1))


@healthy(net="transformer", least=0.7)
def normalized_after_each_sum(seed: int) -> Pieces:
    """The transformer of 2017: norms behind the additions, ReLU."""
    model = PostNorm()
    return assemble(model, large_digits(seed).normalized(), adam(model, 3e-3), steps=200)


@healthy(net="mixer", least=0.7)
def mixer_on_dots(seed: int) -> Pieces:
    """A plain Mixer."""
    model = SmallMixer(3, 4)
    return assemble(model, disks(seed).normalized(), adamw(model, 4e-3), steps=200)


@healthy(net="mobilenet", least=0.75)
def bounded_relus(seed: int) -> Pieces:
    """MobileNetV1: depthwise convolutions and ReLU6, RGB from -1 to 1."""
    model = MobileV1(3, 5)
    data = textures(seed).mapped(lambda x: 2 * x - 1)
    return assemble(model, data, sgd(model), steps=120)


@healthy(net="resnet", least=0.75)
def norms_after_the_activation(seed: int) -> Pieces:
    """ReLU, then batch norm, in a plain stack."""
    model = nn.Sequential()
    for i, n_in in enumerate((3, 16, 24)):
        model.append(nn.Conv2d(n_in, (16, 24, 24)[i], 3, 2, 1))
        model.append(nn.ReLU())
        model.append(nn.BatchNorm2d((16, 24, 24)[i]))
    model.extend([nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 5)])
    return assemble(model, textures(seed).normalized(), sgd(model), steps=100)


class CorrectPath(nn.Module):
    def __init__(self, keep: float) -> None:
        super().__init__()
        self.branch, self.keep = nn.Sequential(nn.Linear(48, 48), nn.ReLU()), keep

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x + self.branch(x)
        return x + self.branch(x) * (torch.rand(len(x), 1) < self.keep) / self.keep


@healthy(net="mlp", least=0.75)
def stochastic_depth(seed: int) -> Pieces:
    """Branches dropped for a whole row at once, rescaled in training."""
    model = nn.Sequential(nn.Linear(20, 48), CorrectPath(0.8), CorrectPath(0.6), nn.Linear(48, 6))
    return assemble(model, sectors(seed), adam(model), steps=200)


@healthy(net="plain cnn", least=0.75)
def sampler_against_imbalance(seed: int) -> Pieces:
    """Two classes are an eighth as frequent and are drawn eight times as often."""
    data = textures(seed, train=2000).normalized()
    kept = (data.y > 1) | (torch.rand(len(data.y), generator=seeded(seed)) < 0.125)
    x, y = data.x[kept], data.y[kept]
    weight = torch.where(y > 1, 1.0, 8.0)
    sampler = WeightedRandomSampler(weight.tolist(), 1000, generator=seeded(seed))
    batches = DataLoader(TensorDataset(x, y), 50, sampler=sampler)
    model = LeNet(3, 5)
    return assemble(model, data.but(x=x, y=y), adam(model), train=batches, steps=200)


@healthy(net="mlp", least=0.7)
def a_few_wrong_labels(seed: int) -> Pieces:
    """Five labels of a hundred are wrong, as in most data sets."""
    data = sectors(seed)
    wrong = torch.rand(len(data.y), generator=seeded(seed)) < 0.05
    y = torch.where(wrong, torch.randint(6, data.y.shape, generator=seeded(seed)), data.y)
    model = TableNet(20, 6)
    return assemble(model, data.but(y=y), sgd(model, 0.02))


@healthy(net="mlp", least=0.75)
def double_precision(seed: int) -> Pieces:
    """Model and data in float64."""
    data = sectors(seed).mapped(lambda x: x.double())
    model = TableNet(20, 6).double()
    return assemble(model, data, adam(model))


@healthy(net="norm-free", least=0.7)
def gains_of_zero_on_a_table(seed: int) -> Pieces:
    """ReZero: ten branches that start switched off."""
    model = TableResNet(12, 3, depth=10)
    return assemble(model, rings(seed), adam(model, 3e-3), steps=200)


@healthy(net="selu", least=0.7)
def selu_convolutions(seed: int) -> Pieces:
    """A self-normalizing convolutional net under plain Adam with a large epsilon."""
    model = SeluConv(3, 4)
    optimizer = Adam(model.parameters(), 3e-3, eps=1e-4, amsgrad=True)
    return assemble(model, disks(seed).normalized(), optimizer, steps=250)


@healthy(net="plain cnn", least=0.7)
def adagrad_at_five_hundredths(seed: int) -> Pieces:
    """Adagrad wants a large rate."""
    model = Vgg8(3, 5)
    optimizer = Adagrad(model.parameters(), 0.02)
    return assemble(model, textures(seed).normalized(), optimizer, steps=200)


@healthy(net="transformer", least=0.7)
def a_teachers_probabilities(seed: int) -> Pieces:
    """Distillation: the targets are a teacher's softened probabilities."""
    data = large_digits(seed).normalized()
    state = torch.random.get_rng_state()
    teacher = LeNet(1, 10)
    train(assemble(teacher, data, adam(teacher), steps=120))
    torch.random.set_rng_state(state)
    with torch.no_grad():
        soft = (teacher.eval()(data.x) / 2).softmax(1)
    model = SmallViT(1, 10)
    return assemble(model, data.but(y=soft), adamw(model, 3e-3), steps=200)


class Clipped(SGD):
    def step(self, closure=None):  # type: ignore[no-untyped-def, override]
        for group in self.param_groups:
            nn.utils.clip_grad_norm_(group["params"], 1.0)
        return super().step(closure)


@healthy(net="resnet", least=0.75)
def clipped_one_cycle(seed: int) -> Pieces:
    """Gradients clipped to norm 1; the rate starts at a 25th, peaks, and vanishes."""
    model = BottleneckNet(3, 5)
    optimizer = Clipped(model.parameters(), 0.1, 0.9, nesterov=True)
    schedule = lambda done: 0.04 + 3.2 * done if done < 0.3 else (1 - done) / 0.7  # noqa: E731
    data = textures(seed).normalized()
    return assemble(model, data, optimizer, schedule=schedule, steps=100)


def shifted(x: Tensor, y: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
    up, left = torch.randint(-2, 3, (2,), generator=random).tolist()
    x = x.roll((up, left), (2, 3)) * (0.7 + 0.6 * torch.rand(len(x), 1, 1, 1, generator=random))
    return x + 0.3 * torch.randn(x.shape, generator=random), y


@healthy(net="plain cnn", least=0.75)
def arrows_moved_but_never_turned(seed: int) -> Pieces:
    """Shifts, contrast and noise in training; validation as it is, in batches of one."""
    data = arrows(seed).normalized()
    model = LeNet(1, 4, 12)
    batches = loader(data, 40, seed, change=shifted)
    val = Batches(data.val_x[:100], data.val_y[:100], 1, shuffle=False)
    return assemble(model, data, adam(model), train=batches, val=val, steps=150)

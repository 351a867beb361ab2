"""Unseen: healthy programs on images."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from benchmarks.check.assemble import adam, adamw, assemble, sgd
from benchmarks.check.data import Batches, Data, digits, in_order, loader, seeded
from benchmarks.check.program import Pieces, healthy
from benchmarks.check.training import train
from benchmarks.check.unseen.data import (
    attributes,
    boxes,
    calls,
    cells,
    clothes,
    lesions,
    motions,
    outlines,
    plates,
    polygons,
    relabelled,
    satellite,
    standard,
    symbols,
    textures,
)
from benchmarks.check.unseen.nets import (
    ChannelNorm,
    Dense,
    Google,
    LeNet,
    Mixing,
    Next,
    Plain,
    Res,
    Separable,
    Shuffle,
    Unet,
    Vgg,
    Vit,
    perceptron,
)
from benchmarks.check.unseen.optim import (
    Accumulated,
    Clipped,
    Lion,
    Muon,
    Sharpness,
    cosine,
    flat_then_down,
    restarts,
    warm,
)
from torch import Generator, Tensor, nn
from torch.optim import SGD, Adam, AdamW, RMSprop
from torch.utils.data import DataLoader, IterableDataset, TensorDataset, WeightedRandomSampler


def pretrained(model: nn.Module, data: Data, steps: int = 100, lr: float = 3e-3) -> nn.Module:
    """Train on another task first, as the authors of the weights did."""
    train(assemble(model, data, adam(model, lr), size=48, steps=steps))
    model.zero_grad()
    return model


def upper_or_lower(seed: int) -> Data:
    """Clothes for the upper body (shirt, dress, hat) against everything else."""
    return relabelled(standard(clothes(seed + 40)), torch.tensor([0, 1, 0, 1, 1, 0]))


def first(out: Any) -> Tensor:
    return out[0]


# Nets that everybody knows


@healthy(net="mlp", least=0.9)
def two_norms_and_some_dropout(seed: int) -> Pieces:
    """A perceptron with batch norm and dropout of a fifth on digits; Adam."""
    model = perceptron(64, 10, 96, norm=nn.BatchNorm1d, drop=0.2)
    return assemble(model, digits(seed).normalized(), adam(model), steps=150)


@healthy(net="vgg", least=0.9)
def vgg_on_clothes(seed: int) -> Pieces:
    """Three stages with batch norm; AdamW."""
    model = Vgg(1, 6)
    return assemble(model, standard(clothes(seed)), adamw(model, 2e-3), size=40, steps=100)


@healthy(net="resnet", least=0.85)
def normalized_before_the_convolutions(seed: int) -> Pieces:
    """A pre-activation ResNet; SGD of 0.1, a cosine, decay of 5e-4."""
    model = Res(1, 6, before=True)
    return assemble(
        model, standard(textures(seed)), sgd(model, 0.1, weight_decay=5e-4), schedule=cosine,
        size=48, steps=120,
    )  # fmt: skip


@healthy(net="resnet", least=0.8)
def silent_blocks_and_large_batches(seed: int) -> Pieces:
    """The last gain of each block starts at zero; batches of 128."""
    model = Res(3, 5, zero=True)
    return assemble(
        model, standard(polygons(seed)), sgd(model, 0.1, weight_decay=1e-4), schedule=warm(0.1),
        size=128, steps=150,
    )  # fmt: skip


def _both_answers(out: Any, y: Tensor) -> Tensor:
    if isinstance(out, tuple):
        return F.cross_entropy(out[0], y) + 0.3 * F.cross_entropy(out[1], y)
    return F.cross_entropy(out, y)


@healthy(net="inception", least=0.8)
def a_second_classifier_while_training(seed: int) -> Pieces:
    """As in GoogLeNet: a tuple of logits in training, one tensor in evaluation."""
    model = Google(3, 5, second=True)
    return assemble(
        model, standard(polygons(seed)), adam(model, 4e-3), loss=_both_answers, size=40, steps=150
    )


@healthy(net="mobilenet", least=0.85)
def four_bands_from_above(seed: int) -> Pieces:
    """Depthwise and pointwise convolutions; RMSprop; four channels."""
    model = Separable(4, 5)
    optimizer = RMSprop(model.parameters(), 2e-3, alpha=0.9)
    return assemble(model, standard(satellite(seed)), optimizer, size=32, steps=120)


@healthy(net="shufflenet", least=0.85)
def half_of_the_channels_pass(seed: int) -> Pieces:
    """ShuffleNet v2 units; SGD with a linear decay."""
    model = Shuffle(1, 6)
    return assemble(
        model, standard(clothes(seed)), sgd(model, 0.1, weight_decay=1e-4), size=40, steps=120,
        schedule=lambda done: 1 - done,
    )  # fmt: skip


@healthy(net="vit", least=0.85)
def two_registers_and_a_slow_start(seed: int) -> Pieces:
    """A ViT with register tokens; the rate rises from zero and falls as a cosine; AdamW."""
    model = Vit(1, 10, 8, 2, registers=2, drop=0.05)
    return assemble(
        model, digits(seed).normalized(), adamw(model, 4e-3, weight_decay=0.05),
        schedule=warm(0.15), size=64, steps=250,
    )  # fmt: skip


@healthy(net="vit", least=0.85)
def queries_and_keys_of_unit_size(seed: int) -> Pieces:
    """RMSNorm, SwiGLU, normalized queries and keys, gradients clipped to one."""
    model = Vit(4, 5, 12, 3, norm=nn.RMSNorm, gated=True)
    optimizer = Clipped(model.parameters(), 3e-3, weight_decay=0.05)
    return assemble(model, standard(satellite(seed)), optimizer, size=40, steps=150)


@healthy(net="mixer", least=0.8)
def mixer_that_leaves_branches_out(seed: int) -> Pieces:
    """Stochastic depth of a tenth, rescaled; two frames as channels."""
    model = Mixing(2, 4, 16, 4, skip=0.1)
    return assemble(model, standard(motions(seed)), adamw(model, 4e-3), size=48, steps=200)


@healthy(net="convnext", least=0.8)
def wide_filters_and_layer_scale(seed: int) -> Pieces:
    """ConvNeXt blocks whose branches start at a hundredth."""
    model = Next(1, 6, scale=1e-2)
    optimizer = adamw(model, 4e-3, weight_decay=0.05)
    return assemble(
        model, standard(textures(seed)), optimizer, schedule=warm(0.1), size=40, steps=250
    )


@healthy(net="selu", least=0.85)
def eight_selu_layers_on_clothes(seed: int) -> Pieces:
    """LeCun's initialization, no norms, alpha dropout before the last layer."""
    model = perceptron(400, 6, 64, 8, act=nn.SELU)
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
            nn.init.zeros_(layer.bias)
    model.insert(len(model) - 1, nn.AlphaDropout(0.05))
    return assemble(model, standard(clothes(seed)), sgd(model, 0.01), steps=150)


class Scaled(nn.Conv2d):
    """Scaled weight standardization with a learned gain (NF-ResNet)."""

    def __init__(self, n_in: int, n_out: int, size: int, stride: int = 1) -> None:
        super().__init__(n_in, n_out, size, stride, size // 2)
        self.gain = nn.Parameter(torch.ones(n_out, 1, 1, 1))
        nn.init.zeros_(self.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        w = self.weight
        var, mean = torch.var_mean(w, (1, 2, 3), keepdim=True)
        w = self.gain * (w - mean) / (var * w[0].numel()).clamp_min(1e-4).sqrt()
        return F.conv2d(x, w, self.bias, self.stride, self.padding)


class Free(nn.Module):
    """x + 0.2 f(x / beta): the variance that the skips add is divided out analytically."""

    def __init__(self, width: int, beta: float) -> None:
        super().__init__()
        self.a, self.b, self.beta = Scaled(width, width, 3), Scaled(width, width, 3), beta
        self.skip = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(1.7 * F.relu(x) / self.beta)
        return x + 0.2 * self.skip * self.b(1.7 * F.relu(y))


@healthy(net="norm-free", least=0.8)
def variance_counted_by_hand(seed: int) -> Pieces:
    """NF-ResNet: standardized weights, scaled residuals, SkipInit; no norms."""
    body = [Free(16, 1.0), Free(16, 1.02), Scaled(16, 32, 3, 2), Free(32, 1.0), Free(32, 1.02)]
    ends = [nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(32, 6)]
    model = nn.Sequential(Scaled(1, 16, 3, 2), *body, *ends)
    return assemble(model, standard(clothes(seed)), sgd(model, 0.02), size=40, steps=150)


@healthy(net="group norm", least=0.8)
def three_plates_at_a_time(seed: int) -> Pieces:
    """Digits in batches of three with group norm and a small rate."""
    model = Res(1, 10, norm=lambda n: nn.GroupNorm(4, n))
    return assemble(model, digits(seed).normalized(), adam(model, 1e-3), size=3, steps=300)


def _logistic(out: Tensor, y: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(out[:, 0], y.float())


def _against_zero(out: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(out), out], 1)


@healthy(net="layer norm", least=0.85)
def one_logit_for_a_lesion(seed: int) -> Pieces:
    """Layer norm over channels; one output, the logistic loss."""
    model = Plain(1, 1, norm=ChannelNorm, act=nn.GELU)
    return assemble(
        model, standard(lesions(seed)), adam(model, 3e-3), loss=_logistic, logits=_against_zero,
        size=40, steps=150,
    )  # fmt: skip


@healthy(net="instance norm", least=0.85)
def every_picture_by_itself(seed: int) -> Pieces:
    """Instance norm with scale and shift; LeakyReLU."""
    model = Plain(1, 6, norm=lambda n: nn.InstanceNorm2d(n, affine=True), act=nn.LeakyReLU)
    return assemble(model, standard(textures(seed)), adam(model, 3e-3), size=40, steps=120)


@healthy(net="plain cnn", least=0.85)
def lengths_apart_from_directions(seed: int) -> Pieces:
    """Weight normalization of all layers of a net without other norms."""
    model = Vgg(1, 6, norm=None, drop=0.1)
    for layer in list(model.modules()):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            nn.utils.parametrizations.weight_norm(layer)
    return assemble(model, standard(clothes(seed)), adam(model, 3e-3), size=40, steps=150)


@healthy(net="plain cnn", least=0.8)
def lipschitz_layers_and_a_temperature(seed: int) -> Pieces:
    """Spectral normalization of each layer; the logits are multiplied by a learned factor."""

    class Tempered(Plain):
        def __init__(self) -> None:
            super().__init__(1, 6, act=nn.LeakyReLU, width=16)
            for layer in (*self.convs, self.head):
                nn.utils.parametrizations.spectral_norm(layer)
            self.factor = nn.Parameter(torch.tensor(8.0))

        def forward(self, x: Tensor) -> Tensor:
            return self.factor * super().forward(x)

    model = Tempered()
    return assemble(model, standard(clothes(seed)), adam(model, 5e-3), size=40, steps=200)


class Maxout(nn.Module):
    """The larger of two channels."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.maximum(*x.chunk(2, 1))


@healthy(net="maxout", least=0.85)
def the_larger_of_two_filters(seed: int) -> Pieces:
    """Maxout convolutions without norms, dropout of a third on the features."""
    model = nn.Sequential(
        nn.Conv2d(1, 24, 5, padding=2), Maxout(), nn.MaxPool2d(2),
        nn.Conv2d(12, 48, 3, padding=1), Maxout(), nn.MaxPool2d(2),
        nn.Conv2d(24, 48, 3, padding=1), Maxout(), nn.Flatten(),
        nn.Dropout(0.3), nn.Linear(24 * 16, 10),
    )  # fmt: skip
    return assemble(model, standard(plates(seed)), sgd(model, 0.03), size=40, steps=200)


# Heads, targets and losses


class Redrawn(nn.Module):
    """Encoder, decoder, and a classifier on the code."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 12, 3, 2, 1), nn.ReLU(), nn.Conv2d(12, 24, 3, 2, 1), nn.ReLU(),
            nn.Flatten(), nn.Linear(24 * 16, 32),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(32, 24 * 16), nn.ReLU(), nn.Unflatten(1, (24, 4, 4)),
            nn.ConvTranspose2d(24, 12, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(12, 1, 4, 2, 1),
        )  # fmt: skip
        self.classify = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        code = self.encoder(x)
        return self.classify(F.relu(code)), (self.decoder(code) - x).square().mean((1, 2, 3))


@healthy(net="autoencoder", least=0.8)
def redrawn_and_named(seed: int) -> Pieces:
    """A tuple of logits and reconstruction errors; both are minimized."""
    model = Redrawn()
    return assemble(
        model, standard(plates(seed)), adam(model, 4e-3), size=40, steps=400, logits=first,
        loss=lambda out, y: F.cross_entropy(out[0], y) + 0.5 * out[1].mean(),
    )  # fmt: skip


class Projected(nn.Module):
    """Logits and a projection of unit length."""

    def __init__(self, body: nn.Module, width: int, classes: int) -> None:
        super().__init__()
        self.body, self.head = body, nn.Linear(width, classes)
        self.project = nn.Sequential(nn.Linear(width, 32), nn.ReLU(), nn.Linear(32, 16))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body.features(x)  # type: ignore[operator]
        return self.head(h), F.normalize(self.project(h), dim=1)


def _contrastive(out: Any, y: Tensor) -> Tensor:
    logits, z = out
    self_ = torch.eye(len(y), dtype=torch.bool)
    near = (z @ z.T / 0.2).masked_fill(self_, -1e4).log_softmax(1)
    same = (y[:, None] == y[None]) & ~self_
    pull = -(near * same).sum(1) / same.sum(1).clamp_min(1)
    return F.cross_entropy(logits, y) + 0.5 * pull.mean()


@healthy(net="contrastive", least=0.85)
def same_kind_close_together(seed: int) -> Pieces:
    """Supervised contrastive loss on a projection beside the cross-entropy."""
    model = Projected(Plain(1, 1, norm=nn.BatchNorm2d), 72, 6)
    del model.body.head
    return assemble(
        model, standard(textures(seed)), adam(model, 3e-3), loss=_contrastive, logits=first,
        size=60, steps=110,
    )  # fmt: skip


def _triplet(out: Any, y: Tensor) -> Tensor:
    logits, z = out
    far = 2 - 2 * z @ z.T
    same = y[:, None] == y[None]
    worst = far.masked_fill(~same, -1).amax(1) - far.masked_fill(same, 9).amin(1)
    return F.cross_entropy(logits, y) + F.softplus(4 * worst).mean() / 4


@healthy(net="triplet", least=0.85)
def hardest_of_the_batch(seed: int) -> Pieces:
    """Soft-margin triplets of the hardest pairs, and a classifier; 32 kinds of signs."""
    model = Projected(Res(1, 1, width=16), 48, 32)
    del model.body.head
    return assemble(
        model, standard(symbols(seed, each=30)), adam(model, 4e-3), loss=_triplet, logits=first,
        size=64, steps=120,
    )  # fmt: skip


def _present(out: Tensor) -> Tensor:
    return (out > 0).float()


@healthy(net="multi-label", least=0.8)
def any_of_four_attributes(seed: int) -> Pieces:
    """Multi-hot targets, BCEWithLogitsLoss on four outputs."""
    model = Plain(1, 4, norm=nn.BatchNorm2d, width=16)
    return assemble(
        model, standard(attributes(seed)), adam(model, 4e-3), loss=nn.BCEWithLogitsLoss(),
        logits=_present, size=48, steps=200,
    )  # fmt: skip


class Ladder(nn.Module):
    """One score and four ordered thresholds (CORAL)."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body, self.steps = body, nn.Parameter(torch.tensor([1.5, 0.5, -0.5, -1.5]))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.steps


def _ladder(out: Tensor, y: Tensor) -> Tensor:
    above = (y[:, None] > torch.arange(4)).float()
    return F.binary_cross_entropy_with_logits(out, above)


def _rung(out: Tensor) -> Tensor:
    return -((out > 0).sum(1, keepdim=True) - torch.arange(5)).abs().float()


@healthy(net="ordinal", least=0.7)
def one_score_and_four_thresholds(seed: int) -> Pieces:
    """The number of nuclei as an ordered class."""
    model = Ladder(Plain(3, 1, norm=nn.BatchNorm2d, width=16))
    return assemble(
        model, standard(cells(seed)), adam(model, 5e-3), loss=_ladder, logits=_rung,
        schedule=cosine, size=40, steps=280,
    )  # fmt: skip


class Locator(nn.Module):
    """Convolutions, two linear layers, four numbers between zero and one."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 12, 3, 2, 1, bias=False), nn.BatchNorm2d(12), nn.ReLU(),
            nn.Conv2d(12, 24, 3, 2, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU(), nn.Flatten(),
        )  # fmt: skip
        self.box = nn.Sequential(nn.Linear(24 * 16, 48), nn.ReLU(), nn.Linear(48, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.box(self.body(x)).sigmoid()


@healthy(net="detection", least=0.85)
def a_box_around_the_rectangle(seed: int) -> Pieces:
    """Center and size through a sigmoid; smooth L1."""
    model = Locator()
    loss = lambda out, y: 4 * F.smooth_l1_loss(out, y, beta=0.1)  # noqa: E731
    return assemble(model, standard(boxes(seed)), adam(model, 3e-3), loss=loss, size=40, steps=200)


def _dice_too(out: Tensor, y: Tensor) -> Tensor:
    p = out.sigmoid()
    dice = (2 * (p * y).sum((1, 2)) + 1) / (p.sum((1, 2)) + y.sum((1, 2)) + 1)
    return F.binary_cross_entropy_with_logits(out, y) + 1 - dice.mean()


@healthy(net="unet", least=0.75)
def every_pixel_inside_or_outside(seed: int) -> Pieces:
    """A small U-Net; the logistic loss plus one minus Dice."""
    model = Unet(3)
    return assemble(
        model, standard(outlines(seed)), adam(model, 4e-3), loss=_dice_too, logits=_present,
        size=32, steps=150,
    )  # fmt: skip


@healthy(net="plain cnn", measure="worst_class", least=0.75)
def rare_lesions_with_weights(seed: int) -> Pieces:
    """One scan of five is positive; cross-entropy weighs classes by their inverse frequency."""
    model = Plain(1, 2, norm=nn.BatchNorm2d)
    loss = nn.CrossEntropyLoss(weight=torch.tensor([0.625, 2.5]))
    return assemble(
        model, standard(lesions(seed, share=0.2)), adam(model, 3e-3), loss=loss, size=40, steps=160
    )


def thinned(data: Data, kind: int, one_in: int) -> Data:
    """Keep one in so many of a class, in training and validation alike."""

    def keep(y: Tensor) -> Tensor:
        return (y != kind) | ((y == kind).cumsum(0) % one_in == 0)

    a, b = keep(data.y), keep(data.val_y)
    return data.but(x=data.x[a], y=data.y[a], val_x=data.val_x[b], val_y=data.val_y[b])


@healthy(net="resnet", least=0.85)
def one_texture_is_eight_times_rarer(seed: int) -> Pieces:
    """Rings are eight times rarer than the others, everywhere; nothing is done about it."""
    model = Res(1, 6)
    return assemble(
        model, thinned(standard(textures(seed)), 2, 8), adam(model, 4e-3), size=40, steps=120
    )


def _focal(out: Tensor, y: Tensor) -> Tensor:
    sign = 2 * y.float() - 1
    logp = F.logsigmoid(sign * out[:, 0])
    return -((0.25 + 0.5 * y) * (1 - logp.exp()).square() * logp).mean()


@healthy(net="vgg", least=0.85)
def focal_loss_of_one_logit(seed: int) -> Pieces:
    """RetinaNet's loss on a third of positives; the last bias starts at the prior."""
    model = Vgg(1, 1, drop=0.1)
    nn.init.constant_(model.classifier[-1].bias, -0.7)  # type: ignore[arg-type]
    return assemble(
        model, standard(lesions(seed, share=0.33)), adam(model, 3e-3), loss=_focal,
        logits=_against_zero, size=40, steps=150,
    )  # fmt: skip


def _blended(x: Tensor, y: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
    share = torch.distributions.Beta(0.3, 0.3).sample((len(x),))
    share = torch.maximum(share, 1 - share)
    other = torch.randperm(len(x), generator=random)
    target = 0.9 * F.one_hot(y, 5).float() + 0.02
    mix = lambda a: a[other].lerp(a, share.view(-1, *[1] * (a.ndim - 1)))  # noqa: E731
    return mix(x), mix(target)


@healthy(net="resnet", least=0.8)
def mixup_and_smoothing_in_the_loader(seed: int) -> Pieces:
    """Blends with weights of Beta(0.3, 0.3), targets smoothed by a tenth."""
    data = standard(satellite(seed))
    model = Res(4, 5)
    train_batches = loader(data, 48, seed, change=_blended)
    return assemble(model, data, sgd(model, 0.1), train=train_batches, schedule=cosine, steps=150)


def _pasted(x: Tensor, y: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
    side, other = x.shape[3], torch.randperm(len(x), generator=random)
    cut = int(torch.randint(3, side // 2 + 1, (), generator=random))
    top, left = torch.randint(0, side - cut + 1, (2,), generator=random).tolist()
    x = x.clone()
    x[:, :, top : top + cut, left : left + cut] = x[other][:, :, top : top + cut, left : left + cut]
    share, hot = cut**2 / side**2, F.one_hot(y, 6).float()
    return x, (1 - share) * hot + share * hot[other]


@healthy(net="mobilenet", least=0.8)
def squares_of_other_textures(seed: int) -> Pieces:
    """CutMix with labels by area, up to a quarter."""
    data = standard(textures(seed))
    model = Separable(1, 6)
    train_batches = loader(data, 48, seed, change=_pasted)
    return assemble(model, data, adam(model, 4e-3), train=train_batches, steps=150)


def _softened(out: Tensor, y: Tensor) -> Tensor:
    return 4 * F.kl_div((out / 2).log_softmax(1), y, reduction="batchmean")


@healthy(net="shufflenet", least=0.8)
def targets_from_a_teacher(seed: int) -> Pieces:
    """A larger net's probabilities at temperature two are the targets of both sets."""
    data = standard(clothes(seed))
    teacher = pretrained(Vgg(1, 6), data, 90).eval()
    with torch.no_grad():
        soft = [(teacher(x) / 2).softmax(1) for x in (data.x, data.val_x)]
    data = data.but(y=soft[0], val_y=soft[1])
    model = Shuffle(1, 6)
    return assemble(model, data, adam(model, 4e-3), loss=_softened, size=40, steps=130)


# How batches come


def _jittered(x: Tensor, y: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
    """Crops from a padded image, mirror images, light, contrast and an erased square."""
    n, _, side, _ = x.shape
    at = torch.randint(0, 5, (2,), generator=random).tolist()
    x = F.pad(x, (2, 2, 2, 2), mode="replicate")[:, :, at[0] : at[0] + side, at[1] : at[1] + side]
    flip = torch.rand(n, generator=random) < 0.5
    x = torch.where(flip[:, None, None, None], x.flip(3), x)
    gain = 0.75 + 0.5 * torch.rand(n, 1, 1, 1, generator=random)
    x = gain * x + 0.3 * torch.randn(n, 1, 1, 1, generator=random)
    top, left = torch.randint(0, side - 5, (2,), generator=random).tolist()
    x[:, :, top : top + 5, left : left + 5] = 0
    return x, y


@healthy(net="resnet", least=0.8)
def cropped_mirrored_relit_erased(seed: int) -> Pieces:
    """Five augmentations at once, in training only."""
    data = standard(clothes(seed))
    model = Res(1, 6)
    train_batches = loader(data, 40, seed, change=_jittered)
    return assemble(model, data, adam(model, 4e-3), train=train_batches, steps=180)


def _three_times(x: Tensor, y: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
    x, y = x.repeat(3, 1, 1, 1), y.repeat(3)
    turns = torch.randint(4, (len(x),), generator=random)
    x = torch.stack([x.rot90(k, (2, 3)) for k in range(4)])[turns, torch.arange(len(x))]
    return x + 0.15 * torch.randn(x.shape, generator=random), y


@healthy(net="dense", least=0.8)
def each_image_thrice_in_its_batch(seed: int) -> Pieces:
    """Repeated augmentation: three turned and noisy copies side by side."""
    data = standard(polygons(seed))
    model = Dense(3, 5)
    train_batches = loader(data, 16, seed, change=_three_times)
    return assemble(model, data, adam(model, 4e-3), train=train_batches, steps=180)


@healthy(net="mlp", least=0.85)
def all_images_at_every_step(seed: int) -> Pieces:
    """Gradient descent on the one batch that holds the whole training set."""
    data = digits(seed).normalized().first(600)
    model = perceptron(64, 10, 64, 1, act=nn.Tanh)
    return assemble(model, data, sgd(model, 0.1), train=[(data.x, data.y)], steps=150)


@healthy(net="vgg", least=0.8)
def four_small_batches_a_step(seed: int) -> Pieces:
    """Gradients of four batches of twelve are averaged within the optimizer."""
    model = Vgg(1, 6, norm=lambda n: nn.GroupNorm(4, n), drop=0.1)
    optimizer = Accumulated(model.parameters(), 4e-3)
    return assemble(model, standard(clothes(seed)), optimizer, size=12, steps=300)


class Stream(IterableDataset[Any]):
    """Plates in an order drawn anew at each pass."""

    def __init__(self, data: Data, seed: int) -> None:
        self.data, self.random = data, seeded(seed)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for i in torch.randperm(len(self.data.x), generator=self.random).tolist():
            yield self.data.x[i], self.data.y[i]


@healthy(net="lenet", least=0.8)
def plates_from_a_stream(seed: int) -> Pieces:
    """An IterableDataset in a DataLoader; LeNet with average pooling and ELU."""
    data = standard(plates(seed))
    model = LeNet(1, 10, 16, act=nn.ELU, pool=lambda: nn.AvgPool2d(2))
    batches = DataLoader(Stream(data, seed), batch_size=32, drop_last=True)
    return assemble(model, data, adamw(model, 3e-3), train=batches, steps=400)


@healthy(net="plain cnn", measure="worst_class", least=0.7)
def rare_kinds_drawn_more_often(seed: int) -> Pieces:
    """WeightedRandomSampler by inverse frequency, with one land cover at a sixth."""
    data = thinned(standard(satellite(seed)), 3, 6)
    weights = (1 / data.y.bincount().float())[data.y]
    sampler = WeightedRandomSampler(weights, len(data.y), generator=seeded(seed))
    batches = DataLoader(TensorDataset(data.x, data.y), 40, sampler=sampler, drop_last=True)
    model = Plain(4, 5, norm=nn.BatchNorm2d)
    return assemble(model, data, adam(model, 3e-3), train=batches, steps=140)


@healthy(net="plain cnn", least=0.8)
def ten_images_of_each_sign(seed: int) -> Pieces:
    """Thirty-two classes of ten images; many short epochs with noise and small moves."""
    data = standard(symbols(seed, each=10))

    def change(x: Tensor, y: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
        moves = torch.randint(-1, 2, (2,), generator=random).tolist()
        return x.roll(moves, (2, 3)) + 0.2 * torch.randn(x.shape, generator=random), y

    model = Plain(1, 32, norm=nn.BatchNorm2d, width=16)
    return assemble(
        model, data, adamw(model, 4e-3, weight_decay=0.05),
        train=loader(data, 40, seed, change=change), steps=160,
    )  # fmt: skip


class FromBytes(nn.Module):
    """Bytes come in; the model divides and standardizes them itself."""

    def __init__(self, body: nn.Module, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.body = body
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, x: Tensor) -> Tensor:
        return self.body((x.float() / 255 - self.mean) / self.std)


@healthy(net="resnet", least=0.8)
def unsigned_bytes_to_the_model(seed: int) -> Pieces:
    """Tensors of uint8; division and standardization are the model's first lines."""
    raw = cells(seed)
    mean, std = raw.x.mean((0, 2, 3))[:, None, None], raw.x.std((0, 2, 3))[:, None, None]
    data = raw.mapped(lambda x: (255 * x).round().to(torch.uint8))
    model = FromBytes(Res(3, 5, width=10), mean, std)
    return assemble(model, data, adam(model, 4e-3), size=40, steps=160)


class Triples:
    """Batches of image, label and the image's number, which only the log needs."""

    def __init__(self, data: Data, seed: int) -> None:
        self.data, self.random = data, seeded(seed)

    def __len__(self) -> int:
        return len(self.data.x) // 40

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        order = torch.randperm(len(self.data.x), generator=self.random)
        for index in order[: 40 * len(self)].split(40):
            yield self.data.x[index], self.data.y[index], index


@healthy(net="convnext", least=0.75)
def images_labels_and_numbers(seed: int) -> Pieces:
    """Batches are triples."""
    data = standard(satellite(seed))
    model = Next(4, 5, scale=0.1)
    return assemble(model, data, adamw(model, 4e-3), train=Triples(data, seed), steps=150)


# How weights move


class Shadow(nn.Module):
    """Trains a net; evaluates an average of its weights, with its norms' statistics copied."""

    def __init__(self, net: nn.Module, keep: float) -> None:
        super().__init__()
        self.net, self.shadow, self.keep = net, deepcopy(net).requires_grad_(False), keep

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return self.shadow(x)
        with torch.no_grad():
            mine, its = self.shadow.state_dict(), self.net.state_dict()
            for name, value in its.items():
                if value.is_floating_point() and "running" not in name:
                    mine[name].lerp_(value, 1 - self.keep)
                else:
                    mine[name].copy_(value)
        return self.net(x)

    def train(self, mode: bool = True) -> "Shadow":
        super().train(mode)
        self.shadow.eval()
        return self


@healthy(net="resnet", least=0.8)
def evaluated_by_its_shadow(seed: int) -> Pieces:
    """An exponential moving average with a decay of 0.9 is what is evaluated."""
    model = Shadow(Res(1, 6), 0.9)
    optimizer = SGD(model.net.parameters(), 0.1, 0.9)
    return assemble(model, standard(textures(seed)), optimizer, size=40, steps=140)


@healthy(net="vgg", least=0.85)
def a_little_uphill_along_the_momentum(seed: int) -> Pieces:
    """A sharpness-aware optimizer of one pass."""
    model = Vgg(1, 6)
    optimizer = Sharpness(model.parameters(), 0.05, momentum=0.9)
    return assemble(model, standard(clothes(seed)), optimizer, schedule=cosine, size=40, steps=120)


@healthy(net="vit", least=0.8)
def orthogonal_steps(seed: int) -> Pieces:
    """Muon for matrices, AdamW for the others; a cosine."""
    model = Vit(1, 10, 8, 2)
    data = digits(seed).normalized()
    return assemble(model, data, Muon(model), schedule=cosine, size=64, steps=200)


@healthy(net="mixer", least=0.8)
def lion_and_a_cosine(seed: int) -> Pieces:
    """Lion at 1e-3 with a decay of a tenth."""
    model = Mixing(4, 5, 12, 3)
    data = standard(satellite(seed))
    return assemble(model, data, Lion(model.parameters(), 1e-3), schedule=cosine, steps=160)


@healthy(net="dense", least=0.8)
def three_warm_restarts(seed: int) -> Pieces:
    """SGDR on a DenseNet; four bands."""
    model = Dense(4, 5)
    return assemble(
        model, standard(satellite(seed)), sgd(model, 0.1, weight_decay=5e-4), schedule=restarts,
        size=40, steps=150,
    )  # fmt: skip


@healthy(net="inception", least=0.85)
def flat_rate_and_a_cooldown(seed: int) -> Pieces:
    """Warmup, a constant rate, a linear decay at the end; spectrograms of calls."""
    model = Google(1, 6)
    return assemble(
        model, standard(calls(seed)), adamw(model, 4e-3), schedule=flat_then_down, size=40,
        steps=120,
    )  # fmt: skip


@healthy(net="vit", least=0.8)
def each_layer_at_its_own_rate(seed: int) -> Pieces:
    """Layer-wise decay by 0.7 towards the patches; no weight decay for vectors."""
    model = Vit(4, 5, 12, 3, depth=3)
    parts = [[model.head, model.norm], *[[layer] for layer in reversed(model.layers)]]
    parts.append([model.patch])
    groups: list[dict[str, Any]] = [{"params": [model.extra, model.place], "lr": 1.5e-3}]
    for k, part in enumerate(parts):
        every = [p for module in part for p in module.parameters()]
        groups.append({"params": [p for p in every if p.ndim > 1], "lr": 4e-3 * 0.7**k})
        groups.append({"params": [p for p in every if p.ndim < 2], "lr": 4e-3 * 0.7**k})
        groups[-1]["weight_decay"] = 0.0
    optimizer = AdamW(groups, weight_decay=0.05)
    return assemble(model, standard(satellite(seed)), optimizer, schedule=warm(0.1), steps=180)


# What was trained before


class Extracted(nn.Module):
    """A trained body in evaluation and without gradients; a small net learns on its features."""

    def __init__(self, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body.requires_grad_(False), head

    def train(self, mode: bool = True) -> "Extracted":
        super().train(mode)
        self.body.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            h = self.body.features(x)  # type: ignore[operator]
        return self.head(h)


@healthy(net="vgg", least=0.85)
def a_small_net_on_given_features(seed: int) -> Pieces:
    """The optimizer has only the new head; the body runs under no_grad."""
    body = pretrained(Vgg(1, 6), standard(clothes(seed)))
    head = nn.Sequential(nn.Linear(36, 24), nn.ReLU(), nn.Dropout(0.1), nn.Linear(24, 2))
    model = Extracted(body, head)
    return assemble(model, upper_or_lower(seed), Adam(head.parameters(), 5e-3), size=40, steps=100)


@healthy(net="resnet", least=0.85)
def stem_and_first_block_kept(seed: int) -> Pieces:
    """Trained on clothes; the early layers are frozen, the later ones go on at 1e-3."""
    model = pretrained(Res(1, 6), standard(clothes(seed)))
    for part in (model.stem, model.first, model.blocks[0]):  # type: ignore[index]
        part.requires_grad_(False)  # type: ignore[union-attr, operator]
    model.head = nn.Linear(36, 2)
    chosen = [p for p in model.parameters() if p.requires_grad]
    return assemble(model, upper_or_lower(seed), Adam(chosen, 1e-3), size=40, steps=90)


class Adapter(nn.Module):
    """A frozen block, then a thin detour that starts at zero."""

    def __init__(self, block: nn.Module, width: int) -> None:
        super().__init__()
        self.block = block.requires_grad_(False)
        self.down, self.up = nn.Conv2d(width, 6, 1), nn.Conv2d(6, width, 1)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        x = self.block(x)
        return x + self.up(F.relu(self.down(x)))


@healthy(net="group norm", least=0.85)
def thin_detours_in_a_frozen_net(seed: int) -> Pieces:
    """Adapters and a new head on a trained net with group norm."""
    norm = lambda n: nn.GroupNorm(4, n)  # noqa: E731
    model = pretrained(Res(1, 6, norm=norm), standard(clothes(seed)), 130)
    model.requires_grad_(False)
    for i, width in enumerate((12, 24, 36)):
        model.blocks[i] = Adapter(model.blocks[i], width)  # type: ignore[index, operator, arg-type]
    model.head = nn.Linear(36, 2)
    chosen = [p for p in model.parameters() if p.requires_grad]
    return assemble(model, upper_or_lower(seed), AdamW(chosen, 4e-3), size=40, steps=120)


class Thin(nn.Module):
    """A frozen linear layer plus a product of rank three, one factor of which starts at zero."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.a = nn.Parameter(torch.randn(3, layer.in_features) / layer.in_features**0.5)
        self.b = nn.Parameter(torch.zeros(layer.out_features, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + 2 * x @ self.a.T @ self.b.T


@healthy(net="vit", least=0.85)
def thin_products_in_attention(seed: int) -> Pieces:
    """LoRA on queries and values of a trained ViT; odd or even digits; a new head at zero."""
    data = digits(seed).normalized()
    model = pretrained(Vit(1, 10, 8, 2), data, 150)
    model.requires_grad_(False)
    for layer in model.layers:  # type: ignore[union-attr]
        layer.attend.query = Thin(layer.attend.query)  # type: ignore[union-attr]
        layer.attend.value = Thin(layer.attend.value)  # type: ignore[union-attr]
    model.head = nn.Linear(32, 2)
    nn.init.zeros_(model.head.weight)
    chosen = [p for p in model.parameters() if p.requires_grad]
    odd = relabelled(data, torch.arange(10) % 2)
    return assemble(model, odd, AdamW(chosen, 5e-3), size=50, steps=120)


class Again(nn.Module):
    """The same convolution and norm-free step four times over."""

    def __init__(self, channels: int, classes: int, width: int = 20) -> None:
        super().__init__()
        self.enter = nn.Conv2d(channels, width, 3, 2, 1)
        self.step, self.norm = nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(4, width)
        self.leave = nn.Linear(2 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        for _ in range(4):
            x = x + F.relu(self.norm(self.step(x)))
        return self.leave(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1))


@healthy(net="tied weights", least=0.8)
def one_convolution_four_times(seed: int) -> Pieces:
    """A recurrent residual net: all steps share their weights."""
    model = Again(1, 6)
    return assemble(model, standard(textures(seed)), adam(model, 4e-3), size=40, steps=160)


class SpareHead(Plain):
    """Beside its head, the net keeps the frozen head of the task it came from."""

    def __init__(self) -> None:
        super().__init__(1, 6, norm=nn.BatchNorm2d)
        self.former = nn.Linear(72, 10).requires_grad_(False)


@healthy(net="plain cnn", least=0.8)
def former_head_kept_for_later(seed: int) -> Pieces:
    """A frozen head of another task stays in the model; the optimizer does not have it."""
    model = SpareHead()
    chosen = [p for p in model.parameters() if p.requires_grad]
    return assemble(model, standard(textures(seed)), Adam(chosen, 3e-3), size=40, steps=120)


# Unusual architectures


class Straightened(nn.Module):
    """A spatial transformer that starts at the identity, then a LeNet."""

    def __init__(self) -> None:
        super().__init__()
        self.where = nn.Sequential(
            nn.Conv2d(1, 8, 5, 2, 2), nn.ReLU(), nn.Conv2d(8, 12, 5, 2, 2), nn.ReLU(),
            nn.Flatten(), nn.Linear(12 * 16, 24), nn.ReLU(),
        )  # fmt: skip
        self.theta = nn.Linear(24, 6)
        nn.init.zeros_(self.theta.weight)
        with torch.no_grad():
            self.theta.bias.copy_(torch.tensor([0.9, 0, 0, 0, 0.9, 0]))
        self.read = LeNet(1, 10, 16)

    def forward(self, x: Tensor) -> Tensor:
        theta = self.theta(self.where(x)).view(-1, 2, 3)
        grid = F.affine_grid(theta, list(x.shape), align_corners=False)
        return self.read(F.grid_sample(x, grid, align_corners=False))


@healthy(net="lenet", least=0.8)
def straightened_before_reading(seed: int) -> Pieces:
    """A spatial transformer; its last layer's weights start at zero, its bias at the identity."""
    model = Straightened()
    return assemble(model, standard(plates(seed)), adam(model, 2e-3), size=40, steps=250)


class Bag(nn.Module):
    """Bags of images: attention decides which of them the answer is about."""

    def __init__(self) -> None:
        super().__init__()
        self.each = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(24 * 16, 32),
            nn.ReLU(),
        )  # fmt: skip
        self.look = nn.Sequential(nn.Linear(32, 16), nn.Tanh(), nn.Linear(16, 1))
        self.answer = nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.each(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return self.answer((self.look(h).softmax(1) * h).sum(1))


def _bags(data: Data, seed: int, n: int) -> Data:
    """Five digits each; is there a zero among them?"""
    random = seeded(seed + 77)

    def fill(x: Tensor, y: Tensor, count: int) -> tuple[Tensor, Tensor]:
        other, zero = x[y > 0], x[y == 0]
        bags = other[torch.randint(len(other), (count, 5), generator=random)]
        label = torch.arange(count) % 2
        spot = torch.randint(5, (count,), generator=random)
        some = zero[torch.randint(len(zero), (count,), generator=random)]
        bags[label == 1, spot[label == 1]] = some[label == 1]
        return bags, label

    x, y = fill(data.x, data.y, n)
    val_x, val_y = fill(data.val_x, data.val_y, 200)
    test_x, test_y = fill(data.test_x, data.test_y, 300)
    return Data(x, y, val_x, val_y, test_x, test_y)


@healthy(net="multiple instances", least=0.8)
def is_there_a_zero_among_five(seed: int) -> Pieces:
    """Attention over bags of digits; only bags have labels."""
    data = _bags(digits(seed).normalized(), seed, 1000)
    model = Bag()
    return assemble(model, data, adam(model, 2e-3), size=32, steps=200)


@healthy(net="reader", least=0.85)
def rows_read_by_an_lstm(seed: int) -> Pieces:
    """Images as sequences of rows; an LSTM in both directions."""

    class Rows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(12, 32, batch_first=True, bidirectional=True)
            self.out = nn.Linear(128, 32)

        def forward(self, x: Tensor) -> Tensor:
            h = self.lstm(x[:, 0])[0]
            return self.out(torch.cat([h.mean(1), h.amax(1)], 1))

    model = Rows()
    optimizer = Clipped(model.parameters(), 8e-3)
    return assemble(model, standard(symbols(seed, each=30)), optimizer, size=48, steps=250)


class Beams(nn.Module):
    """Convolutions over a spectrogram, then attention over its frames."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12), nn.ReLU(),
            nn.MaxPool2d((2, 1)), nn.Conv2d(12, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d((2, 1)),
        )  # fmt: skip
        self.frame, self.weigh = nn.Linear(16 * 6, 32), nn.Linear(32, 1)
        self.out = nn.Linear(32, 6)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.frame(self.convs(x).flatten(1, 2).mT))
        return self.out((self.weigh(h).softmax(1) * h).sum(1))


def _masked(x: Tensor, y: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
    x = x.clone()
    low, early = (
        int(torch.randint(20, (), generator=random)),
        int(torch.randint(17, (), generator=random)),
    )
    x[:, :, low : low + 4] = 0
    x[:, :, :, early : early + 3] = 0
    return x, y


@healthy(net="audio", least=0.85)
def bands_and_frames_masked(seed: int) -> Pieces:
    """SpecAugment on spectrograms of calls; attention pools the frames."""
    data = standard(calls(seed))
    model = Beams()
    batches = Batches(data.x, data.y, 40, seed=seed, change=_masked)
    return assemble(
        model, data, adam(model, 4e-3), train=batches, val=in_order(data.val_x, data.val_y, 50),
        steps=150,
    )  # fmt: skip

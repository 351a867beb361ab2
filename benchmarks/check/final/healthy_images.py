"""Final: healthy programs on images."""

from collections.abc import Iterator
from math import cos, pi
from typing import Any

import torch
import torch.nn.functional as F
from benchmarks.check.assemble import adam, adamw, assemble, sgd
from benchmarks.check.data import Data, in_order, loader, seeded
from benchmarks.check.final.data import centered, dials, faces, flowers, landscapes, weaves
from benchmarks.check.final.nets import (
    Growing,
    Hourglass,
    Inception,
    Light,
    Mixed,
    Patched,
    Residual,
    dense,
    stack,
    tower,
)
from benchmarks.check.program import Pieces, healthy
from benchmarks.check.training import train
from torch import Generator, Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop
from torch.utils.data import DataLoader, Dataset, TensorDataset


def pretrained(model: nn.Module, data: Data, steps: int = 80) -> nn.Module:
    """Train on another task first, as the authors of the weights did."""
    train(assemble(model, data, adam(model, 3e-3), size=48, steps=steps))
    return model


def few_or_many(seed: int) -> Data:
    """Flowers of other gardens: are there more than four petals?"""
    data = centered(flowers(seed + 50))
    return data.but(
        y=(data.y > 2).long(), val_y=(data.val_y > 2).long(), test_y=(data.test_y > 2).long()
    )


@healthy(net="resnet")
def gates_on_residual_branches(seed: int) -> Pieces:
    """Squeeze and excite in each unit, plain momentum SGD."""
    model = Residual(3, 5, gate=True)
    return assemble(model, centered(flowers(seed)), sgd(model, 0.1), size=40, steps=140)


@healthy(net="group norm")
def four_images_and_group_norm(seed: int) -> Pieces:
    """Batches of four; each image is normalized by itself."""
    model = Residual(1, 5, lambda n: nn.GroupNorm(3, n))
    data = centered(weaves(seed))
    return assemble(model, data, adam(model, 1e-3), size=4, steps=250)


@healthy(net="plain cnn")
def loaded_filters_kept(seed: int) -> Pieces:
    """Trained convolutions are frozen; a new linear layer learns another question."""
    model = pretrained(stack(3, 5), centered(flowers(seed)))
    model.requires_grad_(False)
    model.linear = nn.Linear(24, 2)
    return assemble(
        model, few_or_many(seed), Adam(model.linear.parameters(), 2e-2), size=32, steps=100
    )


@healthy(net="resnet")
def fine_tuned_with_batch_norm_at_rest(seed: int) -> Pieces:
    """Pretrained; norms keep their statistics and scales, everything else learns."""

    class Rested(Residual):
        def train(self, mode: bool = True) -> "Rested":
            super().train(mode)
            for layer in self.modules():
                if isinstance(layer, nn.BatchNorm2d):
                    layer.eval().requires_grad_(False)
            return self

    donor = pretrained(Residual(3, 5), centered(flowers(seed)))
    model = Rested(3, 5)
    model.load_state_dict(donor.state_dict())
    model.answer = nn.Linear(24, 2)
    model.train()
    chosen = [p for p in model.parameters() if p.requires_grad]
    return assemble(model, few_or_many(seed), Adam(chosen, 2e-3), size=32, steps=80)


@healthy(net="vgg")
def body_at_a_tenth_of_the_rate(seed: int) -> Pieces:
    """Pretrained stages at 3e-4, new last layer at 3e-3."""
    model = pretrained(tower(3, 5), centered(flowers(seed)), 60)
    model.ends[-1] = nn.Linear(48, 2)  # type: ignore[index, operator]
    last = list(model.ends[-1].parameters())  # type: ignore[index, operator]
    body = [p for p in model.parameters() if all(p is not q for q in last)]
    groups = [{"params": body, "lr": 3e-4}, {"params": last, "lr": 3e-3}]
    return assemble(model, few_or_many(seed), AdamW(groups), size=32, steps=80)


@healthy(net="vit")
def last_layer_from_zero(seed: int) -> Pieces:
    """The classifier of a small ViT starts at zero, as in timm."""
    model = Patched(1, 8, 12, 3)
    nn.init.zeros_(model.say.weight)
    return assemble(model, centered(dials(seed)), adamw(model, 3e-3), size=48, steps=100)


class Quiet(nn.Module):
    """Fixup: no norms, a scalar that starts at zero behind each branch."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.a, self.b = (nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in "ab")
        self.before, self.between = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
        self.gain = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gain * self.b(F.relu(self.a(x + self.before)) + self.between)


@healthy(net="norm-free")
def scalars_of_zero_behind_branches(seed: int) -> Pieces:
    """Five branches without norms; none says anything at first."""
    body = [Quiet(16) for _ in range(5)]
    ends = [nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(16, 8)]
    model = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1), *body, *ends)
    return assemble(model, centered(dials(seed)), adam(model, 3e-3), size=48, steps=150)


class Standard(nn.Conv2d):
    """Weight standardization."""

    def forward(self, x: Tensor) -> Tensor:
        w = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        w = w / (w.std((1, 2, 3), keepdim=True) * w[0].numel() ** 0.5 + 1e-5)
        return F.conv2d(x, w, self.bias, self.stride, self.padding)


@healthy(net="norm-free")
def weights_standardized_on_the_fly(seed: int) -> Pieces:
    """No norms: each filter is standardized whenever it is used."""
    model = nn.Sequential(
        Standard(1, 12, 3, 1, 1), nn.ReLU(), Standard(12, 24, 3, 2, 1), nn.ReLU(),
        Standard(24, 24, 3, 2, 1), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(),
        nn.Linear(24, 4),
    )  # fmt: skip
    return assemble(model, centered(faces(seed)), adam(model, 4e-3), size=48, steps=120)


@healthy(net="mobilenet")
def norms_with_momentum_of_a_fiftieth(seed: int) -> Pieces:
    """Running averages that take a hundred steps to arrive."""
    model = Light(3, 5, momentum=0.02)
    return assemble(model, centered(landscapes(seed)), adam(model, 3e-3), size=40, steps=160)


@healthy(net="mlp")
def sparse_by_a_negative_bias(seed: int) -> Pieces:
    """Most of four hundred units are silent for most images, on purpose."""
    model = dense(144, 8, 400, 1)
    nn.init.constant_(model.get_submodule("in").bias, -0.6)  # type: ignore[arg-type]
    return assemble(model, centered(dials(seed)), adam(model, 2e-3), steps=150)


@healthy(net="dense")
def three_times_as_many_of_two_kinds(seed: int) -> Pieces:
    """Two kinds of flowers are three times as frequent, in all splits alike."""
    data = centered(landscapes(seed, train=1500))

    def fewer(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        keep = (y < 2) | (torch.arange(len(y)) % 3 == 0)
        return x[keep], y[keep]

    x, y = fewer(data.x, data.y)
    val_x, val_y = fewer(data.val_x, data.val_y)
    model = Growing(3, 5)
    data = data.but(x=x, y=y, val_x=val_x, val_y=val_y)
    return assemble(model, data, sgd(model, 0.05, nesterov=True), size=40, steps=100)


def _turned(x: Tensor, y: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
    quarter, flip = torch.randint(0, 4, (2,), generator=random).tolist()
    x = x.rot90(quarter, (2, 3))
    x = x.flip(3) if flip % 2 else x
    x = x * (0.8 + 0.4 * torch.rand(len(x), 1, 1, 1, generator=random))
    top, left = torch.randint(0, 8, (2,), generator=random).tolist()
    x = x.clone()
    x[:, :, top : top + 3, left : left + 3] = 0
    return x + 0.1 * torch.randn(x.shape, generator=random), y


@healthy(net="vgg")
def turned_erased_and_noisy(seed: int) -> Pieces:
    """Quarter turns, mirrors, brightness, an erased square and noise; petals can still be told."""
    data = centered(flowers(seed))
    model = tower(3, 5)
    batches = loader(data, 40, seed, change=_turned)
    return assemble(model, data, adam(model, 3e-3), train=batches, steps=180)


def _mixed(x: Tensor, y: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
    share = 0.2 * torch.rand(len(x), generator=random)
    target, other = F.one_hot(y, 5).float(), torch.randperm(len(x), generator=random)
    mix = lambda a: a + share.view(-1, *[1] * (a.ndim - 1)) * (a[other] - a)  # noqa: E731
    return mix(x), mix(target)


@healthy(net="mixer")
def a_little_mixup(seed: int) -> Pieces:
    """Up to a fifth of another image and of its label."""
    data = centered(landscapes(seed))
    model = Mixed(3, 5, 12, 3)
    batches = loader(data, 48, seed, change=_mixed)
    return assemble(model, data, adamw(model, 4e-3), train=batches, steps=120)


def _up_then_cosine(done: float) -> float:
    return 8 * done if done < 0.125 else 0.5 + 0.5 * cos(pi * (done - 0.125) / 0.875)


@healthy(net="vit", least=0.75)
def rate_from_zero_and_back(seed: int) -> Pieces:
    """The rate is zero at the first step, rises for an eighth of the run, and falls as a cosine."""
    model = Patched(3, 5, 12, 4, drop=0.05)
    optimizer = adamw(model, 5e-3, weight_decay=0.05)
    return assemble(
        model, centered(landscapes(seed)), optimizer, schedule=_up_then_cosine, size=48, steps=150
    )


class Focal(nn.Module):
    """Focal loss with weights per class, as a module."""

    def __init__(self, gamma: float, alpha: Tensor) -> None:
        super().__init__()
        self.gamma = gamma
        self.register_buffer("alpha", alpha)

    def forward(self, out: Tensor, y: Tensor) -> Tensor:
        logp = F.log_softmax(out, 1).gather(1, y[:, None])[:, 0]
        return -(self.alpha[y] * (1 - logp.exp()) ** self.gamma * logp).mean()  # type: ignore[index]


@healthy(net="inception")
def focal_with_weights_per_class(seed: int) -> Pieces:
    """Gamma of 1.5; the alphas differ by a factor of two."""
    model = Inception(1, 4)
    loss = Focal(1.5, torch.tensor([1.0, 0.8, 0.6, 0.5]))
    return assemble(model, centered(faces(seed)), adam(model, 4e-3), loss=loss, size=40, steps=120)


@healthy(net="resnet")
def smoothed_labels_and_one_cycle(seed: int) -> Pieces:
    """Label smoothing of 0.15 and a triangular rate."""
    model = Residual(1, 5)
    triangle = lambda done: max(0.02, 1 - abs(2.5 * done - 1)) if done < 0.8 else 0.02  # noqa: E731
    loss = nn.CrossEntropyLoss(label_smoothing=0.15)
    return assemble(
        model, centered(weaves(seed)), sgd(model, 0.1), loss=loss, schedule=triangle, size=32,
        steps=70,
    )  # fmt: skip


@healthy(net="plain cnn")
def shares_of_votes(seed: int) -> Pieces:
    """Five people voted on each image, nine of ten times rightly; targets are shares of votes."""
    data = centered(faces(seed))
    random = seeded(seed)

    def votes(y: Tensor) -> Tensor:
        each = y[:, None].repeat(1, 5)
        guess = torch.randint(0, 4, each.shape, generator=random)
        each = torch.where(torch.rand(each.shape, generator=random) < 0.1, guess, each)
        return F.one_hot(each, 4).float().mean(1)

    model = stack(1, 4, act=nn.ELU)
    batches = loader(data.but(y=votes(data.y)), 40, seed)
    val = in_order(data.val_x, F.one_hot(data.val_y, 4).float())
    return assemble(model, data, adam(model, 4e-3), train=batches, val=val, steps=150)


@healthy(net="mobilenet")
def channels_last_memory(seed: int) -> Pieces:
    """Images and weights in NHWC memory order; their shape is NCHW still."""
    data = centered(dials(seed))
    model = Light(1, 8).to(memory_format=torch.channels_last)
    data = data.mapped(lambda x: x.contiguous(memory_format=torch.channels_last))
    return assemble(model, data, adam(model, 4e-3), size=40, steps=110)


@healthy(net="vgg")
def everything_in_float64(seed: int) -> Pieces:
    """A small VGG without norms in double precision."""
    model = tower(1, 8, norm=False).double()
    data = centered(dials(seed)).mapped(Tensor.double)
    return assemble(model, data, adam(model, 2e-3), size=32, steps=120)


@healthy(net="inception")
def shuffled_chunks_in_a_list(seed: int) -> Pieces:
    """The epoch's batches lie in a list, of tuples, shuffled once."""
    data = centered(dials(seed))
    order = torch.randperm(len(data.x), generator=seeded(seed))
    batches = [(data.x[i], data.y[i]) for i in order.split(36)]
    model = Inception(1, 8)
    return assemble(model, data, RMSprop(model.parameters(), 2e-3), train=batches, steps=100)


class Drawn:
    """Draws its batches anew whenever it is asked, without a length."""

    def __init__(self, data: Data, seed: int) -> None:
        self.data, self.random = data, seeded(seed)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            index = torch.randint(len(self.data.x), (40,), generator=self.random)
            yield self.data.x[index], self.data.y[index]


@healthy(net="unet")
def endless_generator(seed: int) -> Pieces:
    """A generator without an end feeds the encoder of a U-Net."""
    data = centered(landscapes(seed))
    model = Hourglass(3, 5)
    return assemble(model, data, adamw(model, 4e-3), train=Drawn(data, seed), steps=120)


class WithHour(Dataset[Any]):
    """Images with the hour at which they were taken."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y
        self.hour = torch.rand(len(x), 1, generator=seeded(len(x)))

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> tuple[dict[str, Tensor], Tensor]:
        return {"pixels": self.x[i], "hour": self.hour[i]}, self.y[i]


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.eye, self.clock, self.say = stack(3, 16), nn.Linear(1, 4), nn.Linear(20, 5)

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        return self.say(F.relu(torch.cat([self.eye(x["pixels"]), self.clock(x["hour"])], 1)))


@healthy(net="plain cnn")
def dictionary_from_a_dataloader(seed: int) -> Pieces:
    """A DataLoader yields a dict of inputs and a label."""
    data = centered(landscapes(seed))
    random = seeded(seed)
    batches = DataLoader(WithHour(data.x, data.y), 40, shuffle=True, generator=random)
    val, model = DataLoader(WithHour(data.val_x, data.val_y), 50), TwoInputs()
    pieces = assemble(model, data, adam(model, 4e-3), train=batches, val=val, steps=120)
    pieces.test = val
    return pieces


@healthy(net="plain cnn")
def half_below_zero_half_above(seed: int) -> Pieces:
    """Pixels less one half; no statistics of the data are used."""
    model = stack(3, 5, norm=True)
    data = flowers(seed).mapped(lambda x: x - 0.5)
    return assemble(model, data, sgd(model, 0.1), size=40, steps=120)


@healthy(net="selu")
def self_normalizing_convolutions(seed: int) -> Pieces:
    """SELU, LeCun's initialization, dropout for SELU, no norms."""
    model = stack(1, 4, act=nn.SELU)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.normal_(layer.weight, std=layer.weight[0].numel() ** -0.5)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    model.linear = nn.Sequential(nn.AlphaDropout(0.05), model.linear)
    return assemble(model, centered(faces(seed)), sgd(model, 0.02), size=40, steps=150)


@healthy(net="dense")
def dense_layers_with_swish(seed: int) -> Pieces:
    """SiLU in a DenseNet, decay of 1e-4, Nesterov."""
    model = Growing(1, 5, act=nn.SiLU)
    optimizer = sgd(model, 0.1, nesterov=True, weight_decay=1e-4)
    return assemble(model, centered(weaves(seed)), optimizer, size=32, steps=120)


class Skipping(nn.Module):
    """Drops the whole branch for some rows in training, and scales the others up."""

    def __init__(self, branch: nn.Module, rate: float) -> None:
        super().__init__()
        self.branch, self.rate = branch, rate

    def forward(self, x: Tensor) -> Tensor:
        change = self.branch(x) - x
        if self.training:
            keep = torch.rand(len(x), *[1] * (x.ndim - 1)) >= self.rate
            change = change * keep / (1 - self.rate)
        return x + change


@healthy(net="mixer")
def some_blocks_skipped_at_random(seed: int) -> Pieces:
    """Stochastic depth of 0.1 and 0.2 in a Mixer."""
    model = Mixed(1, 8, 12, 3)
    model.blocks = nn.Sequential(*(Skipping(b, 0.1 * (i + 1)) for i, b in enumerate(model.blocks)))
    return assemble(model, centered(dials(seed)), adamw(model, 4e-3), size=48, steps=150)


class Pair(nn.Module):
    """Says the direction and, beside it, left or right."""

    def __init__(self) -> None:
        super().__init__()
        self.eye, self.direction, self.side = stack(1, 24), nn.Linear(24, 8), nn.Linear(24, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = F.relu(self.eye(x))
        return self.direction(x), self.side(x)


def _first(out: tuple[Tensor, ...]) -> Tensor:
    return out[0]


def _both(out: tuple[Tensor, Tensor], y: Tensor) -> Tensor:
    right = ((y < 2) | (y > 6)).long()
    return F.cross_entropy(out[0], y) + 0.5 * F.cross_entropy(out[1], right)


@healthy(net="multi-head")
def direction_and_side(seed: int) -> Pieces:
    """Two heads; the second label follows from the first."""
    model = Pair()
    return assemble(
        model, centered(dials(seed)), adam(model, 4e-3), loss=_both, logits=_first, size=40,
        steps=120,
    )  # fmt: skip


@healthy(net="plain cnn")
def whole_channels_dropped(seed: int) -> Pieces:
    """Dropout2d of 0.1 after two activations, PReLU."""
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.PReLU(16), nn.Dropout2d(0.1), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.PReLU(32), nn.Dropout2d(0.1),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, 5),
    )  # fmt: skip
    return assemble(model, centered(landscapes(seed)), adam(model, 4e-3), size=40, steps=120)


class Lookahead(SGD):
    """Every five steps the weights go halfway back to where they were."""

    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        params = [p for group in self.param_groups for p in group["params"]]
        for p in params:
            if "slow" not in self.state[p]:
                self.state[p]["slow"], self.state[p]["n"] = p.detach().clone(), 0
        super().step(closure)
        with torch.no_grad():
            for p in params:
                state = self.state[p]
                state["n"] += 1
                if state["n"] % 5 == 0:
                    state["slow"].lerp_(p, 0.5)
                    p.copy_(state["slow"])


@healthy(net="plain cnn")
def slow_and_fast_weights(seed: int) -> Pieces:
    """Lookahead around momentum SGD."""
    model = stack(1, 8, norm=True)
    optimizer = Lookahead(model.parameters(), 0.1, 0.9)
    return assemble(model, centered(dials(seed)), optimizer, size=40, steps=130)


class Centralized(Optimizer):
    """Gradient centralization: each filter's gradient loses its mean; Nesterov by hand."""

    def __init__(self, params: Any, lr: float, momentum: float = 0.9) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                g = p.grad
                if g.ndim > 1:
                    g = g - g.mean(tuple(range(1, g.ndim)), keepdim=True)
                v = self.state[p].setdefault("v", torch.zeros_like(p))
                v.mul_(group["momentum"]).add_(g)
                p.sub_(g + group["momentum"] * v, alpha=group["lr"])


@healthy(net="unet")
def filters_whose_gradients_are_centered(seed: int) -> Pieces:
    """A handmade optimizer on the encoder of a U-Net."""
    model = Hourglass(3, 5)
    optimizer = Centralized(model.parameters(), 0.03)
    return assemble(model, centered(flowers(seed)), optimizer, size=40, steps=130)


@healthy(net="vit")
def deeper_layers_learn_faster(seed: int) -> Pieces:
    """Layer-wise decay of the rate by 0.7 in a small ViT, polynomial schedule."""
    model = Patched(1, 8, 12, 3)
    parts = [[model.where, *model.cut.parameters()], model.one.parameters()]
    parts += [model.two.parameters(), [*model.norm.parameters(), *model.say.parameters()]]
    groups = [{"params": list(p), "lr": 6e-3 * 0.7 ** (3 - i)} for i, p in enumerate(parts)]
    optimizer = AdamW(groups, weight_decay=0.02)
    schedule = lambda done: (1 - done) ** 0.9  # noqa: E731
    return assemble(model, centered(dials(seed)), optimizer, schedule=schedule, size=40, steps=180)


class Cosines(nn.Module):
    """CLIP's logits: cosines to learned vectors times the exponential of a parameter."""

    def __init__(self, body: nn.Module, n_in: int, classes: int) -> None:
        super().__init__()
        self.body, self.names = body, nn.Parameter(torch.randn(classes, n_in))
        self.heat = nn.Parameter(torch.tensor(2.3))

    def forward(self, x: Tensor) -> Tensor:
        return self.heat.exp() * F.normalize(self.body(x)) @ F.normalize(self.names).T


@healthy(net="resnet")
def cosines_with_a_learned_temperature(seed: int) -> Pieces:
    """The temperature starts at 1/10 and is learned."""
    model = Cosines(Residual(3, 16), 16, 5)
    return assemble(model, centered(flowers(seed)), adam(model, 5e-3), size=40, steps=110)


class Powered(nn.Module):
    """Generalized mean pooling with a learned power."""

    def __init__(self) -> None:
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(1, 12, 5, padding=2), nn.Conv2d(12, 24, 3, 2, 2, dilation=2)
        self.power, self.say = nn.Parameter(torch.tensor(3.0)), nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.softplus(self.c2(F.softplus(self.c1(x)))).clamp_min(1e-6)
        return self.say(x.pow(self.power).mean((2, 3)).pow(1 / self.power))


@healthy(net="plain cnn")
def power_mean_over_places(seed: int) -> Pieces:
    """Softplus, a dilated convolution, GeM pooling."""
    model = Powered()
    return assemble(model, centered(faces(seed)), adam(model, 8e-3), size=40, steps=200)


@healthy(net="mlp")
def one_layer_of_two_thousand(seed: int) -> Pieces:
    """Wide and shallow, SGD with a DataLoader of tensors."""
    data = centered(landscapes(seed))
    model = dense(432, 5, 2000, 1)
    tensors = TensorDataset(data.x, data.y)
    batches = DataLoader(tensors, 40, shuffle=True, drop_last=True, generator=seeded(seed))
    optimizer = sgd(model, 0.01, weight_decay=1e-3)
    return assemble(model, data, optimizer, train=batches, steps=120)

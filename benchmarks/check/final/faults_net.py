"""Final: faults of initialization, activations, gradients, wiring and modes."""

import torch
import torch.nn.functional as F
from benchmarks.check.assemble import adam, adamw, assemble, sgd
from benchmarks.check.data import Batches
from benchmarks.check.final.data import (
    centered,
    dials,
    faces,
    flowers,
    landscapes,
    loans,
    spirals,
)
from benchmarks.check.final.nets import Columns, Hourglass, Inception, Light, dense, stack, tower
from benchmarks.check.program import Pieces, faulty
from torch import Tensor, nn


@faulty("symmetric-init", net="plain cnn", where={"c1", "c2", "c3", "linear"})
def every_filter_a_hundredth(sick: bool, seed: int) -> Pieces:
    """init.constant_(weight, 0.01) in all layers."""
    model = stack(1, 8)
    if sick:
        for name in ("c1", "c2", "c3", "linear"):
            nn.init.constant_(model.get_submodule(name).weight, 0.01)  # type: ignore[arg-type]
            nn.init.zeros_(model.get_submodule(name).bias)  # type: ignore[arg-type]
    return assemble(model, centered(dials(seed)), adam(model, 4e-3), size=32, steps=100)


@faulty("signal-vanishing", "gradient-vanishing", net="mlp")
def tenth_of_xavier_in_eight_layers(sick: bool, seed: int) -> Pieces:
    """A gain of 0.05 in each of eight tanh layers."""
    model = dense(144, 8, 48, 8, nn.Tanh)
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight, 0.05 if sick else 1.3)
            nn.init.zeros_(layer.bias)
    return assemble(model, centered(dials(seed)), sgd(model, 0.03), steps=150)


@faulty("signal-exploding", "gradient-exploding", net="vgg")
def he_with_the_fan_of_one_pixel(sick: bool, seed: int) -> Pieces:
    """sqrt(2 / 1): someone forgot to multiply the fan-in by the channels and the kernel."""
    model = tower(1, 4, 14, norm=False)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            fan = 1 if sick else layer.weight[0].numel()
            nn.init.normal_(layer.weight, std=(2 / fan) ** 0.5)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return assemble(model, centered(faces(seed)), sgd(model, 0.01), size=32, steps=120)


class Echo(nn.Module):
    """A residual step with a fixed factor on its branch."""

    def __init__(self, width: int, factor: float) -> None:
        super().__init__()
        self.conv, self.factor = nn.Conv2d(width, width, 3, padding=1), factor

    def forward(self, x: Tensor) -> Tensor:
        return x + self.factor * self.conv(F.relu(x))


@faulty("gradient-exploding", "signal-exploding", net="norm-free")
def branches_multiplied_by_twelve(sick: bool, seed: int) -> Pieces:
    """Eight residual branches without norms, each twelve times as loud."""
    body = [Echo(12, 12.0 if sick else 0.5) for _ in range(8)]
    ends = [nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(12, 8)]
    model = nn.Sequential(nn.Conv2d(1, 12, 3, 2, 1), *body, *ends)
    return assemble(model, centered(dials(seed)), adam(model, 2e-3), size=32, steps=120)


@faulty(
    "initial-loss-off",
    "signal-exploding",
    net="plain cnn",
    where={"linear"},
    measure="likelihood",
    least=0.6,
)
def last_layer_a_hundred_times_too_large(sick: bool, seed: int) -> Pieces:
    """The last layer starts from N(0, 20): the first losses are in the hundreds."""
    model = stack(1, 4)
    if sick:
        nn.init.normal_(model.get_submodule("linear").weight, std=20)  # type: ignore[arg-type]
    return assemble(model, centered(faces(seed)), adam(model, 2e-3), size=32, steps=120)


@faulty("dead-units", "no-gradient", "constant-output", net="plain cnn", where={"a2", "c2"})
def bias_of_minus_ten(sick: bool, seed: int) -> Pieces:
    """The second convolution's bias is -10: the ReLU behind it is silent."""
    model = stack(1, 4)
    if sick:
        nn.init.constant_(model.get_submodule("c2").bias, -10)  # type: ignore[arg-type]
    return assemble(model, centered(faces(seed)), adam(model, 4e-3), size=32, steps=120)


@faulty("saturated-units", "signal-exploding", net="mlp",
        where={"in", "act0", "mid1", "act1", "mid2", "act2"})  # fmt: skip
def tanh_driven_to_its_ends(sick: bool, seed: int) -> Pieces:
    """Weights from N(0, 3) before tanh; all units are at plus or minus one."""
    model = dense(196, 4, 64, 3, nn.Tanh)
    if sick:
        for name in ("in", "mid1", "mid2"):
            nn.init.normal_(model.get_submodule(name).weight, std=3)  # type: ignore[arg-type]
    return assemble(model, centered(faces(seed)), adam(model), steps=120)


@faulty("no-nonlinearity", net="mlp")
def linear_layers_on_spirals(sick: bool, seed: int) -> Pieces:
    """The activation between four linear layers was forgotten."""
    model = dense(2, 3, 32, 3, nn.Identity if sick else nn.ReLU)
    return assemble(model, spirals(seed), adam(model, 8e-3), steps=200)


class Normed(nn.Module):
    def __init__(self, groups: int) -> None:
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(1, 12, 3, padding=1), nn.Conv2d(12, 24, 3, 2, 1)
        self.norm, self.out = nn.GroupNorm(groups, 24), nn.Linear(24, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.c2(F.relu(self.c1(x)))).amax((2, 3), keepdim=True)
        return self.out(self.norm(x).flatten(1))


@faulty("constant-output", "no-gradient", "information-bottleneck", net="group norm",
        where={"norm", "c1", "c2", "out"})  # fmt: skip
def one_number_per_group(sick: bool, seed: int) -> Pieces:
    """GroupNorm(24, 24) on pooled features normalizes each number alone, to zero."""
    model = Normed(24 if sick else 2)
    return assemble(model, centered(dials(seed)), adam(model, 5e-3), size=32, steps=150)


@faulty("gradient-vanishing", "signal-vanishing", "saturated-units", net="plain cnn")
def sigmoid_in_nine_convolutions(sick: bool, seed: int) -> Pieces:
    """Sigmoid instead of ELU in a deep plain net without norms."""
    act = nn.Sigmoid if sick else nn.ELU
    parts: list[nn.Module] = [nn.Conv2d(1, 12, 3, 2, 1), act()]
    for _ in range(8):
        parts += [nn.Conv2d(12, 12, 3, padding=1), act()]
    model = nn.Sequential(*parts, nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(48, 8))
    return assemble(model, centered(dials(seed)), adam(model, 2e-3), size=32, steps=120)


class Rooted(nn.Module):
    """Bilinear pooling, and the root of each product."""

    def __init__(self, least: float) -> None:
        super().__init__()
        self.conv, self.least = nn.Conv2d(3, 12, 3, 2, 1), least
        self.out = nn.Linear(144, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv(x)).flatten(2)
        both = (x @ x.mT / x.shape[2]).flatten(1)
        return self.out((both + self.least).sqrt())


@faulty("gradient-nonfinite", net="bilinear", where={"conv"})
def root_of_a_product_of_zeros(sick: bool, seed: int) -> Pieces:
    """sqrt without an epsilon after bilinear pooling; some products are exactly zero."""
    model = Rooted(0.0 if sick else 1e-3)
    return assemble(model, centered(landscapes(seed)), adam(model, 1e-2), size=32, steps=350)


class Step(nn.Module):
    sick = True

    def forward(self, x: Tensor) -> Tensor:
        hard = (x > 0).float()
        return hard if self.sick else hard + x.clamp(-1, 1) - x.clamp(-1, 1).detach()


class Fired(nn.Module):
    def __init__(self, *, sick: bool) -> None:
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 24, 3, 2, 1)
        self.fire, self.out = Step(), nn.Linear(24, 5)
        self.fire.sick = sick

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.fire(self.c2(F.relu(self.c1(x)))).mean((2, 3)))


@faulty("no-gradient", net="spiking", where={"fire", "c1", "c2"}, least=0.65)
def threshold_without_a_surrogate(sick: bool, seed: int) -> Pieces:
    """(x > 0).float() has no gradient; nothing before it learns."""
    model = Fired(sick=sick)
    return assemble(model, centered(flowers(seed)), adam(model, 1e-2), size=32, steps=350)


class Shallow(Hourglass):
    """Reads the first level only."""

    def forward(self, x: Tensor) -> Tensor:
        a = self.top(x).mean((2, 3))
        return self.read(F.pad(a, (0, 40)))


@faulty("unused-parameters", "no-gradient", net="unet", where={"middle", "bottom"})
def deeper_levels_left_out(sick: bool, seed: int) -> Pieces:
    """The encoder's two deeper levels exist and are never called."""
    model = Shallow(3, 5) if sick else Hourglass(3, 5)
    return assemble(model, centered(flowers(seed)), adam(model, 4e-3), size=32, steps=110)


class Loose(nn.Module):
    """Filters as plain tensors that require gradients."""

    def __init__(self, *, sick: bool) -> None:
        super().__init__()
        draw = lambda *n: torch.randn(*n) * 0.25  # noqa: E731
        one, two = draw(4, 1, 3, 3), draw(12, 4, 3, 3)
        self.one = one.requires_grad_() if sick else nn.Parameter(one)
        self.two = two.requires_grad_() if sick else nn.Parameter(two)
        self.out = nn.Linear(12, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(F.conv2d(x, self.one, stride=2, padding=1))
        return self.out(F.relu(F.conv2d(x, self.two, stride=2, padding=1)).amax((2, 3)))


@faulty("unregistered-modules", "params-not-optimized", net="plain cnn", where={"one", "two"})
def filters_as_plain_tensors(sick: bool, seed: int) -> Pieces:
    """torch.randn(..., requires_grad=True) as an attribute is not a parameter."""
    model = Loose(sick=sick)
    return assemble(model, centered(dials(seed)), adam(model, 1e-2), size=32, steps=200)


class Ranged(nn.Module):
    """Features are divided by the largest along `axis`."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.eye, self.out, self.axis = stack(1, 24), nn.Linear(24, 8), axis

    def forward(self, x: Tensor) -> Tensor:
        x = F.softplus(self.eye(x))
        return self.out(x / x.amax(self.axis, keepdim=True))


@faulty("batch-leakage", net="plain cnn", measure="alone", where={"out", "eye"})
def divided_by_the_largest_of_the_batch(sick: bool, seed: int) -> Pieces:
    """Features are scaled by their maximum over the batch, in use as well; alone, all are one."""
    model = Ranged(0 if sick else 1)
    return assemble(model, centered(dials(seed)), adam(model, 4e-3), size=32, steps=120)


@faulty("information-bottleneck", "cannot-overfit-batch", net="inception",
        where={"read", "read.0", "read.1"})  # fmt: skip
def one_number_before_the_answer(sick: bool, seed: int) -> Pieces:
    """Features are squeezed into a single unit before eight directions are told apart."""
    model = Inception(1, 8)
    model.read = nn.Sequential(nn.Linear(32, 1 if sick else 16), nn.Tanh())  # type: ignore[assignment]
    model.read.append(nn.Linear(1 if sick else 16, 8))  # type: ignore[operator]
    return assemble(model, centered(dials(seed)), adam(model, 5e-3), size=32, steps=110)


class Twice(nn.Module):
    """Inverted dropout that also scales in evaluation."""

    def __init__(self, rate: float, *, sick: bool) -> None:
        super().__init__()
        self.rate, self.sick = rate, sick

    def forward(self, x: Tensor) -> Tensor:
        keep = 1 - self.rate
        if self.training:
            return x * (torch.rand_like(x) < keep) / keep
        return x * keep if self.sick else x


@faulty("eval-expectation-mismatch", net="vgg", where={"ends.3"}, measure="likelihood", least=0.5)
def scaled_in_both_modes(sick: bool, seed: int) -> Pieces:
    """A handmade dropout divides by 0.2 in training and multiplies by 0.2 in evaluation as well."""
    model = tower(3, 5)
    model.ends[3] = Twice(0.8, sick=sick)  # type: ignore[operator]
    return assemble(model, centered(landscapes(seed)), adam(model, 4e-3), size=32, steps=120)


class Shaken(nn.Module):
    def __init__(self, *, always: bool) -> None:
        super().__init__()
        self.always = always

    def forward(self, x: Tensor) -> Tensor:
        return x + 1.5 * torch.randn_like(x) if self.training or self.always else x


@faulty("eval-nondeterministic", net="mlp", where={"1"}, measure="repeatable", least=0.95)
def hidden_noise_for_ever(sick: bool, seed: int) -> Pieces:
    """Noise on the hidden layer does not ask for the mode."""
    model = nn.Sequential(nn.Linear(10, 64), Shaken(always=sick), nn.ReLU(), nn.Linear(64, 3))
    return assemble(model, loans(seed, train=1600), adam(model, 4e-3), steps=150)


@faulty("dropout-rate", net="vgg", where={"ends.3"})
def dropout_of_97_percent(sick: bool, seed: int) -> Pieces:
    """One or two of 48 features are left."""
    model = tower(1, 8, drop=0.97 if sick else 0.2)
    return assemble(model, centered(dials(seed)), sgd(model, 0.03), size=32, steps=80)


@faulty("dropout-on-output", net="plain cnn", where={"drop"}, measure="likelihood", least=0.6)
def three_quarters_of_the_logits_dropped(sick: bool, seed: int) -> Pieces:
    """Dropout(0.75) was appended behind the last layer."""
    model = stack(1, 4, norm=True)
    model.add_module("drop", nn.Dropout(0.75 if sick else 0.0))
    return assemble(model, centered(faces(seed)), adam(model, 4e-3), size=32, steps=120)


@faulty("bn-small-batch", net="mlp", where={"norm", "steps"}, least=0.65)
def two_rows_at_a_time(sick: bool, seed: int) -> Pieces:
    """Batch norm over two rows of a table; each is the other's mirror image."""
    model, data = Columns(10, 3), loans(seed, train=1600)
    batches = Batches(data.x, data.y, 2 if sick else 64, seed=seed)
    return assemble(model, data, adam(model, 2e-3), train=batches, steps=250)


@faulty("step-raises", "bn-small-batch", net="vgg", where={"ends.1", "ends.2"})
def one_image_left_over(sick: bool, seed: int) -> Pieces:
    """The last batch has one image, for which BatchNorm1d raises; nobody set drop_last."""
    data = centered(dials(seed)).first(321)
    model = tower(1, 8)
    model.ends.insert(2, nn.BatchNorm1d(48))  # type: ignore[operator]
    batches = Batches(data.x, data.y, 32, seed=seed, drop_last=not sick)
    return assemble(model, data, adam(model, 3e-3), train=batches, steps=80)


@faulty("bn-stats", net="mobilenet", where={"start", "mid"})
def averages_that_hardly_move(sick: bool, seed: int) -> Pieces:
    """momentum=0.0003 in all batch norms: evaluation uses what was there at the start."""
    model = Light(1, 8, 0.0003 if sick else 0.1)
    return assemble(model, centered(dials(seed)), adam(model, 4e-3), size=32, steps=80)


class Deaf(nn.Module):
    """eval() was overridden for a report and forgets to change the mode."""

    def __init__(self, body: nn.Module, *, sick: bool) -> None:
        super().__init__()
        self.body, self.sick = body, sick

    def train(self, mode: bool = True) -> "Deaf":
        super().train(mode)
        if self.sick:
            self.body.train()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


@faulty("stuck-mode", "eval-nondeterministic", net="vgg", where={"body"}, measure="repeatable",
        least=0.95)  # fmt: skip
def body_kept_in_training(sick: bool, seed: int) -> Pieces:
    """The wrapper puts its body back into training mode whatever it is told."""
    model = Deaf(tower(1, 4, 14, drop=0.6), sick=sick)
    return assemble(model, centered(faces(seed)), adamw(model, 3e-3), size=32, steps=70)

"""Unseen: faults of initialization, activations, wiring, norms and dropout."""

import torch
import torch.nn.functional as F
from benchmarks.check.assemble import adam, adamw, assemble, sgd
from benchmarks.check.data import digits
from benchmarks.check.program import Pieces, faulty
from benchmarks.check.unseen.data import (
    clothes,
    houses,
    molecules,
    motions,
    plates,
    satellite,
    solids,
    standard,
    textures,
)
from benchmarks.check.unseen.nets import (
    Google,
    LeNet,
    Plain,
    PointSet,
    Res,
    Vgg,
    Vit,
    perceptron,
)
from torch import Tensor, nn
from torch.optim import Adam

# Initialization


@faulty("symmetric-init", "no-gradient", "constant-output", "dead-units", net="mlp",
        where={"1", "2", "3", "4", "5"})  # fmt: skip
def all_matrices_zero(sick: bool, seed: int) -> Pieces:
    """Weights of zero in every layer, as in a logistic regression: only the last bias learns."""
    model = perceptron(400, 6, 64)
    if sick:
        for layer in model:
            if isinstance(layer, nn.Linear):
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)
    return assemble(model, standard(clothes(seed)), adam(model), size=40, steps=120)


@faulty("symmetric-init", net="mlp", where={"1", "3", "5"})
def every_weight_one_fiftieth(sick: bool, seed: int) -> Pieces:
    """nn.init.constant_(weight, 0.02): all units of a layer are one unit."""
    model = perceptron(64, 10, 64)
    if sick:
        for layer in model:
            if isinstance(layer, nn.Linear):
                nn.init.constant_(layer.weight, 0.02)
    return assemble(model, digits(seed).normalized(), adam(model), size=40, steps=200)


@faulty("signal-exploding", "gradient-exploding", "initial-loss-off", net="vgg",
        where={"stages", "classifier"})  # fmt: skip
def standard_normal_filters(sick: bool, seed: int) -> Pieces:
    """nn.init.normal_(weight) with its default deviation of one, without norms."""
    model = Vgg(1, 6, norm=None, drop=0.1)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            if sick:
                nn.init.normal_(layer.weight)
            else:
                nn.init.kaiming_normal_(layer.weight)
    return assemble(model, standard(clothes(seed)), sgd(model, 0.01), size=40, steps=150)


@faulty("signal-vanishing", "gradient-vanishing", "constant-output", net="mlp", least=0.55)
def eight_layers_of_one_hundredth(sick: bool, seed: int) -> Pieces:
    """normal_(0, 0.01) for a table, eight layers deep."""
    model = perceptron(12, 4, 64, 8)
    for layer in model:
        if isinstance(layer, nn.Linear):
            if sick:
                nn.init.normal_(layer.weight, std=0.01)
            else:
                nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    return assemble(model, standard(houses(seed)), sgd(model, 0.02), size=64, steps=200)


# Activations


@faulty("dead-units", "no-gradient", net="lenet", where={"conv2", "act2"})
def second_convolution_shut_by_its_bias(sick: bool, seed: int) -> Pieces:
    """Biases of -8 in front of a ReLU."""
    model = LeNet(1, 6, 20)
    if sick:
        nn.init.constant_(model.conv2.bias, -8.0)  # type: ignore[arg-type]
    return assemble(model, standard(clothes(seed)), sgd(model, 0.03), size=40, steps=150)


@faulty("saturated-units", "gradient-vanishing", net="mlp", where={"1", "2", "3", "4"})
def sigmoids_behind_matrices_of_deviation_two(sick: bool, seed: int) -> Pieces:
    """Both hidden layers sit at zero or one."""
    model = perceptron(64, 10, 48, act=nn.Sigmoid)
    for i in (1, 3):
        nn.init.normal_(model[i].weight, std=3.0 if sick else 0.2)  # type: ignore[arg-type]
    return assemble(model, digits(seed).normalized(), adam(model, 2e-3), size=40, steps=250)


@faulty("no-nonlinearity", net="plain cnn", least=0.8)
def activations_taken_out_for_export(sick: bool, seed: int) -> Pieces:
    """All three activations are nn.Identity, and places are averaged: a linear model."""

    class Mean(Plain):
        def __init__(self) -> None:
            super().__init__(1, 6, norm=nn.BatchNorm2d, act=nn.Identity if sick else nn.ReLU)
            self.head = nn.Linear(36, 6)

        def features(self, x: Tensor) -> Tensor:
            for conv, norm, act in zip(self.convs, self.norms, self.acts, strict=True):
                x = act(norm(conv(x)))
            return x.mean((2, 3))

    model = Mean()
    return assemble(model, standard(textures(seed)), adam(model, 4e-3), size=40, steps=130)


# Wiring


class Narrow(nn.Module):
    """Two layers of 32 with sums over nodes, a constant input: only messages can tell."""

    def __init__(self, *, cut: bool) -> None:
        super().__init__()
        self.enter, self.middle, self.last = nn.Linear(1, 32), nn.Linear(32, 32), nn.Linear(32, 32)
        self.leave, self.cut = nn.Linear(64, 5), cut

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.enter(x.sum(2, keepdim=True) / 3))
        h = F.relu(self.middle(h + x @ h / 3))
        h = F.relu(self.last(h + x @ h / 3))
        h = h * (x.sum(2, keepdim=True) > 0)
        h = h.detach() if self.cut else h
        return self.leave(torch.cat([h.mean(1), h.amax(1)], 1))


@faulty("no-gradient", net="graph", where={"enter", "middle", "last"})
def states_detached_before_the_readout(sick: bool, seed: int) -> Pieces:
    """A detach() from a debugging session: no message layer ever learns."""
    model = Narrow(cut=sick)
    return assemble(model, molecules(seed), adam(model, 3e-3), size=40, steps=120)


@faulty("information-bottleneck", "cannot-overfit-batch", "underfitting", net="vgg",
        where={"squash", "classifier"})  # fmt: skip
def one_unit_between_body_and_answer(sick: bool, seed: int) -> Pieces:
    """The classifier's hidden layer has one unit."""
    model = Vgg(1, 10)
    wide = 1 if sick else 32
    model.classifier = nn.Sequential(nn.Linear(36, wide), nn.ReLU(), nn.Linear(wide, 10))
    return assemble(model, standard(plates(seed)), adam(model, 3e-3), size=40, steps=200)


class Chain(nn.Module):
    """A small step without norms; `skips` adds the input."""

    def __init__(self, width: int, *, skips: bool) -> None:
        super().__init__()
        self.conv, self.skips = nn.Conv2d(width, width, 3, padding=1), skips
        nn.init.kaiming_normal_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        y = 0.2 * self.conv(F.relu(x))
        return x + y if self.skips else y


@faulty("signal-vanishing", "gradient-vanishing", "constant-output", net="norm-free")
def scaled_branches_without_their_skips(sick: bool, seed: int) -> Pieces:
    """Twelve branches are scaled by a fifth, and what they should be added to is dropped."""
    body = [Chain(16, skips=not sick) for _ in range(12)]
    ends = [nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(16, 6)]
    model = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1), *body, *ends)
    return assemble(model, standard(clothes(seed)), sgd(model, 0.02), size=40, steps=150)


@faulty("information-bottleneck", "cannot-overfit-batch", "underfitting", net="inception",
        where={"entry"})  # fmt: skip
def averaged_right_after_the_entry(sick: bool, seed: int) -> Pieces:
    """The global average stands behind the first layer: where anything is, nobody knows."""
    model = Google(2, 4)
    if sick:
        model.entry.append(nn.AdaptiveAvgPool2d(1))
        model.entry.append(nn.Upsample(16))
    return assemble(model, standard(motions(seed)), adam(model, 4e-3), size=40, steps=130)


class Interleaved(Vit):
    """Patches are put in rows with the batch axis behind the place axis."""

    def features(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2)
        n, width, places = x.shape
        x = x.permute(2, 0, 1).reshape(n, places, width) + self.place
        x = torch.cat([self.extra.expand(n, -1, -1), x], 1)
        return self.norm(self.layers(x))[:, 0]


@faulty("batch-leakage", "labels-uninformative", net="vit", least=0.75)
def patches_of_many_images_in_one_row(sick: bool, seed: int) -> Pieces:
    """permute, then reshape: a row of tokens has patches of different images."""
    model = (Interleaved if sick else Vit)(1, 10, 8, 2)
    return assemble(model, digits(seed).normalized(), adamw(model, 3e-3), size=50, steps=200)


class Listed(nn.Module):
    """Residual steps in a plain list, behind a pooling of 4 that leaves few pixels."""

    def __init__(self, *, plain: bool) -> None:
        super().__init__()
        self.entry = nn.Conv2d(4, 24, 4, 4)
        layers = [
            nn.Sequential(nn.Flatten(), nn.Linear(24 * 9, 6), nn.Tanh()),
            nn.Sequential(nn.Linear(6, 6), nn.Tanh()), nn.Sequential(nn.Linear(6, 6), nn.Tanh()),
        ]  # fmt: skip
        self.layers = layers if plain else nn.ModuleList(layers)
        self.out = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.entry(x))
        for layer in self.layers:
            x = layer(x)
        return self.out(x)


@faulty("unregistered-modules", "params-not-optimized", net="plain cnn", where={"layers"},
        least=0.75)  # fmt: skip
def narrow_layers_in_a_plain_list(sick: bool, seed: int) -> Pieces:
    """self.layers = [...]: parameters() does not see them, so they stay as drawn."""
    model = Listed(plain=sick)
    return assemble(model, standard(satellite(seed)), adam(model, 4e-3), size=40, steps=180)


# Norms and dropout


@faulty("bn-stats", net="mlp", where={"2", "5"})
def running_averages_of_the_last_batch(sick: bool, seed: int) -> Pieces:
    """momentum=1.0 with batches of four: evaluation uses whatever the last four were."""
    norm = lambda n: nn.BatchNorm1d(n, momentum=1.0 if sick else 0.05)  # noqa: E731
    model = perceptron(64, 10, 64, norm=norm)
    data = digits(seed).normalized()
    return assemble(model, data, adam(model, 2e-3), size=4, steps=400)


@faulty("bn-small-batch", net="mlp", where={"2", "5"}, least=0.8)
def batch_norm_over_two_digits(sick: bool, seed: int) -> Pieces:
    """Batches of two: after the norm a unit only says which of the two is larger."""
    model = perceptron(64, 10, 64, norm=nn.BatchNorm1d)
    data = digits(seed).normalized()
    return assemble(model, data, adam(model, 2e-3), size=2 if sick else 32, steps=300)


@faulty("dropout-rate", "underfitting", net="vgg", where={"classifier", "classifier.2"})
def all_but_a_fiftieth_dropped(sick: bool, seed: int) -> Pieces:
    """Dropout(0.98) in the classifier."""
    model = Vgg(1, 6, drop=0.98 if sick else 0.2)
    return assemble(model, standard(clothes(seed)), sgd(model, 0.03), size=40, steps=110)


class Masked(nn.Module):
    """Dropout as first published: units are dropped, and nothing is rescaled."""

    def __init__(self, rate: float, *, rescale: bool) -> None:
        super().__init__()
        self.rate, self.rescale = rate, rescale

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        kept = x * (torch.rand_like(x) >= self.rate)
        return kept / (1 - self.rate) if self.rescale else kept


@faulty("eval-expectation-mismatch", net="resnet", measure="likelihood", least=0.5)
def dropped_and_never_rescaled(sick: bool, seed: int) -> Pieces:
    """Seven of ten features are dropped in training, and evaluation sees three times as much."""
    model = Res(4, 5, width=16)
    model.head = nn.Sequential(
        nn.Linear(48, 64), nn.ReLU(), Masked(0.7, rescale=not sick), nn.Linear(64, 64), nn.ReLU(),
        Masked(0.7, rescale=not sick), nn.Linear(64, 5),
    )  # type: ignore[assignment] # fmt: skip
    return assemble(
        model, standard(satellite(seed)), adam(model, 3e-3, weight_decay=1e-4), size=40, steps=200
    )


class Gates(nn.Module):
    """Gates are drawn in training; in evaluation their expectation is used, or drawn again."""

    def __init__(self, width: int, *, drawn: bool) -> None:
        super().__init__()
        self.logit, self.drawn = nn.Parameter(torch.zeros(width)), drawn

    def forward(self, x: Tensor) -> Tensor:
        if self.training or self.drawn:
            noise = torch.rand_like(x).clamp(1e-4, 1 - 1e-4).logit()
            return x * ((self.logit + noise) / 0.3).sigmoid()
        return x * self.logit.sigmoid()


@faulty("eval-nondeterministic", net="deep sets", measure="repeatable", least=0.97)
def gates_are_drawn_in_evaluation_too(sick: bool, seed: int) -> Pieces:
    """Concrete gates on the features of a set of points never become their expectation."""
    model = PointSet(4)
    model.all.insert(0, Gates(96, drawn=sick))
    return assemble(model, solids(seed), adam(model, 3e-3), size=40, steps=150)


@faulty("batch-leakage", "bn-stats", "stuck-mode", net="resnet", measure="alone",
        where={"first", "blocks"}, least=0.8)  # fmt: skip
def norms_that_always_ask_the_batch(sick: bool, seed: int) -> Pieces:
    """track_running_stats=False: in use, images come one at a time and are normalized alone."""
    norm = lambda n: nn.BatchNorm2d(n, track_running_stats=not sick)  # noqa: E731
    model = Res(4, 5, norm=norm)
    return assemble(model, standard(satellite(seed)), adam(model, 3e-3), size=40, steps=110)


@faulty("no-gradient", "unused-parameters", net="siamese", where={"right"}, least=0.75)
def one_eye_feeds_both(sick: bool, seed: int) -> Pieces:
    """Two streams, one per frame; a copied line sends the first frame's features twice."""

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            unit = lambda: nn.Sequential(  # noqa: E731
                nn.Conv2d(1, 12, 5, 2, 2), nn.ReLU(), nn.Conv2d(12, 16, 3, 2, 1), nn.ReLU(),
                nn.Flatten(), nn.Linear(256, 32), nn.ReLU(),
            )  # fmt: skip
            self.left, self.right = unit(), unit()
            self.join = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4))

        def forward(self, x: Tensor) -> Tensor:
            a = self.left(x[:, :1])
            b = a if sick else self.right(x[:, 1:])
            return self.join(torch.cat([a, b], 1))

    model = Two()
    optimizer = Adam(model.parameters(), 2e-3)
    return assemble(model, standard(motions(seed)), optimizer, size=40, steps=250)

"""Final: healthy programs on gestures, tables, events and points."""

from typing import Any

import torch
import torch.nn.functional as F
from benchmarks.check.assemble import adam, adamw, assemble
from benchmarks.check.data import seeded
from benchmarks.check.final.data import gestures, loans, logs, spirals
from benchmarks.check.final.nets import Columns, Events, Reader, dense
from benchmarks.check.program import Pieces, healthy
from torch import Tensor, nn
from torch.optim import ASGD, Adam
from torch.utils.data import DataLoader, TensorDataset


@healthy(net="lstm")
def last_state_of_an_lstm(seed: int) -> Pieces:
    """Three axes over 32 steps; gradients are clipped by a hook on each parameter."""
    model = Reader(3, 5)
    for p in model.parameters():
        p.register_hook(lambda g: g.clamp(-0.5, 0.5))
    return assemble(model, gestures(seed), adam(model, 1e-2), steps=150)


class TwoDeep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.core = nn.GRU(3, 24, 2, batch_first=True, dropout=0.1)
        self.norm, self.out = nn.LayerNorm(24), nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.norm(self.core(x[:, ::2])[0].amax(1)))


@healthy(net="gru")
def two_deep_with_dropout_between(seed: int) -> Pieces:
    """Every second sample, two GRU layers, the largest state."""
    model = TwoDeep()
    return assemble(model, gestures(seed), adamw(model, 8e-3), size=40, steps=120)


class Causal(nn.Module):
    """A temporal convolutional net that pads on the left only."""

    def __init__(self) -> None:
        super().__init__()
        self.lift = nn.Conv1d(3, 24, 1)
        self.convs = nn.ModuleList(nn.Conv1d(24, 24, 3, dilation=2**i) for i in range(4))
        self.out = nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.lift(x.mT)
        for i, conv in enumerate(self.convs):
            x = x + F.relu(conv(F.pad(x, (2 * 2**i, 0))))
        return self.out(x.mean(2))


@healthy(net="conv1d")
def causal_convolutions(seed: int) -> Pieces:
    """Dilated residual convolutions that never look ahead."""
    model = Causal()
    return assemble(model, gestures(seed), adam(model, 4e-3), size=40, steps=120)


class Pooled(nn.Module):
    """One learned query looks at all steps."""

    def __init__(self) -> None:
        super().__init__()
        self.near = nn.Conv1d(3, 32, 5, padding=2)
        self.query = nn.Parameter(0.1 * torch.randn(1, 1, 32))
        self.look, self.out = nn.MultiheadAttention(32, 4, batch_first=True), nn.Linear(64, 5)

    def forward(self, x: Tensor) -> Tensor:
        h = F.gelu(self.near(x.mT)).mT
        seen = self.look(self.query.expand(len(x), -1, -1), h, h, need_weights=False)[0]
        return self.out(torch.cat([seen[:, 0], h.amax(1)], 1))


@healthy(net="attention")
def one_query_looks_at_all_steps(seed: int) -> Pieces:
    """Attention pooling beside max pooling."""
    model = Pooled()
    return assemble(model, gestures(seed), adamw(model, 5e-3), size=40, steps=130)


@healthy(net="embeddings")
def averaged_events(seed: int) -> Pieces:
    """fastText: the mean of event vectors and a linear layer; nothing nonlinear is needed."""
    model = nn.Sequential(nn.EmbeddingBag(30, 16, mode="mean"), nn.Linear(16, 5))
    return assemble(model, logs(seed), adam(model, 2e-2), steps=120)


class Encoded(nn.Module):
    """A transformer layer over events, without places, and their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(30, 24)
        nn.init.normal_(self.table.weight, std=0.3)
        self.layer = nn.TransformerEncoderLayer(24, 3, 48, 0.1, batch_first=True)
        self.out = nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.layer(self.table(x)).mean(1))


@healthy(net="transformer")
def events_without_places(seed: int) -> Pieces:
    """The order of the events does not matter here, so no places are embedded."""
    model = Encoded()
    schedule = lambda done: min(1.0, 0.05 + 8 * done)  # noqa: E731
    return assemble(model, logs(seed), adam(model, 4e-3), schedule=schedule, steps=130)


class Rare(Events):
    """Whole events are forgotten at random in training (embedding dropout)."""

    def forward(self, x: Tensor) -> Tensor:
        h = self.table(x)
        keep = F.dropout(torch.ones(*x.shape, 1), 0.15, self.training)
        return self.out(self.act(self.each(h * keep)).mean(1))


@healthy(net="embeddings")
def events_forgotten_at_random(seed: int) -> Pieces:
    """Embedding dropout of 0.15, done by hand and right; Mish."""
    model = Rare(act=nn.Mish)
    return assemble(model, logs(seed), adamw(model, 6e-3), steps=130)


@healthy(net="mlp", least=0.7)
def residual_steps_on_a_table(seed: int) -> Pieces:
    """Batch norm before each residual step, batches of 100, L2 of 1e-4."""
    model = Columns(10, 3)
    data = loans(seed, train=1600)
    return assemble(model, data, adam(model, 4e-3, weight_decay=1e-4), size=100, steps=150)


class OwnScale(nn.Module):
    """The first layer is a batch norm without scale or shift."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.body = nn.BatchNorm1d(10, affine=False), dense(10, 3, 64, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self.scale(x))


@healthy(net="mlp", least=0.7)
def euros_years_and_percents(seed: int) -> Pieces:
    """Columns in their own units; a batch norm at the entrance standardizes them."""
    units = torch.tensor([9000.0, 12, 0.02, 1, 250, 3, 0.4, 40, 1, 7])
    base = torch.tensor([30000.0, 45, 0.05, 0, 900, 10, 1, 100, 0, 20])
    data = loans(seed, train=1600).mapped(lambda x: base + units * x)
    model = OwnScale()
    return assemble(model, data, adam(model, 4e-3), steps=200)


class Gated(nn.Module):
    """Two gated linear units, layer norms between."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Linear(10, 96), nn.Linear(48, 96), nn.Linear(48, 3)
        self.norm = nn.LayerNorm(48)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(F.glu(self.a(x)))
        return self.out(x + F.glu(self.b(x)))


@healthy(net="mlp", least=0.7)
def gated_units_on_a_table(seed: int) -> Pieces:
    """GLU layers; a DataLoader; targets of a dataset of tensors."""
    data = loans(seed, train=1600)
    tensors = TensorDataset(data.x, data.y)
    batches = DataLoader(tensors, 64, shuffle=True, generator=seeded(seed))
    model = Gated()
    return assemble(model, data, adamw(model, 5e-3), train=batches, steps=200)


@healthy(net="mlp", least=0.7)
def binned_columns(seed: int) -> Pieces:
    """Each column as seven questions, is it above this quantile: seventy zeros and ones."""
    data = loans(seed, train=4000)
    edges = data.x.quantile(torch.arange(1, 8) / 8, 0).T
    above = lambda x: (x[:, :, None] > edges).flatten(1).float()  # noqa: E731
    model = nn.Sequential(nn.Linear(70, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 3))
    return assemble(
        model, data.mapped(above), adamw(model, 4e-3, weight_decay=0.1), size=100, steps=200
    )


def _closest(out: Tensor) -> Tensor:
    return -(out - torch.arange(3)).abs()


def _huber(out: Tensor, y: Tensor) -> Tensor:
    return F.huber_loss(out[:, 0], y.float(), delta=0.7)


@healthy(net="mlp", least=0.65)
def huber_loss_on_a_grade(seed: int) -> Pieces:
    """The three classes are grades; one output is fitted to them."""
    model = Columns(10, 1)
    data = loans(seed, train=2000)
    return assemble(
        model, data, adam(model, 4e-3), loss=_huber, logits=_closest, size=100, steps=200
    )


@healthy(net="mlp")
def four_tanh_layers_on_spirals(seed: int) -> Pieces:
    """Xavier's gain for tanh; raw coordinates of the plane."""
    model = dense(2, 3, 32, 4, nn.Tanh)
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_normal_(layer.weight, nn.init.calculate_gain("tanh"))
    return assemble(model, spirals(seed), adam(model, 6e-3), steps=200)


class Bells(nn.Module):
    """Radial basis functions with learned centers and widths."""

    def __init__(self) -> None:
        super().__init__()
        self.centers = nn.Parameter(1.5 * (2 * torch.rand(60, 2) - 1))
        self.width, self.out = nn.Parameter(torch.full((60,), 1.5)), nn.Linear(60, 3)

    def forward(self, x: Tensor) -> Tensor:
        far = (x[:, None] - self.centers).square().sum(2)
        return self.out((-far * self.width.exp()).exp())


@healthy(net="rbf")
def bells_in_the_plane(seed: int) -> Pieces:
    """A radial basis function net."""
    model = Bells()
    return assemble(model, spirals(seed), Adam(model.parameters(), 3e-2), steps=250)


class Both(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = dense(10, 32, 64, 2)
        self.grade, self.sign = nn.Linear(32, 3), nn.Linear(32, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        h = F.relu(self.trunk(x))
        return {"grade": self.grade(h), "top": self.sign(h)}


def _grade(out: dict[str, Any]) -> Tensor:
    return out["grade"]


def _grade_and_top(out: dict[str, Any], y: Tensor) -> Tensor:
    top = F.binary_cross_entropy_with_logits(out["top"][:, 0], (y == 2).float())
    return F.cross_entropy(out["grade"], y) + 0.3 * top


@healthy(net="multi-head", least=0.7)
def grade_and_is_it_the_best(seed: int) -> Pieces:
    """A dict of two heads, cross-entropy plus a logistic loss; averaged SGD."""
    model = Both()
    optimizer = ASGD(model.parameters(), 0.3, t0=100)
    data = loans(seed, train=1600)
    return assemble(model, data, optimizer, loss=_grade_and_top, logits=_grade, size=40, steps=350)

"""Unseen: healthy programs on series, tokens, tables, graphs and sets of points."""

from typing import Any

import torch
import torch.nn.functional as F
from benchmarks.check.assemble import adam, adamw, assemble, sgd
from benchmarks.check.data import Data, loader
from benchmarks.check.program import Pieces, healthy
from benchmarks.check.unseen.data import (
    arms,
    beats,
    houses,
    machines,
    molecules,
    reviews,
    solids,
    songs,
    standard,
)
from benchmarks.check.unseen.nets import (
    GraphNet,
    Layer,
    PointSet,
    Recurrent,
    Signal,
    Words,
    perceptron,
)
from benchmarks.check.unseen.optim import Clipped, cosine, warm
from torch import Tensor, nn
from torch.optim import NAdam

# Series


@healthy(net="conv1d", least=0.85)
def heartbeats_with_wider_and_wider_filters(seed: int) -> Pieces:
    """Dilated residual convolutions with batch norm."""
    model = Signal(1, 4)
    return assemble(model, standard(beats(seed)), adam(model, 3e-3), size=40, steps=120)


class Slices(nn.Module):
    """Short pieces of the series as tokens of a transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.cut = nn.Conv1d(1, 32, 6, 3)
        self.place = nn.Parameter(0.1 * torch.randn(1, 15, 32))
        self.layers, self.norm = nn.Sequential(Layer(32), Layer(32)), nn.LayerNorm(32)
        self.out = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.norm(self.layers(self.cut(x).mT + self.place)).mean(1))


@healthy(net="transformer", least=0.85)
def pieces_of_a_heartbeat_as_tokens(seed: int) -> Pieces:
    """Overlapping pieces, a warmup from zero, AdamW."""
    model = Slices()
    return assemble(
        model, standard(beats(seed)), adamw(model, 3e-3), schedule=warm(0.1), size=40, steps=150
    )


@healthy(net="gru", least=0.85)
def vibrations_read_both_ways(seed: int) -> Pieces:
    """A bidirectional GRU, clipped gradients, layer norm before the last layer."""
    model = Recurrent(2, 5, both=True, width=24)
    optimizer = Clipped(model.parameters(), 5e-3)
    return assemble(model, machines(seed), optimizer, size=40, steps=180)


class Decays(nn.Module):
    """A diagonal linear recurrence with learned decays, as one convolution (a state space)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.linspace(-2.5, 1.5, width))
        self.turn = nn.Parameter(torch.linspace(0, 1.5, width))
        self.mix, self.norm = nn.Linear(width, width), nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        t = torch.arange(x.shape[1])
        kernel = (-t[:, None] * self.rate.exp() / 4).exp() * (t[:, None] * self.turn).cos()
        y = F.conv1d(F.pad(self.norm(x).mT, (x.shape[1] - 1, 0)), kernel.flip(0).T[:, None],
                     groups=x.shape[2])  # fmt: skip
        return x + self.mix(F.gelu(y.mT))


@healthy(net="state space", least=0.85)
def a_bank_of_decaying_memories(seed: int) -> Pieces:
    """Two diagonal state-space layers; the rates and frequencies are learned."""
    model = nn.Sequential(
        nn.Linear(2, 24), Decays(24), Decays(24), nn.Flatten(), nn.Linear(24 * 30, 5)
    )
    return assemble(model, machines(seed), adamw(model, 3e-3), size=40, steps=150)


# Tokens


@healthy(net="transformer", least=0.85)
def reviews_whose_padding_is_masked(seed: int) -> Pieces:
    """Sinusoidal places, attention that does not see the padding, a masked mean."""
    model = Words(40, 3, 20)
    return assemble(model, reviews(seed), adamw(model, 2e-3), size=40, steps=150)


class Bagged(nn.Module):
    """The mean of embeddings of words and of pairs of words (fastText)."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(40, 24, mode="mean", padding_idx=0)
        self.pairs = nn.EmbeddingBag(128, 24, mode="mean", padding_idx=0)
        self.out = nn.Linear(48, 3)

    def forward(self, x: Tensor) -> Tensor:
        real = (x[:, 1:] != 0).long()
        pairs = (1 + (31 * x[:, :-1] + 17 * x[:, 1:]) % 127) * real
        return self.out(torch.cat([self.words(x), self.pairs(pairs)], 1))


@healthy(net="embeddings", least=0.8)
def bags_of_words_and_hashed_pairs(seed: int) -> Pieces:
    """EmbeddingBag; pairs of words share 127 hashed rows; Nesterov-Adam."""
    model = Bagged()
    optimizer = NAdam(model.parameters(), 2e-2)
    return assemble(model, reviews(seed), optimizer, size=40, steps=150)


class Composer(nn.Module):
    """A small causal transformer; its last layer is the embedding's matrix."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(12, 32), nn.Embedding(length, 32)
        for table in (self.embed, self.place):
            nn.init.normal_(table.weight, std=0.2)
        self.layers, self.norm = nn.ModuleList(Layer(32) for _ in range(2)), nn.LayerNorm(32)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x) + self.place.weight[: x.shape[1]]
        for layer in self.layers:
            h = layer(h, causal=True)
        return F.linear(self.norm(h), self.embed.weight)


def _every_tone(out: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(out.flatten(0, 1), y.flatten())


def _highest(out: Tensor) -> Tensor:
    """Which tones are predicted: `verify` then compares where the highest one is."""
    return out.argmax(2).float()


@healthy(net="language model", least=0.4)
def the_next_tone_everywhere(seed: int) -> Pieces:
    """Next-token prediction at each place; tied embeddings; one tone of six cannot be foreseen."""
    model = Composer(24)
    return assemble(
        model, songs(seed), adamw(model, 4e-3), loss=_every_tone, logits=_highest,
        schedule=warm(0.1), size=40, steps=250,
    )  # fmt: skip


class Hummer(nn.Module):
    """An embedding, a GRU whose recurrent matrix is orthogonal, the next tone."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.gru = nn.Embedding(12, 16), nn.GRU(16, 48, batch_first=True)
        nn.init.orthogonal_(self.gru.weight_hh_l0)
        self.out = nn.Linear(48, 12)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.gru(self.embed(x))[0][:, -1])


@healthy(net="gru", least=0.7)
def only_the_last_tone(seed: int) -> Pieces:
    """The tone after twenty-four; one of six cannot be foreseen."""
    data = songs(seed)
    data = data.but(y=data.y[:, -1], val_y=data.val_y[:, -1], test_y=data.test_y[:, -1])
    model = Hummer()
    return assemble(model, data, Clipped(model.parameters(), 8e-3), size=40, steps=250)


# Tables


def _holes(data: Data, seed: int, *, fill: Tensor | None = None) -> Data:
    """One cell in twenty is lost; the training median of the column takes their place."""
    random = torch.Generator().manual_seed(seed + 5)
    middle = data.x.median(0).values if fill is None else fill

    def lose(x: Tensor) -> Tensor:
        return torch.where(torch.rand(x.shape, generator=random) < 0.05, middle, x)

    return data.mapped(lose)


@healthy(net="mlp", least=0.6)
def lost_cells_become_medians(seed: int) -> Pieces:
    """Imputed, then standardized; batch norm and dropout of a tenth."""
    model = perceptron(12, 4, 64, norm=nn.BatchNorm1d, drop=0.1)
    data = standard(_holes(houses(seed, train=4000), seed))
    return assemble(model, data, adam(model, 5e-3, weight_decay=1e-5), size=64, steps=400)


class WideAndDeep(nn.Module):
    """Products of pairs of columns go straight to the answer; a net sees the columns."""

    def __init__(self) -> None:
        super().__init__()
        self.pairs = torch.triu_indices(12, 12)
        self.wide = nn.Linear(78, 4)
        self.deep = perceptron(12, 4, 48, act=nn.SiLU)

    def forward(self, x: Tensor) -> Tensor:
        i, j = self.pairs
        return self.deep(x) + self.wide(0.5 * x[:, i] * x[:, j])


@healthy(net="mlp", least=0.65)
def products_go_straight_to_the_answer(seed: int) -> Pieces:
    """Wide and deep; AdamW with a cosine."""
    model = WideAndDeep()
    return assemble(
        model, standard(houses(seed)), adamw(model, 4e-3), schedule=cosine, size=64, steps=400
    )


def _quantiles(data: Data) -> Data:
    """Each column's rank in the training set, as a standard normal number."""
    order = data.x.sort(0).values.T.contiguous()

    def rank(x: Tensor) -> Tensor:
        share = torch.searchsorted(order, x.T.contiguous()).T / len(data.x)
        return torch.special.ndtri(share.clamp(0.002, 0.998))

    return data.mapped(rank)


@healthy(net="resnet", least=0.6)
def ranks_instead_of_values(seed: int) -> Pieces:
    """Quantile transform; residual steps with layer norm; SGD with momentum and a cosine."""

    class Step(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.up, self.down = nn.LayerNorm(48), nn.Linear(48, 64), nn.Linear(64, 48)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.down(F.relu(self.up(self.norm(x))))

    model = nn.Sequential(nn.Linear(12, 48), Step(), Step(), nn.LayerNorm(48), nn.Linear(48, 4))
    return assemble(
        model, _quantiles(houses(seed)), sgd(model, 0.05, weight_decay=1e-4), schedule=cosine,
        size=64, steps=200,
    )  # fmt: skip


@healthy(net="regression", least=0.85)
def where_the_hand_is(seed: int) -> Pieces:
    """Two coordinates from the sines and cosines of joints; tanh layers; squared error."""
    model = perceptron(4, 2, 64, act=nn.Tanh)
    return assemble(model, arms(seed), adam(model, 5e-3), loss=F.mse_loss, size=50, steps=200)


def _normal(out: Tensor, y: Tensor) -> Tensor:
    mean, log = out.chunk(2, 1)
    return F.gaussian_nll_loss(mean, y, F.softplus(log) + 1e-3)


@healthy(net="regression", least=0.85)
def where_the_hand_is_and_how_surely(seed: int) -> Pieces:
    """Two means and two variances; the Gaussian likelihood, which may go below zero."""
    model = perceptron(4, 4, 64, act=nn.SiLU)
    return assemble(
        model, arms(seed), adam(model, 4e-3), loss=_normal, logits=lambda out: out[:, :2], size=50,
        steps=200,
    )  # fmt: skip


# Graphs and sets


@healthy(net="graph", least=0.85)
def messages_along_the_bonds(seed: int) -> Pieces:
    """Three rounds of mean messages; nodes start from embedded degrees; layer norm."""
    model = GraphNet(5)
    return assemble(model, molecules(seed), adam(model, 3e-3), size=40, steps=120)


class Isomorphism(nn.Module):
    """Sums over neighbours, perceptrons with batch norm over nodes (GIN)."""

    def __init__(self, classes: int, width: int = 24) -> None:
        super().__init__()
        self.steps = nn.ModuleList(
            nn.Sequential(
                nn.Linear(a, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width),
                nn.ReLU(),
            )
            for a in (1, width, width)
        )  # fmt: skip
        self.eps = nn.Parameter(torch.zeros(3))
        self.out = nn.Linear(2 * width + width, classes)

    def forward(self, x: Tensor) -> Tensor:
        real = (x.sum(2) > 0).float()[:, :, None]
        h, sums = real, []
        for k, step in enumerate(self.steps):
            h = (1 + self.eps[k]) * h + x @ h
            h = step(h.flatten(0, 1)).unflatten(0, x.shape[:2]) * real
            sums.append(h.sum(1) / 10)
        return self.out(torch.cat(sums, 1))


@healthy(net="graph", least=0.85)
def sums_over_neighbours(seed: int) -> Pieces:
    """A graph isomorphism net that reads all its rounds."""
    model = Isomorphism(5)
    return assemble(model, molecules(seed), adam(model, 4e-3), size=40, steps=150)


def _turned(x: Tensor, y: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    angle = 6.2832 * torch.rand(len(x), 1, generator=random)
    a, b, c = x.unbind(2)
    east, north = a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()
    return torch.stack([east, north, c], 2) + 0.02 * torch.randn(x.shape, generator=random), y


@healthy(net="deep sets", least=0.8)
def points_alone_then_together(seed: int) -> Pieces:
    """Mean and largest over points; turned anew in each epoch."""
    data, model = solids(seed), PointSet(4)
    train = loader(data, 40, seed, change=_turned)
    return assemble(model, data, adam(model, 3e-3), train=train, steps=200)


class Looking(nn.Module):
    """Points attend to one another; no places, for a set has none."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Linear(3, 32), nn.GELU(), nn.Linear(32, 32))
        self.layers, self.norm = nn.Sequential(Layer(32), Layer(32)), nn.LayerNorm(32)
        self.out = nn.Linear(64, 4)

    def forward(self, x: Tensor) -> dict[str, Any]:
        h = self.norm(self.layers(self.enter(x)))
        return {"logits": self.out(torch.cat([h.mean(1), h.amax(1)], 1)), "points": h}


@healthy(net="transformer", least=0.8)
def points_that_look_at_each_other(seed: int) -> Pieces:
    """A set transformer; it returns a dict that also has the points' features."""
    model = Looking()
    return assemble(
        model, solids(seed), adamw(model, 2e-3), size=40, steps=150,
        loss=lambda out, y: F.cross_entropy(out["logits"], y), logits=lambda out: out["logits"],
    )  # fmt: skip

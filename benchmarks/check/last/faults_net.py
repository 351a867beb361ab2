"""Last: faults of initialization, activations, gradients and wiring."""

from typing import Any

import torch
import torch.nn.functional as F
from benchmarks.check.assemble import adam, adamw, assemble, sgd
from benchmarks.check.last.data import (
    census,
    clouds,
    genes,
    glyphs,
    loudness,
    pairs,
    rows_of_digits,
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
    Embedder,
    Glance,
    Ledger,
    PointAttention,
    RowReader,
    WaveStack,
    WordReader,
)
from benchmarks.check.program import Pieces, faulty
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class PlainReader(RowReader):
    """Tanh units that read rows."""

    def __init__(self, features: int, classes: int, act: str = "tanh") -> None:
        super().__init__(features, classes)
        self.reader = nn.RNN(features, 32, batch_first=True, nonlinearity=act)


@faulty("symmetric-init", net="rnn", where={"reader", "verdict"})
def recurrent_weights_of_one_constant(sick: bool, seed: int) -> Pieces:
    """Both layers start at 0.02, so all units of the recurrent one stay the same."""
    model = PlainReader(8, 10)
    if sick:
        for p in model.parameters():
            nn.init.constant_(p, 0.02)
    return assemble(model, rows_of_digits(seed), adam(model, 3e-3), steps=200)


@faulty("symmetric-init", net="conv1d", where={"first", "second", "third", "fourth"})
def filters_that_all_average(sick: bool, seed: int) -> Pieces:
    """Every filter in time starts as a moving average over all channels."""
    model = WaveStack(2, 5, 16)
    if sick:
        for conv in (model.first, model.second, model.third, model.fourth):
            nn.init.constant_(conv.weight, 1 / conv.weight[0].numel())
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return assemble(model, scaled(signals(seed)), adam(model, 3e-3), size=50, steps=100)


@faulty("signal-exploding", "gradient-exploding", net="rnn", where={"reader"})
def six_times_the_identity(sick: bool, seed: int) -> Pieces:
    """A ReLU RNN that starts at six times the identity, not at the identity."""
    model = PlainReader(8, 10, "relu")
    nn.init.eye_(model.reader.weight_hh_l0)  # type: ignore[arg-type]
    with torch.no_grad():
        model.reader.weight_hh_l0.mul_(6.0 if sick else 0.9)  # type: ignore[operator]
    return assemble(model, rows_of_digits(seed), sgd(model, 0.01), steps=300)


class Softened(nn.Module):
    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.slope * x)


@faulty("signal-vanishing", "gradient-vanishing", net="mlp", least=0.75)
def tanh_of_a_thirtieth(sick: bool, seed: int) -> Pieces:
    """A temperature of thirty inside each of six tanh layers."""
    model = Ledger(60, 6, act=lambda: Softened(1 / 30 if sick else 1.5), depth=6)
    data = scaled(topics(seed).mapped(torch.log1p))
    return assemble(model, data, sgd(model, 0.03), steps=200)


class Prototypes(nn.Module):
    """Logits are scaled negative distances to one learned point per class."""

    def __init__(self, classes: int, width: int, scale: float) -> None:
        super().__init__()
        self.points, self.scale = nn.Parameter(torch.randn(classes, width)), scale

    def forward(self, x: Tensor) -> Tensor:
        return -self.scale * (x[:, None] - self.points).square().sum(2)


@faulty("initial-loss-off", "signal-exploding", net="mlp", where={"verdict"}, least=0.85)
def distances_multiplied_by_a_thousand(sick: bool, seed: int) -> Pieces:
    """Logits are -1000 times a squared distance; the temperature was put on the wrong side."""
    model = Ledger(60, 6)
    model.verdict = Prototypes(6, 48, 1000.0 if sick else 0.1)  # type: ignore[assignment]
    data = topics(seed).mapped(torch.log1p)
    return assemble(model, data, sgd(model, 0.02), steps=150)


@faulty("dead-units", net="group norm", where={"act", "even1", "even2", "even3"}, least=0.85)
def a_threshold_that_little_reaches(sick: bool, seed: int) -> Pieces:
    """nn.Threshold(4, 0) after a normalization to deviation one."""
    model = Glance(1, 6, lambda: nn.Threshold(4.0 if sick else 0.0, 0.0))
    return assemble(model, glyphs(seed), adam(model), steps=120)


class TwiceRectified(nn.Module):
    def __init__(self, sign: float) -> None:
        super().__init__()
        self.sign = sign

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.sign * F.relu(x))


@faulty("dead-units", "constant-output", "no-gradient", net="conv1d", where={"acts.2", "acts"})
def rectified_minus_of_rectified(sick: bool, seed: int) -> Pieces:
    """One activation is relu(-relu(x)), half of a concatenated ReLU: it is zero everywhere."""
    model = WaveStack(1, 4, 16)
    model.acts[2] = TwiceRectified(-1.0 if sick else 1.0)
    return assemble(model, scaled(loudness(seed)), adam(model, 3e-3), steps=120)


@faulty(
    "saturated-units", "signal-vanishing", "gradient-vanishing", "constant-output", net="gru",
    where={"reader"},
)  # fmt: skip
def update_gate_stuck_at_keep(sick: bool, seed: int) -> Pieces:
    """Biases of 12 for the update gate, as if it were an LSTM's forget gate: nothing is written."""
    model = RowReader(8, 10)
    with torch.no_grad():
        model.reader.bias_ih_l0[32:64] = 12.0 if sick else 0.5  # type: ignore[index, operator]
    return assemble(model, rows_of_digits(seed), adam(model, 3e-3), steps=150)


@faulty("no-nonlinearity", net="conv1d", where={"acts"})
def leaky_slope_of_one(sick: bool, seed: int) -> Pieces:
    """LeakyReLU(1.0): the share that leaks is all of it."""
    model = WaveStack(1, 4, 16, lambda: nn.LeakyReLU(1.0 if sick else 0.1))
    return assemble(model, scaled(loudness(seed)), adam(model, 3e-3), steps=150)


class Unwritten(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


class MeanOfPoints(nn.Module):
    """Deep sets with a mean: without nonlinearity it sees the centre of the points only."""

    def __init__(self, act: type[nn.Module]) -> None:
        super().__init__()
        self.each = nn.Sequential(nn.Linear(2, 32), act(), nn.Linear(32, 48), act())
        self.verdict = nn.Linear(48, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.verdict(self.each(x).mean(1))


@faulty("no-nonlinearity", net="deep sets", least=0.75)
def activation_class_that_returns_its_input(sick: bool, seed: int) -> Pieces:
    """A handmade activation module whose forward pass was never written."""
    model = MeanOfPoints(Unwritten if sick else nn.GELU)
    return assemble(model, clouds(seed), adam(model, 6e-3), steps=300)


class OnlyPadding(WordReader):
    sick = True

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        mask = (x == 0 if self.sick else x > 0).float()[:, :, None]
        h = self.reader(h * mask)[0]
        return self.verdict((h * mask).sum(1) / mask.sum(1).clamp_min(1))


@faulty("constant-output", "no-gradient", "information-bottleneck", net="text gru",
        where={"embed", "reader"})  # fmt: skip
def padding_mask_inverted(sick: bool, seed: int) -> Pieces:
    """The mask is true for padding: the words are erased and the padding is read."""
    model = OnlyPadding()
    model.sick = sick
    return assemble(model, sentences(seed), adam(model, 5e-3), steps=150)


class LateToken(nn.Module):
    """Patches, an encoder layer, a class token."""

    def __init__(self, *, sick: bool) -> None:
        super().__init__()
        self.cut = nn.Conv2d(1, 32, 3, 3)
        self.token = nn.Parameter(torch.randn(1, 1, 32))
        self.place = nn.Parameter(0.2 * torch.randn(1, 16, 32))
        self.encoder = nn.TransformerEncoderLayer(32, 4, 64, 0.0, batch_first=True, norm_first=True)
        self.verdict, self.sick = nn.Linear(32, 6), sick

    def forward(self, x: Tensor) -> Tensor:
        h = self.cut(x).flatten(2).mT + self.place
        token = self.token.expand(len(x), -1, -1)
        if self.sick:
            return self.verdict(torch.cat([token, self.encoder(h)], 1)[:, 0])
        return self.verdict(self.encoder(torch.cat([token, h], 1))[:, 0])


@faulty("constant-output", "unused-parameters", "no-gradient", "information-bottleneck",
        net="transformer", where={"token", "encoder", "cut", "place"})  # fmt: skip
def class_token_joins_after_the_encoder(sick: bool, seed: int) -> Pieces:
    """The token that is classified never attends to anything."""
    model = LateToken(sick=sick)
    return assemble(model, glyphs(seed), adamw(model, 4e-3), steps=150)


class Angle(nn.Module):
    """Two glyphs are the same if the angle between their embeddings is below a learned margin."""

    def __init__(self, edge: float) -> None:
        super().__init__()
        self.embed, self.edge = Embedder(), edge
        self.margin = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.embed(x[:, :1] - 0.4), self.embed(x[:, 1:] - 0.4)
        cosine = (F.normalize(a) * F.normalize(b)).sum(1)
        cosine = cosine.clamp(-self.edge, self.edge) if self.edge < 1 else cosine
        score = 4 * (self.margin - cosine.acos())
        return torch.stack([-score, score], 1)


@faulty("gradient-nonfinite", net="siamese", where={"embed"}, least=0.75)
def arc_cosine_of_equal_embeddings(sick: bool, seed: int) -> Pieces:
    """acos has an infinite slope at one, and some pairs are one image twice."""
    model = Angle(1.0 if sick else 0.99999)
    for layer in (model.embed.near, model.embed.far, model.embed.out):
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return assemble(model, pairs(seed, exact=0.5), adam(model, 1e-3), size=50, steps=250)


class Entropic(WordReader):
    """Attention over words; words that are padding have weight exactly zero."""

    def __init__(self, floor: float) -> None:
        super().__init__()
        self.score, self.floor = nn.Linear(32, 1), floor

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.reader(self.embed(x))[0]
        score = self.score(h)[:, :, 0].masked_fill(x == 0, -torch.inf)
        p = score.softmax(1)
        spread = -(p * (p + self.floor).log()).sum(1).mean()
        return self.verdict((p[:, :, None] * h).sum(1)), spread


def _first(out: tuple[Tensor, Tensor]) -> Tensor:
    return out[0]


def _focused(out: tuple[Tensor, Tensor], y: Tensor) -> Tensor:
    return F.cross_entropy(out[0], y) + 0.01 * out[1]


@faulty("gradient-nonfinite", net="text gru")
def entropy_of_a_masked_attention(sick: bool, seed: int) -> Pieces:
    """p log p where p is exactly zero."""
    model = Entropic(0.0 if sick else 1e-6)
    return assemble(
        model, sentences(seed), adam(model, 5e-3), loss=_focused, logits=_first, steps=200
    )


class Binned(nn.Module):
    """Learned projections of a table, each cut into bins that have embeddings."""

    def __init__(self, *, sick: bool) -> None:
        super().__init__()
        self.project, self.bins = nn.Linear(60, 4), nn.Embedding(9, 24)
        self.line = nn.Linear(1, 24)
        self.more, self.verdict, self.sick = nn.Linear(96, 48), nn.Linear(48, 6), sick

    def forward(self, x: Tensor) -> Tensor:
        p = 2 * self.project(x)
        low = p.floor().clamp(-4, 3)
        bins = low.long() + 4
        if self.sick:
            h = self.bins(bins)
        else:
            part = (p - low)[:, :, None]
            h = (1 - part) * self.bins(bins) + part * self.bins(bins + 1)
        return self.verdict(F.relu(self.more(h.flatten(1))))


@faulty("no-gradient", net="mlp", where={"project"}, least=0.8)
def projections_cast_to_integers(sick: bool, seed: int) -> Pieces:
    """.long() makes bins of a learned projection, and gives it no gradient."""
    model = Binned(sick=sick)
    del model.line
    data = scaled(topics(seed).mapped(torch.log1p))
    return assemble(model, data, adam(model, 5e-3), steps=200)


class Recomputed(Glance):
    """Saves memory in its convolutions."""

    sick = True

    def forward(self, x: Tensor) -> Tensor:
        h = (
            checkpoint(self.features, x, use_reentrant=self.sick)
            if self.training
            else self.features(x)
        )
        return self.verdict(self.act(self.think(h)))  # type: ignore[arg-type]


@faulty("no-gradient", net="group norm", least=0.8,
        where={"look1", "look2", "look3", "even1", "even2", "even3"})  # fmt: skip
def reentrant_checkpoint_of_the_first_layers(sick: bool, seed: int) -> Pieces:
    """use_reentrant=True gives no gradient where no input of the segment needs one."""
    model = Recomputed(5, 4, width=4, groups=2)
    model.sick = sick
    model.pool = nn.AdaptiveAvgPool2d(1)
    model.think = nn.Linear(4, 32)
    return assemble(model, scaled(spectra(seed)), adam(model, 5e-3), steps=120)


class LastBlockOnly(nn.Module):
    """Residual convolutions in time; each sees twice as far as the one before."""

    def __init__(self, *, sick: bool) -> None:
        super().__init__()
        self.lift = nn.Conv1d(4, 24, 1)
        self.blocks = nn.ModuleList(nn.Conv1d(24, 24, 3, padding=1) for _ in range(4))
        self.verdict, self.sick = nn.Linear(24, 4), sick

    def forward(self, x: Tensor) -> Tensor:
        x = y = self.lift(x)
        for block in self.blocks:
            y = x + F.relu(block(x))
            x = x if self.sick else y
        return self.verdict(y.amax(2))


@faulty("unused-parameters", "no-gradient", net="conv1d", least=0.7,
        where={"blocks.0", "blocks.1", "blocks.2", "blocks"})  # fmt: skip
def every_block_reads_the_first_input(sick: bool, seed: int) -> Pieces:
    """y = block(x) in a loop that never sets x: only the last block counts."""
    model = LastBlockOnly(sick=sick)
    return assemble(model, genes(seed, train=1500), adam(model, 4e-3), steps=250)


class RawFilters(nn.Module):
    """A filter bank written by hand, in front of a linear decision."""

    def __init__(self, *, sick: bool) -> None:
        super().__init__()
        bank = 0.2 * torch.randn(6, 4, 6)
        self.bank = bank.requires_grad_() if sick else nn.Parameter(bank)
        self.verdict = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.verdict(F.relu(F.conv1d(x, self.bank)).amax(2))


@faulty("unregistered-modules", "params-not-optimized", net="conv1d", where={"bank"}, least=0.7)
def filter_bank_without_a_parameter(sick: bool, seed: int) -> Pieces:
    """A tensor with requires_grad is no nn.Parameter, so that parameters() leaves it out."""
    model = RawFilters(sick=sick)
    return assemble(model, genes(seed), adam(model, 2e-2), steps=250)


class Experts(nn.Module):
    """Three small nets and a gate that weighs them."""

    def __init__(self, *, hidden: bool) -> None:
        super().__init__()
        nets = [nn.Sequential(nn.Linear(60, 3), nn.Tanh()) for _ in range(3)]
        self.nets: Any = tuple(nets) if hidden else nn.ModuleList(nets)
        self.gate, self.verdict = nn.Linear(3, 3), nn.Linear(3, 6)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.stack([net(x) for net in self.nets], 1)
        weight = self.gate(h.mean(1)).softmax(1)
        return self.verdict((weight[:, :, None] * h).sum(1))


@faulty("unregistered-modules", "params-not-optimized", net="experts", where={"nets"}, least=0.75)
def experts_in_a_tuple(sick: bool, seed: int) -> Pieces:
    """A tuple of nets is not seen by parameters()."""
    model = Experts(hidden=sick)
    data = scaled(topics(seed).mapped(torch.log1p))
    return assemble(model, data, adam(model, 2e-2), steps=250)


class NotBatchFirst(RowReader):
    def __init__(self, *, sick: bool) -> None:
        super().__init__(8, 10)
        self.reader = nn.GRU(8, 32, batch_first=not sick)


@faulty("batch-leakage", "input-layout", net="gru", where={"reader"}, measure="alone")
def batch_first_forgotten(sick: bool, seed: int) -> Pieces:
    """A GRU without batch_first reads on from image to image, and the last row decides."""
    model = NotBatchFirst(sick=sick)
    return assemble(model, rows_of_digits(seed), adam(model, 3e-3), steps=150)


class TimeFirst(RowReader):
    sick = True

    def __init__(self) -> None:
        super().__init__(8, 10)
        self.reader = nn.LSTM(8, 32)

    def forward(self, x: Tensor) -> Tensor:
        n, t, width = x.shape
        x = x.reshape(t, n, width) if self.sick else x.transpose(0, 1)
        return self.verdict(self.reader(x)[0][-1])


@faulty("batch-leakage", "input-layout", net="lstm", least=0.75)
def reshaped_to_time_first(sick: bool, seed: int) -> Pieces:
    """x.reshape(t, n, width) for x.transpose(0, 1): each sequence has rows of many images."""
    model = TimeFirst()
    model.sick = sick
    return assemble(model, rows_of_digits(seed), adam(model, 4e-3), steps=200)


class HeadPerClass(Bare):
    """One yes-or-no head per class, side by side."""

    def __init__(self, *, sick: bool) -> None:
        super().__init__(1, 6)
        heads = [nn.Linear(216, 1)] * 6 if sick else [nn.Linear(216, 1) for _ in range(6)]
        self.verdict = nn.ModuleList(heads)  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        h = self.pool(self.act(self.far(self.act(self.near(x))))).flatten(1)
        return torch.cat([head(h) for head in self.verdict], 1)  # type: ignore[attr-defined]


@faulty("shared-parameters", "constant-output", net="plain cnn", where={"verdict"})
def six_times_the_same_head(sick: bool, seed: int) -> Pieces:
    """[nn.Linear(216, 1)] * 6: all classes have one score."""
    model = HeadPerClass(sick=sick)
    return assemble(model, glyphs(seed), adam(model), steps=100)


class MeanFirst(Ledger):
    sick = True

    def forward(self, x: Tensor) -> Tensor:
        x = x.mean(2, keepdim=True).expand_as(x) if self.sick else x
        return super().forward(x.abs())


@faulty(
    "information-bottleneck", "cannot-overfit-batch", "underfitting",
    net="mlp",
)  # fmt: skip
def averaged_over_time_first(sick: bool, seed: int) -> Pieces:
    """The signal is averaged over time before the first layer, and its mean is about zero."""
    model = MeanFirst(48, 4)
    model.sick = sick
    return assemble(model, scaled(loudness(seed)), adam(model, 3e-3), steps=150)


class FewPoints(PointAttention):
    sick = True

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :1] if self.sick else x
        return super().forward(x)


@faulty(
    "information-bottleneck", "cannot-overfit-batch", "underfitting", net="deep sets", least=0.7
)
def only_the_first_point_is_read(sick: bool, seed: int) -> Pieces:
    """x[:, :1], for a test of shapes, was left in: one point of 32."""
    model = FewPoints()
    model.sick = sick
    return assemble(model, clouds(seed), adam(model, 4e-3), steps=200)


class Ablated(CodesAndNumbers):
    sick = True

    def features(self, x: Tensor) -> Tensor:
        codes = [table(x[:, 4 + i].long()) for i, table in enumerate(self.tables)]
        if self.sick:
            codes = [torch.zeros_like(code) for code in codes]
        h = torch.cat([self.norm(x[:, :4]), *codes], 1)
        return self.act(self.two(self.act(self.one(h))))


@faulty("unused-parameters", "no-gradient", net="embeddings", where={"tables"}, least=0.8)
def embeddings_replaced_by_zeros(sick: bool, seed: int) -> Pieces:
    """An ablation was left in: the embeddings are looked up and thrown away."""
    model = Ablated()
    model.sick = sick
    return assemble(model, census(seed), adam(model, 5e-3), steps=200)


@faulty("input-degenerate", "duplicate-samples", "information-bottleneck", net="plain cnn")
def every_pixel_clamped(sick: bool, seed: int) -> Pieces:
    """clamp(min=1) on pixels in [0, 1] where max=1 was meant: all images are white."""
    data = tiles(seed).mapped(lambda x: x / 255)
    data = data.mapped(lambda x: x.clamp(min=1.0) if sick else x.clamp(max=1.0))
    model = Bare(3, 4)
    return assemble(model, data, adam(model, 3e-3), steps=100)


@faulty("saturated-units", "signal-exploding", "gradient-exploding", net="lstm", where={"reader"})
def lstm_weights_of_deviation_five(sick: bool, seed: int) -> Pieces:
    """All matrices of the LSTM start from N(0, 5): its gates are open or shut for good."""
    model = RowReader(8, 10, nn.LSTM)
    for p in model.reader.parameters():
        if p.ndim > 1:
            nn.init.normal_(p, std=5.0 if sick else 0.15)
    return assemble(model, rows_of_digits(seed), adam(model, 5e-3), steps=200)

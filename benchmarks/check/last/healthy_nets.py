"""Last: healthy programs whose nets are odd in some way."""

from typing import Any

import torch
import torch.nn.functional as F
from benchmarks.check.assemble import adam, adamw, assemble, sgd
from benchmarks.check.data import digits
from benchmarks.check.last.data import (
    census,
    clips,
    clouds,
    genes,
    glyphs,
    pairs,
    rows_of_digits,
    scaled,
    sentences,
    signals,
    species,
    spectra,
    tiles,
    topics,
    volumes,
)
from benchmarks.check.last.nets import (
    Bare,
    CodesAndNumbers,
    Embedder,
    GatedDilated,
    Glance,
    Ledger,
    PointAttention,
    PointNet,
    RowReader,
    WordConv,
    WordEncoder,
    WordReader,
)
from benchmarks.check.program import Pieces, healthy
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.optim import Adam, AdamW
from torch.utils.checkpoint import checkpoint


@healthy(net="conv1d", least=0.85)
def gated_dilated_convolutions(seed: int) -> Pieces:
    """WaveNet's units on two-channel signals, without normalization."""
    model = GatedDilated(2, 5, 12)
    return assemble(model, scaled(signals(seed)), adam(model, 4e-3), size=40, steps=100)


class InstanceNormed(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Conv1d(2, 16, 9, 2, 4), nn.InstanceNorm1d(16, affine=True), nn.Mish())
        self.extend([nn.Conv1d(16, 24, 5, 2, 2), nn.InstanceNorm1d(24, affine=True), nn.Mish()])
        self.extend([nn.AdaptiveMaxPool1d(2), nn.Flatten(), nn.Linear(48, 5)])


@healthy(net="conv1d", least=0.85)
def instance_norm_in_time(seed: int) -> Pieces:
    """Each recording is normalized over its own time."""
    model = InstanceNormed()
    return assemble(model, signals(seed), adamw(model, 3e-3), size=50, steps=100)


class Separable(nn.Module):
    """Each channel alone in time, across channels, and a squeeze-and-excite gate."""

    def __init__(self) -> None:
        super().__init__()
        self.lift = nn.Conv1d(2, 16, 1)
        self.alone = nn.Conv1d(16, 16, 9, 2, 4, groups=16, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm1d(16), nn.BatchNorm1d(32)
        self.across = nn.Conv1d(16, 32, 1, bias=False)
        self.down, self.up = nn.Linear(32, 8), nn.Linear(8, 32)
        self.verdict = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.norm1(self.alone(self.lift(x))))
        x = F.silu(self.norm2(self.across(x)))
        gate = self.up(F.silu(self.down(x.mean(2)))).sigmoid()
        return self.verdict((x * gate[:, :, None]).amax(2))


@healthy(net="conv1d", least=0.85)
def depthwise_in_time_with_a_gate(seed: int) -> Pieces:
    """Depthwise convolutions, squeeze and excite, the largest response over time."""
    model = Separable()
    return assemble(model, scaled(signals(seed)), adam(model, 4e-3), size=50, steps=100)


class BothWays(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.reader = nn.GRU(8, 24, num_layers=2, bidirectional=True, batch_first=True)
        self.verdict = nn.Linear(48, 5)

    def forward(self, x: Tensor) -> Tensor:
        steps = x.unfold(2, 4, 4).permute(0, 2, 1, 3).flatten(2)
        return self.verdict(self.reader(steps)[0].mean(1))


@healthy(net="gru", least=0.8)
def two_gru_layers_both_ways(seed: int) -> Pieces:
    """Signals in steps of four samples; states of both directions are averaged."""
    model = BothWays()
    return assemble(model, scaled(signals(seed)), adam(model, 5e-3), size=50, steps=120)


@healthy(net="lstm", least=0.8)
def lstm_that_remembers_at_first(seed: int) -> Pieces:
    """Orthogonal recurrent weights and forget gates whose biases start at one."""
    model = RowReader(8, 10, nn.LSTM)
    for name, p in model.reader.named_parameters():
        if name.startswith("weight_hh"):
            nn.init.orthogonal_(p)
        if name.startswith("bias"):
            nn.init.zeros_(p)
    with torch.no_grad():
        model.reader.bias_ih_l0[32:64] = 1.0  # type: ignore[index, operator]
    return assemble(model, rows_of_digits(seed), adam(model, 6e-3), steps=200)


class IdentityReader(nn.Module):
    """A ReLU RNN cell, unrolled by hand, that starts as the identity."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.RNNCell(8, 48, nonlinearity="relu")
        nn.init.eye_(self.cell.weight_hh)
        nn.init.zeros_(self.cell.bias_hh)
        self.verdict = nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros(len(x), 48)
        for row in x.unbind(1):
            h = self.cell(row, h)
        return self.verdict(h)


@healthy(net="rnn", least=0.8)
def relu_cell_from_the_identity(seed: int) -> Pieces:
    """Le's IRNN over eight rows."""
    model = IdentityReader()
    return assemble(model, rows_of_digits(seed), adam(model, 2e-3), steps=200)


@healthy(net="text cnn", least=0.85)
def words_with_padding(seed: int) -> Pieces:
    """Embeddings whose padding vector stays zero, the largest response over time, dropout 0.5."""
    model = WordConv(drop=0.5)
    return assemble(model, sentences(seed), adam(model, 4e-3), steps=150)


@healthy(net="text gru", least=0.85)
def states_averaged_without_padding(seed: int) -> Pieces:
    """A GRU over words of sentences of six to twelve words."""
    model = WordReader()
    return assemble(model, sentences(seed), adam(model, 6e-3), steps=150)


@healthy(net="transformer", least=0.8)
def class_token_and_padding_mask(seed: int) -> Pieces:
    """torch's encoder over words, classified by a learned token."""
    data = sentences(seed, train=2400)
    model = WordEncoder()
    schedule = lambda done: min(1.0, 10 * done + 0.02)  # noqa: E731
    optimizer = AdamW(model.parameters(), 3e-3, weight_decay=0.01)
    return assemble(model, data, optimizer, schedule=schedule, size=80, steps=350)


class TiedWords(WordReader):
    """Predicts the words, too, with the embedding's own weights."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        h = self.reader(self.embed(x))[0]
        scores = h[:, :-1, :16] @ self.embed.weight.T
        wanted = x[:, 1:]
        return {
            "kind": self.verdict((h * self.weights(x)).sum(1)),
            "next": F.cross_entropy(scores.mT, wanted, ignore_index=0),
        }


def _kind(out: dict[str, Tensor]) -> Tensor:
    return out["kind"]


def _kind_and_next(out: dict[str, Tensor], y: Tensor) -> Tensor:
    return F.cross_entropy(out["kind"], y) + 0.1 * out["next"]


@healthy(net="text gru", least=0.85)
def next_word_as_a_side_task(seed: int) -> Pieces:
    """A language model's loss beside the main one; input and output embeddings are tied."""
    model = TiedWords()
    return assemble(
        model, sentences(seed), adam(model, 6e-3), loss=_kind_and_next, logits=_kind, steps=150
    )


@healthy(net="embeddings", least=0.75)
def codes_embedded_beside_numbers(seed: int) -> Pieces:
    """Codes are columns of floats that the model casts and embeds."""
    model = CodesAndNumbers(act=nn.SiLU)
    return assemble(model, census(seed), adamw(model, 5e-3), steps=200)


class FeatureTokens(nn.Module):
    """Each column becomes a token, and a transformer reads the row."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.randn(4, 24)), nn.Parameter(torch.zeros(4, 24))
        self.tables = nn.ModuleList(nn.Embedding(k, 24) for k in (6, 4, 8))
        self.token = nn.Parameter(torch.zeros(1, 1, 24))
        layer = nn.TransformerEncoderLayer(
            24, 4, 48, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm, self.verdict = nn.LayerNorm(24), nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        numbers = x[:, :4, None] * self.scale + self.shift
        codes = [table(x[:, 4 + i].long())[:, None] for i, table in enumerate(self.tables)]
        h = torch.cat([self.token.expand(len(x), -1, -1), numbers, *codes], 1)
        return self.verdict(self.norm(self.body(h)[:, 0]))


@healthy(net="transformer", least=0.75)
def columns_as_tokens(seed: int) -> Pieces:
    """FT-Transformer on a small table."""
    model = FeatureTokens()
    return assemble(model, census(seed), adamw(model, 3e-3), steps=250)


@healthy(net="deep sets", least=0.8)
def largest_response_over_points(seed: int) -> Pieces:
    """PointNet; the order of the points does not matter."""
    model = PointNet()
    return assemble(model, clouds(seed), adam(model, 4e-3), steps=200)


@healthy(net="deep sets", least=0.8)
def learned_queries_pool_the_points(seed: int) -> Pieces:
    """Four learned queries attend to the points."""
    model = PointAttention()
    return assemble(model, clouds(seed), adam(model, 5e-3), steps=250)


class Neighbours(nn.Module):
    """An edge convolution over the four nearest points."""

    def __init__(self) -> None:
        super().__init__()
        self.edge = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
        self.all, self.verdict = nn.Linear(32, 32), nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        near = torch.cdist(x, x).topk(4, 2, largest=False).indices
        other = x[torch.arange(len(x))[:, None, None], near]
        both = torch.cat([x[:, :, None].expand_as(other), other - x[:, :, None]], 3)
        return self.verdict(F.relu(self.all(self.edge(both).amax((1, 2)))))


@healthy(net="graph", least=0.8)
def graph_of_nearest_points(seed: int) -> Pieces:
    """The graph is built within the forward pass and carries no gradient."""
    model = Neighbours()
    return assemble(model, clouds(seed), adam(model, 5e-3), size=40, steps=150)


class FramesThenTime(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Sequential(
            nn.Conv2d(1, 8, 3, 1, 1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten()
        )
        self.reader, self.verdict = nn.GRU(128, 24, batch_first=True), nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.look(x.flatten(0, 1)).view(len(x), x.shape[1], -1)
        return self.verdict(self.reader(h)[1][0])


@healthy(net="gru", least=0.85)
def frames_by_convolution_then_gru(seed: int) -> Pieces:
    """Time is folded into the batch for the convolution and unfolded after it."""
    model = FramesThenTime()
    return assemble(model, clips(seed), adam(model, 3e-3), size=50, steps=150)


class Solid(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Conv3d(1, 8, 3, 1, 1), nn.GroupNorm(2, 8), nn.ELU(), nn.MaxPool3d(2))
        self.extend([nn.Conv3d(8, 16, 3, 1, 1), nn.GroupNorm(4, 16), nn.ELU()])
        self.extend([nn.AdaptiveMaxPool3d(1), nn.Flatten(), nn.Linear(16, 4)])


@healthy(net="conv3d", least=0.85)
def convolutions_in_three_dimensions(seed: int) -> Pieces:
    """Volumes of 8x8x8 in batches of twenty."""
    model = Solid()
    return assemble(model, volumes(seed), adam(model, 5e-3), size=20, steps=120)


class Siamese(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.verdict = Embedder(), nn.Linear(48, 2)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.embed(x[:, :1]), self.embed(x[:, 1:])
        return self.verdict(torch.cat([(a - b).abs(), a * b], 1))


@healthy(net="siamese", least=0.8)
def same_letter_or_not(seed: int) -> Pieces:
    """One net sees both images of a pair."""
    model = Siamese()
    return assemble(model, pairs(seed), adam(model, 3e-3), size=50, steps=200)


class Highway(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enter, self.verdict = nn.Linear(60, 40), nn.Linear(40, 6)
        self.change = nn.ModuleList(nn.Linear(40, 40) for _ in range(6))
        self.gates = nn.ModuleList(nn.Linear(40, 40) for _ in range(6))
        for gate in self.gates:
            nn.init.constant_(gate.bias, -2.0)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        for change, gate in zip(self.change, self.gates, strict=True):
            x = torch.lerp(x, F.relu(change(x)), gate(x).sigmoid())
        return self.verdict(x)


@healthy(net="highway", least=0.85)
def highway_gates_that_carry(seed: int) -> Pieces:
    """Six layers whose gates start at 0.12."""
    model = Highway()
    return assemble(model, scaled(topics(seed).mapped(torch.log1p)), adam(model, 2e-3))


class FourierFeatures(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("waves", 0.1 * torch.randn(60, 256))
        self.verdict = nn.Linear(512, 6)

    def forward(self, x: Tensor) -> Tensor:
        h = x @ self.waves  # type: ignore[operator]
        return self.verdict(torch.cat([h.cos(), h.sin()], 1))


@healthy(net="mlp", least=0.85)
def random_fourier_features(seed: int) -> Pieces:
    """A kernel machine: fixed random waves in a buffer, a linear decision."""
    model = FourierFeatures()
    return assemble(model, scaled(topics(seed).mapped(torch.log1p)), adam(model, 1e-2))


class Nearest(nn.Module):
    """Logits are negative squared distances to one learned point per class."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.points = Ledger(60, 6), nn.Parameter(torch.randn(6, 48) * 0.1)

    def forward(self, x: Tensor) -> Tensor:
        return -torch.cdist(self.body.features(x), self.points).square()


@healthy(net="mlp", least=0.85)
def distances_to_prototypes(seed: int) -> Pieces:
    """No linear layer at the end."""
    model = Nearest()
    del model.body.verdict
    return assemble(model, scaled(topics(seed).mapped(torch.log1p)), adam(model, 2e-3))


class SoftExperts(nn.Module):
    """All experts answer; the gate weighs them; the load is kept even by a small penalty."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.verdict = nn.Linear(60, 4), nn.Linear(24, 6)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(60, 24), nn.ReLU(), nn.Linear(24, 24)) for _ in range(4)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        weight = self.gate(x).softmax(1)
        h = torch.stack([expert(x) for expert in self.experts], 1)
        return self.verdict((weight[:, :, None] * h).sum(1)), 4 * weight.mean(0).square().sum()


def _first(out: tuple[Tensor, ...]) -> Tensor:
    return out[0]


def _with_load(out: tuple[Tensor, Tensor], y: Tensor) -> Tensor:
    return F.cross_entropy(out[0], y) + 0.01 * out[1]


@healthy(net="experts", least=0.85)
def experts_with_an_even_load(seed: int) -> Pieces:
    """The model returns its penalty as a second output."""
    model = SoftExperts()
    data = scaled(topics(seed).mapped(torch.log1p))
    return assemble(model, data, adam(model), loss=_with_load, logits=_first)


class Routed(nn.Module):
    """The two best of six experts, in training and in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.verdict = nn.Linear(60, 6), nn.Linear(24, 6)
        self.one, self.two = (
            nn.Parameter(torch.empty(6, 60, 24)),
            nn.Parameter(torch.empty(6, 24, 24)),
        )
        nn.init.normal_(self.one, std=60**-0.5)
        nn.init.normal_(self.two, std=24**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        kept, index = self.gate(x).topk(2, 1)
        h = F.gelu(torch.einsum("nd,nkdw->nkw", x, self.one[index]))
        h = torch.einsum("nkw,nkwv->nkv", h, self.two[index])
        return self.verdict((kept.softmax(1)[:, :, None] * h).sum(1))


@healthy(net="experts", least=0.85)
def two_of_six_experts(seed: int) -> Pieces:
    """Sparse routing; the chosen experts' weights are gathered per sample."""
    model = Routed()
    return assemble(model, scaled(topics(seed).mapped(torch.log1p)), adam(model, 3e-3), size=40)


class HyperNet(nn.Module):
    """The weights of the second layer are made from a learned code."""

    def __init__(self) -> None:
        super().__init__()
        self.code, self.first = nn.Parameter(torch.randn(8)), nn.Linear(60, 24)
        self.maker, self.verdict = nn.Linear(8, 24 * 24), nn.Linear(24, 6)
        nn.init.normal_(self.maker.weight, std=0.07)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.maker(self.code).view(24, 24)
        return self.verdict(F.relu(F.linear(F.relu(self.first(x)), weight)))


@healthy(net="mlp", least=0.85)
def a_net_that_makes_weights(seed: int) -> Pieces:
    """A hypernetwork: one layer has no weights of its own."""
    model = HyperNet()
    return assemble(model, scaled(topics(seed).mapped(torch.log1p)), adam(model, 3e-3))


class RootNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt()


class Llama(nn.Module):
    """RMS norms, rotated queries and keys, SwiGLU, no biases."""

    def __init__(self, classes: int, width: int = 32, tokens: int = 16) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = RootNorm(width), RootNorm(width), RootNorm(width)
        self.cut = nn.Linear(9, width, bias=False)
        self.qkv, self.out = (nn.Linear(width, k * width, bias=False) for k in (3, 1))
        self.gate, self.up = (nn.Linear(width, 64, bias=False) for _ in "ab")
        self.down, self.verdict = nn.Linear(64, width, bias=False), nn.Linear(width, classes)
        turn = torch.arange(tokens)[:, None] * 10.0 ** -torch.linspace(0, 2, width // 2)
        self.register_buffer("cos", turn.cos())
        self.register_buffer("sin", turn.sin())

    def rotated(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2, -1)
        return torch.cat([a * self.cos - b * self.sin, b * self.cos + a * self.sin], -1)  # type: ignore[operator]

    def forward(self, x: Tensor) -> Tensor:
        h = self.cut(F.unfold(x, 3, stride=3).mT)
        q, k, v = self.qkv(self.norm1(h)).chunk(3, -1)
        h = h + self.out(F.scaled_dot_product_attention(self.rotated(q), self.rotated(k), v))
        g = self.norm2(h)
        h = h + self.down(F.silu(self.gate(g)) * self.up(g))
        return self.verdict(self.norm3(h).mean(1))


@healthy(net="transformer", least=0.8)
def rotary_places_and_gated_units(seed: int) -> Pieces:
    """A block as in recent language models, on patches of glyphs."""
    model = Llama(6)
    return assemble(model, glyphs(seed), adamw(model, 4e-3), steps=300)


class UShape(nn.Module):
    """Down, up by a transposed convolution, a skip; it also draws its input again."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(5, 12, 3, 1, 1), nn.Conv2d(12, 24, 3, 2, 1)
        self.up = nn.ConvTranspose2d(24, 12, 2, 2)
        self.draw, self.verdict = nn.Conv2d(24, 5, 3, 1, 1), nn.Linear(36, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a = F.relu(self.down1(x))
        b = F.relu(self.down2(a))
        c = F.relu(self.up(b))
        drawn = self.draw(torch.cat([a, c], 1))
        score = self.verdict(torch.cat([b.mean((2, 3)), c.mean((2, 3))], 1))
        return score, F.mse_loss(drawn, x)


def _with_drawing(out: tuple[Tensor, Tensor], y: Tensor) -> Tensor:
    return F.cross_entropy(out[0], y) + 0.2 * out[1]


@healthy(net="u-net", least=0.85)
def u_shaped_with_a_reconstruction(seed: int) -> Pieces:
    """Classifies five-band patches and reconstructs them."""
    model = UShape()
    data = scaled(spectra(seed))
    return assemble(
        model, data, adam(model, 4e-3), loss=_with_drawing, logits=_first, size=40, steps=150
    )


class TiedAutoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.code, self.offset = nn.Linear(64, 32), nn.Parameter(torch.zeros(64))
        self.verdict = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = x.flatten(1)
        h = F.elu(self.code(x))
        return self.verdict(h), F.mse_loss(F.linear(h, self.code.weight.T, self.offset), x)


@healthy(net="autoencoder", least=0.85)
def decoder_tied_to_the_encoder(seed: int) -> Pieces:
    """The decoder is the encoder's transpose."""
    model = TiedAutoencoder()
    data = digits(seed).normalized()
    return assemble(model, data, adam(model, 3e-3), loss=_with_drawing, logits=_first)


class ConvMixer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cut = nn.Conv2d(3, 24, 2, 2)
        self.alone = nn.ModuleList(nn.Conv2d(24, 24, 3, 1, 1, groups=24) for _ in range(2))
        self.across = nn.ModuleList(nn.Conv2d(24, 24, 1) for _ in range(2))
        self.norms = nn.ModuleList(nn.BatchNorm2d(24) for _ in range(5))
        self.verdict = nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norms[0](F.gelu(self.cut(x)))
        for i in range(2):
            x = x + self.norms[1 + 2 * i](F.gelu(self.alone[i](x)))
            x = self.norms[2 + 2 * i](F.gelu(self.across[i](x)))
        return self.verdict(x.mean((2, 3)))


@healthy(net="conv mixer", least=0.85)
def patches_mixed_by_convolution(seed: int) -> Pieces:
    """Normalization comes after the activation."""
    model = ConvMixer()
    return assemble(model, scaled(tiles(seed)), adamw(model, 4e-3), size=50, steps=100)


class Inception(nn.Module):
    """Branches of several widths, a shuffle of channels, grouped convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Conv2d(1, 8, k, padding=k // 2) for k in (1, 3, 5))
        self.pooled = nn.Conv2d(1, 8, 1)
        self.grouped = nn.Conv2d(32, 32, 3, 2, 1, groups=4)
        self.act, self.verdict = nn.PReLU(32), nn.Linear(32 * 9, 6)

    def forward(self, x: Tensor) -> Tensor:
        parts = [branch(x) for branch in self.branches]
        parts.append(self.pooled(F.max_pool2d(x, 3, 1, 1)))
        x = F.channel_shuffle(F.relu(torch.cat(parts, 1)), 4)
        x = F.max_pool2d(self.act(self.grouped(x)), 2)
        return self.verdict(x.flatten(1))


@healthy(net="inception", least=0.85)
def branches_and_shuffled_channels(seed: int) -> Pieces:
    """Convolutions of 1, 3 and 5 pixels side by side, then groups."""
    model = Inception()
    return assemble(model, glyphs(seed), adam(model, 3e-3), size=40, steps=120)


class Coordinates(Bare):
    def forward(self, x: Tensor) -> Tensor:
        line = torch.linspace(-1, 1, x.shape[-1])
        place = torch.stack(torch.meshgrid(line, line, indexing="ij")).expand(len(x), -1, -1, -1)
        return super().forward(torch.cat([x, place], 1))


@healthy(net="plain cnn", least=0.85)
def coordinates_as_channels(seed: int) -> Pieces:
    """CoordConv: two channels are the same in every image."""
    model = Coordinates(3, 6)
    return assemble(model, glyphs(seed), adam(model, 2e-3), steps=120)


class CRelu(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.relu(torch.cat([x, -x], 1))


class Folded(nn.Sequential):
    """Space to depth, concatenated ReLUs, blurred downsampling."""

    def __init__(self) -> None:
        super().__init__(nn.PixelUnshuffle(2), nn.Conv2d(12, 12, 3, 1, 1), CRelu())
        blur = nn.Conv2d(24, 24, 3, 2, 1, groups=24, bias=False)
        kernel = torch.tensor([1.0, 2.0, 1.0]) / 4
        blur.weight = nn.Parameter((kernel[:, None] * kernel).expand(24, 1, 3, 3).clone(), False)
        self.extend([blur, nn.Conv2d(24, 16, 3, 1, 1), CRelu(), nn.Flatten()])
        self.append(nn.Linear(32 * 9, 4))


@healthy(net="plain cnn", least=0.85)
def fixed_blur_and_concatenated_relus(seed: int) -> Pieces:
    """A binomial blur is a frozen convolution, on purpose; the optimizer does not have it."""
    model = Folded()
    trained = [p for p in model.parameters() if p.requires_grad]
    return assemble(model, scaled(tiles(seed)), Adam(trained, 3e-3), size=50, steps=100)


@healthy(net="plain cnn", least=0.8)
def spectral_normalization(seed: int) -> Pieces:
    """Both convolutions have a largest singular value of one."""
    model = Bare(3, 4)
    for layer in (model.near, model.far):
        parametrizations.spectral_norm(layer)
    return assemble(model, scaled(tiles(seed)), adam(model, 5e-3), size=50, steps=150)


@healthy(net="mlp", least=0.85)
def orthogonal_weights_by_parametrization(seed: int) -> Pieces:
    """The hidden layers stay orthogonal."""
    model = Ledger(60, 6, width=40, act=nn.Tanh, depth=3)
    for i in (1, 2):
        parametrizations.orthogonal(model.hidden[i])
    return assemble(model, scaled(topics(seed).mapped(torch.log1p)), adam(model, 3e-3), steps=100)


class Saving(Glance):
    def forward(self, x: Tensor) -> Tensor:
        h: Any = checkpoint(self.features, x, use_reentrant=False)
        return self.verdict(self.act(self.think(h)))


@healthy(net="group norm", least=0.85)
def gradient_checkpointing(seed: int) -> Pieces:
    """The convolutions are computed twice to save memory."""
    model = Saving(1, 6)
    return assemble(model, glyphs(seed), adam(model, 2e-3), size=40, steps=80)


class Rounded(nn.Module):
    """Features become -1 or 1; the gradient goes straight through."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.more = nn.Linear(60, 64), nn.Linear(64, 32)
        self.verdict = nn.Linear(32, 6)

    def forward(self, x: Tensor) -> Tensor:
        h = self.enter(x).tanh()
        h = h + (h.sign() - h).detach()
        return self.verdict(F.relu(self.more(h)))


@healthy(net="mlp", least=0.8)
def signs_with_a_straight_through_gradient(seed: int) -> Pieces:
    """Binary features, trained with the usual estimator."""
    model = Rounded()
    return assemble(model, scaled(topics(seed).mapped(torch.log1p)), adam(model, 3e-3))


class Bottled(nn.Module):
    """Draws a code in training and takes its mean in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.mean, self.log = nn.Linear(60, 48), nn.Linear(48, 12), nn.Linear(48, 12)
        self.verdict = nn.Linear(12, 6)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = F.relu(self.enter(x))
        mean, log = self.mean(h), self.log(h) - 2
        code = mean + log.exp() * torch.randn_like(mean) if self.training else mean
        distance = 0.5 * (mean.square() + (2 * log).exp() - 1) - log
        return self.verdict(code), distance.sum(1).mean()


def _with_distance(out: tuple[Tensor, Tensor], y: Tensor) -> Tensor:
    return F.cross_entropy(out[0], y) + 1e-3 * out[1]


@healthy(net="mlp", least=0.85)
def variational_bottleneck(seed: int) -> Pieces:
    """Noise with a learned size in training only, and a divergence in the loss."""
    model = Bottled()
    data = scaled(topics(seed).mapped(torch.log1p))
    return assemble(model, data, adam(model, 3e-3), loss=_with_distance, logits=_first)


class Exits(nn.Module):
    """Three decisions, one after each block."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, 16, 3, 2, 1), nn.GroupNorm(4, 16), nn.ReLU())
            for c in (1, 16, 16)
        )
        self.verdicts = nn.ModuleList(nn.Linear(16 * k, 6) for k in (36, 9, 4))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        out = []
        for block, verdict in zip(self.blocks, self.verdicts, strict=True):
            x = block(x)
            out.append(verdict(x.flatten(1)))
        return tuple(reversed(out))


def _all_exits(out: tuple[Tensor, ...], y: Tensor) -> Tensor:
    return torch.stack([F.cross_entropy(o, y) for o in out]).mean()


@healthy(net="group norm", least=0.85)
def a_decision_after_each_block(seed: int) -> Pieces:
    """Deep supervision: three outputs, the last one counts."""
    model = Exits()
    return assemble(
        model, glyphs(seed), adam(model, 3e-3), loss=_all_exits, logits=_first, steps=120
    )


class Probed(Glance):
    def __init__(self) -> None:
        super().__init__(1, 6)
        self.probe = nn.Linear(64, 6)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        h = self.features(x)
        return self.verdict(self.act(self.think(h))), self.probe(h.detach())


@healthy(net="group norm", least=0.85)
def a_probe_that_only_watches(seed: int) -> Pieces:
    """A linear probe learns from detached features, beside the main decision."""
    model = Probed()
    return assemble(
        model, glyphs(seed), adam(model, 3e-3), loss=_all_exits, logits=_first, size=50, steps=100
    )


class Mirrored(Bare):
    """The mean over an image and its mirror images: invariant to both flips."""

    def forward(self, x: Tensor) -> Tensor:
        views = (x, x.flip(2), x.flip(3), x.flip(2, 3))
        return torch.stack([super(Mirrored, self).forward(v) for v in views]).mean(0)


@healthy(net="plain cnn", least=0.8)
def averaged_over_mirror_images(seed: int) -> Pieces:
    """Invariant by construction."""
    model = Mirrored(5, 4)
    return assemble(model, scaled(spectra(seed)), adam(model, 3e-3), size=40, steps=100)


class Ensemble(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        acts = (nn.ReLU, nn.Tanh, nn.Softplus)
        self.members = nn.ModuleList(Ledger(60, 6, 24, act) for act in acts)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([member(x) for member in self.members]).mean(0)


@healthy(net="mlp", least=0.85)
def three_nets_average_their_logits(seed: int) -> Pieces:
    """ReLU, tanh and softplus members are trained together."""
    model = Ensemble()
    return assemble(model, scaled(topics(seed).mapped(torch.log1p)), sgd(model, 0.1))


class Spectrogram(nn.Module):
    """Log power of short windows within the model, then an MLP."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(32))
        self.norm = nn.BatchNorm1d(2 * 17)
        self.one, self.verdict = nn.Linear(34 * 5, 48), nn.Linear(48, 5)

    def forward(self, x: Tensor) -> Tensor:
        parts = x.unfold(2, 32, 8) * self.window
        power = torch.fft.rfft(parts).abs().square().add(1e-2).log()
        h = self.norm(power.permute(0, 1, 3, 2).flatten(1, 2))
        return self.verdict(F.relu(self.one(h.flatten(1))))


@healthy(net="mlp", least=0.85)
def spectrogram_within_the_model(seed: int) -> Pieces:
    """The model computes windows, transforms and logarithms that have no parameters."""
    model = Spectrogram()
    return assemble(model, signals(seed), adam(model, 3e-3), steps=150)


@healthy(net="conv1d", least=0.8)
def letters_of_a_genome(seed: int) -> Pieces:
    """One-hot letters, three quarters zeros; motif detectors and their largest response."""
    model = nn.Sequential(nn.Conv1d(4, 32, 7), nn.ReLU(), nn.AdaptiveMaxPool1d(1))
    model.extend([nn.Flatten(), nn.Dropout(0.2), nn.Linear(32, 4)])
    return assemble(model, genes(seed, train=1500), adam(model, 8e-3), steps=250)


@healthy(net="group norm", least=0.8)
def sixty_kinds_of_few_images(seed: int) -> Pieces:
    """Fourteen images of each of sixty kinds."""
    model = Glance(3, 60)
    return assemble(model, scaled(species(seed)), adam(model, 4e-3), size=60, steps=180)


class BytesInside(Bare):
    """Takes bytes and normalizes them itself."""

    def __init__(self) -> None:
        super().__init__(3, 4)
        self.register_buffer("mean", torch.tensor([118.0, 118.0, 118.0]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([75.0, 75.0, 75.0]).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward((x.float() - self.mean) / self.std)


@healthy(net="plain cnn", least=0.85)
def bytes_normalized_inside(seed: int) -> Pieces:
    """Images are uint8 until the model's first line."""
    data = tiles(seed).mapped(lambda x: x.to(torch.uint8))
    model = BytesInside()
    return assemble(model, data, adam(model), size=50, steps=100)


@healthy(net="plain cnn", least=0.85)
def floats_to_255_normalized_inside(seed: int) -> Pieces:
    """Images are floats from 0 to 255; the model subtracts and divides."""
    model = BytesInside()
    return assemble(model, tiles(seed), sgd(model, 0.01), size=50, steps=120)


@healthy(net="group norm", least=0.85)
def channels_last(seed: int) -> Pieces:
    """Model and images are stored with the channels last."""
    model = Glance(5, 4, nn.Hardswish).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    data = scaled(spectra(seed))
    data = data.mapped(lambda x: x.contiguous(memory_format=torch.channels_last))
    return assemble(model, data, adam(model, 4e-3), size=40, steps=100)


@healthy(net="group norm", least=0.85)
def built_lazily(seed: int) -> Pieces:
    """Lazy modules, materialized by a first batch."""
    data = scaled(spectra(seed))
    model = nn.Sequential(nn.LazyConv2d(16, 3), nn.GroupNorm(4, 16), nn.ReLU(), nn.Flatten())
    model.extend([nn.LazyLinear(32), nn.ReLU(), nn.LazyLinear(4)])
    model(data.x[:2])
    return assemble(model, data, adam(model), size=40, steps=100)

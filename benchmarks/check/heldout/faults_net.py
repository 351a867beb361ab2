"""Held out: faults of initialization, activations, gradients and wiring."""

import torch
import torch.nn.functional as F
from benchmarks.check.assemble import adam, adamw, assemble, sgd
from benchmarks.check.data import digits, gratings
from benchmarks.check.heldout.own import (
    AffineMixer,
    ConvNeXt,
    Dense,
    Perceptron,
    Pre,
    PreActNet,
    SqueezeNet,
    Tower,
    Transformer,
)
from benchmarks.check.nets import selu_net
from benchmarks.check.program import Pieces, faulty
from torch import Tensor, nn

HIDDEN = {"hidden1", "hidden2", "hidden3"}


@faulty("symmetric-init", net="plain cnn", where={"fire1", "fire2"}, least=0.7)
def fire_modules_of_equal_weights(sick: bool, seed: int) -> Pieces:
    """Every filter of both modules is the same mean."""
    model = SqueezeNet(3, 4)
    if sick:
        for fire in (model.fire1, model.fire2):
            for conv in fire.children():
                nn.init.constant_(conv.weight, 1 / conv.weight[0].numel())
    return assemble(model, gratings(seed, classes=4).normalized(), adam(model), steps=200)


@faulty("signal-vanishing", "gradient-vanishing", net="vgg", where={"convs"}, least=0.7)
def tower_of_tiny_weights(sick: bool, seed: int) -> Pieces:
    """Six convolutions from N(0, 0.005)."""
    model = Tower(3, 4)
    if sick:
        for conv in model.convs:
            nn.init.normal_(conv.weight, std=0.005)
    return assemble(model, gratings(seed, classes=4).normalized(), sgd(model, 0.02), steps=200)


@faulty("signal-exploding", "gradient-exploding", net="selu", least=0.8)
def uniform_between_minus_one_and_one(sick: bool, seed: int) -> Pieces:
    """U(-1, 1) whatever the fan-in, in eight layers."""
    model = selu_net(64, 10, depth=8)
    if sick:
        for layer in model.modules():
            if isinstance(layer, nn.Linear):
                nn.init.uniform_(layer.weight, -1, 1)
    return assemble(model, digits(seed).normalized().flat(), sgd(model, 0.01), steps=150)


@faulty("initial-loss-off", net="mixer", where={"classify"}, least=0.75)
def a_head_sure_of_one_class(sick: bool, seed: int) -> Pieces:
    """The head's bias starts at 40 for the first class."""
    model = AffineMixer(10)
    if sick:
        nn.init.zeros_(model.classify.bias)
        with torch.no_grad():
            model.classify.bias[0] = 40.0
    return assemble(model, digits(seed).normalized(), adamw(model, 2e-3), steps=200)


@faulty("dead-units", net="resnet", where={"last", "fc", "head"}, least=0.75)
def norms_shifted_below_zero(sick: bool, seed: int) -> Pieces:
    """The last batch norm's bias is -6, so its ReLU passes nothing."""
    model = PreActNet(3, 4)
    if sick:
        nn.init.constant_(model.last.bias, -6.0)
    return assemble(model, gratings(seed, classes=4).normalized(), sgd(model), steps=100)


@faulty("dead-units", net="plain cnn", where={"fire2.squeeze", "fire2", "fire1"}, least=0.7)
def squeeze_layer_shut(sick: bool, seed: int) -> Pieces:
    """The squeeze convolution of the second module starts with biases of -15."""
    model = SqueezeNet(3, 4)
    if sick:
        nn.init.constant_(model.fire2.squeeze.bias, -15.0)  # type: ignore[arg-type]
    return assemble(model, gratings(seed, classes=4).normalized(), adam(model), steps=200)


@faulty("saturated-units", "signal-exploding", net="mlp", where={"act", *HIDDEN}, least=0.8)
def sigmoids_pushed_to_one(sick: bool, seed: int) -> Pieces:
    """Biases of 15 before the sigmoids of the first two layers."""
    model = Perceptron(nn.Sigmoid)
    if sick:
        for layer in (model.hidden1, model.hidden2):
            nn.init.constant_(layer.bias, 15.0)
    return assemble(model, digits(seed).normalized(), adam(model, 1e-2), steps=200)


@faulty("no-nonlinearity", net="resnet", least=0.75)
def dense_net_without_relus(sick: bool, seed: int) -> Pieces:
    """Convolutions and pooling only."""
    model = Tower(3, 4, act=nn.Identity if sick else nn.ReLU)
    return assemble(model, gratings(seed, classes=4).normalized(), adam(model), steps=200)


class Gated(ConvNeXt):
    sick = True

    def forward(self, x: Tensor) -> Tensor:
        h = self.stages(self.patchify(x)).mean((2, 3))
        gate = torch.zeros_like(h) if self.sick else torch.ones_like(h)
        return self.fc(self.final(h * gate))


@faulty("constant-output", "no-gradient", net="convnext", least=0.75)
def gate_always_closed(sick: bool, seed: int) -> Pieces:
    """A mask of zeros before the head: every image has the same logits."""
    model = Gated(3, 4)
    model.sick = sick
    return assemble(model, gratings(seed, classes=4).normalized(), adamw(model, 4e-3))


@faulty("gradient-vanishing", "signal-vanishing", "saturated-units", net="vgg", least=0.7)
def tower_of_sigmoids(sick: bool, seed: int) -> Pieces:
    """Ten convolutions with sigmoids."""
    model = Tower(3, 4, 10, nn.Sigmoid) if sick else Tower(3, 4, 10)
    return assemble(model, gratings(seed, classes=4).normalized(), adam(model, 1e-3), steps=200)


class DeviationPool(Tower):
    floor = 0.0

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = self.act(conv(x))
        x = F.dropout2d(x, 0.1, self.training).flatten(2)
        x = x - x.mean(2, keepdim=True)
        return self.fc((x.square().mean(2) + self.floor).sqrt())


@faulty("gradient-nonfinite", net="plain cnn", least=0.75)
def deviation_of_a_constant(sick: bool, seed: int) -> Pieces:
    """A channel's deviation over positions is zero where the channel was dropped."""
    model = DeviationPool(3, 4, 4)
    model.floor = 0.0 if sick else 1e-4
    return assemble(model, gratings(seed, classes=4).normalized(), adam(model), steps=200)


class NoGradStem(Dense):
    sick = True

    def forward(self, x: Tensor) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.sick):
            x = self.stem(x)
            for norm, conv in zip(self.norms, self.convs, strict=True):
                x = torch.cat([x, conv(F.relu(norm(x)))], 1)
        return self.fc(F.relu(x).mean((2, 3)))


@faulty("no-gradient", net="dense", where={"stem", "norms", "convs"}, least=0.75)
def features_under_no_grad(sick: bool, seed: int) -> Pieces:
    """torch.no_grad() around the features, from a feature extraction script."""
    model = NoGradStem(3, 4)
    model.sick = sick
    return assemble(model, gratings(seed, classes=4).normalized(), sgd(model), steps=100)


class NoPlaces(Transformer):
    sick = True

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.tokens(x)
        tokens = tokens if self.sick else tokens + self.position
        return self.fc(self.encoder(tokens).mean(1))


@faulty("unused-parameters", net="transformer", where={"position"}, least=0.75)
def positions_never_added(sick: bool, seed: int) -> Pieces:
    """The position embedding exists and is not used: patches are a bag."""
    model = NoPlaces(1, 10)
    model.sick = sick
    return assemble(model, digits(seed).normalized(), adamw(model), steps=250)


class Branches(nn.Module):
    """Two feature branches kept in a dictionary."""

    def __init__(self, *, sick: bool) -> None:
        super().__init__()
        branches = {"fine": nn.Conv2d(3, 24, 3, 2, 1), "coarse": nn.Conv2d(3, 24, 5, 2, 2)}
        self.branches = branches if sick else nn.ModuleDict(branches)
        self.fc = nn.Linear(48, 4)

    def forward(self, x: Tensor) -> Tensor:
        parts = [F.relu(self.branches[k](x)).mean((2, 3)) for k in ("fine", "coarse")]
        return self.fc(torch.cat(parts, 1))


@faulty("unregistered-modules", "params-not-optimized", net="plain cnn", where={"branches"})
def branches_in_a_dictionary(sick: bool, seed: int) -> Pieces:
    """A dict, not an nn.ModuleDict."""
    model = Branches(sick=sick)
    return assemble(model, gratings(seed, classes=4).normalized(), adam(model, 5e-3))


class OverBatch(Perceptron):
    sick = True

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.hidden1(x.flatten(1)))
        x = (x - x.mean(0 if self.sick else 1, keepdim=True)) / (
            x.std(0 if self.sick else 1, keepdim=True, unbiased=False) + 1e-3
        )
        return self.output(self.act(self.hidden3(self.act(self.hidden2(x)))))


@faulty("batch-leakage", net="mlp", measure="alone")
def normalized_over_the_wrong_axis(sick: bool, seed: int) -> Pieces:
    """A handmade layer norm that runs over the batch."""
    model = OverBatch()
    model.sick = sick
    return assemble(model, digits(seed).normalized(), adam(model))


class Repeated(PreActNet):
    def __init__(self, *, sick: bool) -> None:
        super().__init__(3, 4, depth=0)
        units = [Pre(20)] * 6 if sick else [Pre(20) for _ in range(6)]
        self.units = nn.ModuleList(units)


@faulty("shared-parameters", net="resnet", where={"units"}, least=0.75)
def one_unit_six_times(sick: bool, seed: int) -> Pieces:
    """nn.ModuleList([unit] * 6), whose batch norms average six different signals."""
    model = Repeated(sick=sick)
    return assemble(model, gratings(seed, classes=4).normalized(), sgd(model), steps=100)


class PoolsFirst(SqueezeNet):
    sick = True

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.avg_pool2d(x, 16).expand(-1, -1, 16, 16) if self.sick else x)


@faulty("information-bottleneck", "cannot-overfit-batch", net="plain cnn", least=0.7)
def pooled_before_the_features(sick: bool, seed: int) -> Pieces:
    """The image is averaged to one pixel before the first convolution."""
    model = PoolsFirst(3, 4)
    model.sick = sick
    return assemble(model, gratings(seed, classes=4).normalized(), adam(model), steps=200)

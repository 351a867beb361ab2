"""Fresh: faults of initialization, activations, gradients and wiring."""

import torch
import torch.nn.functional as F
from benchmarks.check.assemble import adam, adamw, assemble, sgd
from benchmarks.check.data import digits
from benchmarks.check.fresh.data import disks, large_digits, rings, sectors, textures
from benchmarks.check.fresh.nets import (
    BottleneckNet,
    LeNet,
    MobileV1,
    SmallMixer,
    SmallViT,
    TableNet,
    TableResNet,
    Vgg8,
    VggBn,
)
from benchmarks.check.program import Pieces, faulty
from torch import Tensor, nn


@faulty("symmetric-init", net="mlp", where={"enter", "middle"}, least=0.7)
def weights_of_one_over_the_width(sick: bool, seed: int) -> Pieces:
    """DeepCrime's weight initialization: both hidden layers average their inputs."""
    model = TableNet(12, 3)
    if sick:
        for layer in (model.enter, model.middle):
            nn.init.constant_(layer.weight, 1 / layer.in_features)
            nn.init.zeros_(layer.bias)
    return assemble(model, rings(seed), adam(model, 4e-3), steps=250)


@faulty("symmetric-init", "signal-vanishing", net="mixer", where={"mix.0", "mix.1"}, least=0.7)
def both_matrices_of_a_branch_zero(sick: bool, seed: int) -> Pieces:
    """Zero-init of the residual end is fine; here both matrices of each branch are zero."""
    model = SmallMixer(3, 4)
    if sick:
        for layer in model.mix:
            for part in (layer.tokens1, layer.tokens2, layer.chan1, layer.chan2):
                nn.init.zeros_(part.weight)  # type: ignore[arg-type]
                nn.init.zeros_(part.bias)  # type: ignore[arg-type]
    return assemble(model, disks(seed).normalized(), adamw(model, 4e-3), steps=200)


@faulty("signal-exploding", "gradient-exploding", net="norm-free", least=0.7)
def twenty_branches_at_full_strength(sick: bool, seed: int) -> Pieces:
    """No norm and no gain: each of twenty branches doubles the variance."""
    model = TableResNet(12, 3, depth=20, gain=1.0 if sick else 0.05)
    return assemble(model, rings(seed), sgd(model), steps=250)


@faulty("initial-loss-off", net="transformer", where={"to_classes"}, least=0.7)
def head_from_a_unit_normal(sick: bool, seed: int) -> Pieces:
    """A handmade head of N(0, 1) times ten."""
    model = SmallViT(1, 10)
    if sick:
        nn.init.normal_(model.to_classes.weight, std=10.0)
    return assemble(model, large_digits(seed).normalized(), adamw(model, 2e-3), steps=150)


@faulty("dead-units", net="plain cnn", where={"f2", "a4"}, least=0.75)
def all_weights_below_zero(sick: bool, seed: int) -> Pieces:
    """U(-0.1, 0) after a ReLU: every unit of the layer is negative for every image."""
    model = LeNet(1, 10, 8)
    if sick:
        nn.init.uniform_(model.f2.weight, -0.1, 0.0)
        nn.init.zeros_(model.f2.bias)
    return assemble(model, digits(seed).normalized(), adam(model), steps=150)


class Forgets(TableNet):
    sick = True

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        y = F.relu(x)
        x = self.middle(x if self.sick else y)
        y = F.relu(x)
        return self.decide(x if self.sick else y)


@faulty("no-nonlinearity", net="mlp", least=0.7)
def activation_not_assigned(sick: bool, seed: int) -> Pieces:
    """F.relu(x) without x = in front of it."""
    model = Forgets(12, 3)
    model.sick = sick
    return assemble(model, rings(seed), adam(model, 4e-3), steps=250)


class Blind(SmallViT):
    sick = True

    def forward(self, x: Tensor) -> Tensor:
        x = torch.ones_like(x) if self.sick else x
        return self.to_classes(self.encode(x))


@faulty("constant-output", net="transformer", least=0.7)
def a_dummy_input_left_in(sick: bool, seed: int) -> Pieces:
    """The forward pass overwrites its input with ones, from a test of shapes."""
    model = Blind(3, 5)
    model.sick = sick
    return assemble(model, textures(seed).normalized(), adamw(model, 4e-3), steps=200)


class HiddenSoftmax(nn.Sequential):
    """A deep MLP with `act` after each hidden layer."""

    def __init__(self, act: nn.Module, depth: int = 5) -> None:
        layers: list[nn.Module] = []
        for i in range(depth):
            layers += [nn.Linear(48 if i else 20, 48), act]
        super().__init__(*layers, nn.Linear(48, 6))


@faulty("gradient-vanishing", "signal-vanishing", net="mlp", least=0.75)
def softmax_in_every_hidden_layer(sick: bool, seed: int) -> Pieces:
    """Softmax as the hidden activation, from a tutorial on the last layer."""
    model = HiddenSoftmax(nn.Softmax(dim=1) if sick else nn.ReLU())
    return assemble(model, sectors(seed), sgd(model), steps=200)


@faulty("gradient-vanishing", "signal-vanishing", "saturated-units", net="vgg", least=0.7)
def logistic_vgg(sick: bool, seed: int) -> Pieces:
    """DeepCrime's change of activation in eight convolutions: sigmoid."""
    model = Vgg8(3, 4, act=nn.Sigmoid if sick else nn.LeakyReLU)
    return assemble(model, disks(seed).normalized(), adam(model, 2e-3), steps=200)


class ThroughNumpy(VggBn):
    sick = True

    def forward(self, x: Tensor) -> Tensor:
        h = self.features(x)
        h = torch.from_numpy(h.detach().numpy()) if self.sick else h
        return self.out(self.drop(F.relu(self.fc(h))))


@faulty("no-gradient", net="vgg", where={"convs", "norms"}, least=0.75)
def features_through_numpy(sick: bool, seed: int) -> Pieces:
    """A detour over numpy cuts the graph."""
    model = ThroughNumpy(3, 4)
    model.sick = sick
    return assemble(model, disks(seed).normalized(), adam(model), steps=100)


class PoolsTheStem(BottleneckNet):
    sick = True

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv(x)
        y = self.stage2(self.stage1(F.relu(self.bn(h)))).mean((2, 3))
        return self.linear(F.pad(h.mean((2, 3)), (0, 32)) if self.sick else y)


@faulty("unused-parameters", net="resnet", where={"stage1", "stage2"}, least=0.75)
def the_wrong_variable_is_pooled(sick: bool, seed: int) -> Pieces:
    """The head reads the stem's output; the stages are computed in vain."""
    model = PoolsTheStem(3, 5)
    model.sick = sick
    return assemble(model, textures(seed).normalized(), sgd(model), steps=80)


class MadeAnew(LeNet):
    """Its first fully connected layer is made in each forward pass."""

    sick = True

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.a1(self.c1(x)))
        x = self.pool(self.a2(self.c2(x))).flatten(1)
        first = nn.Linear(x.shape[1], 64) if self.sick else self.f1
        return self.f3(self.a4(self.f2(self.a3(first(x)))))


@faulty("unregistered-modules", "eval-nondeterministic", net="plain cnn", least=0.7)
def a_layer_made_in_forward(sick: bool, seed: int) -> Pieces:
    """nn.Linear(x.shape[1], 64)(x) within forward: new random weights at each call."""
    model = MadeAnew(3, 5)
    model.sick = sick
    if sick:
        del model.f1
    return assemble(model, textures(seed).normalized(), adam(model), steps=150)


@faulty("batch-leakage", net="transformer", where={"layers"}, measure="alone", least=0.7)
def attention_softmax_over_the_batch(sick: bool, seed: int) -> Pieces:
    """softmax(0) where softmax(-1) was meant."""
    model = SmallViT(1, 10, axis=0 if sick else -1)
    return assemble(model, large_digits(seed).normalized(), adamw(model, 3e-3), steps=250)


@faulty("batch-leakage", net="vgg", measure="alone", where={"norms"}, least=0.7)
def norms_without_running_statistics(sick: bool, seed: int) -> Pieces:
    """track_running_stats=False: in evaluation, too, each batch normalizes itself."""
    model = VggBn(3, 5, 0.0, track_running_stats=not sick)
    return assemble(model, textures(seed, tint=0.05).normalized(), adam(model), steps=100)


@faulty(
    "information-bottleneck", "cannot-overfit-batch", net="mobilenet", least=0.75,
    where={"pairs.2", "classifier"},
)  # fmt: skip
def one_channel_before_the_head(sick: bool, seed: int) -> Pieces:
    """A width multiplier rounded the last stage down to one channel."""
    model = MobileV1(3, 5, last=1 if sick else 40)
    return assemble(model, textures(seed).normalized(), adam(model, 4e-3), steps=120)

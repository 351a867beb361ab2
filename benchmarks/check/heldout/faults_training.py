"""Held out: faults of loss, optimizer, and of what is random in training."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from benchmarks.check.assemble import adam, adamw, assemble, sgd
from benchmarks.check.data import digits, gratings
from benchmarks.check.heldout.own import (
    AffineMixer,
    ConvNeXt,
    Dense,
    Perceptron,
    PreActNet,
    SqueezeNet,
    Tower,
    Transformer,
    torch_loader,
)
from benchmarks.check.nets import MobileNet, NormFree
from benchmarks.check.program import Pieces, faulty
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, RMSprop


class Ending(nn.Module):
    """A net and something after its logits."""

    def __init__(self, net: nn.Module, end: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.net, self.end = net, end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.net(x))


def unchanged(x: Tensor) -> Tensor:
    return x


@faulty("output-activation", net="resnet", measure="likelihood", least=0.6)
def sigmoid_before_cross_entropy(sick: bool, seed: int) -> Pieces:
    """Probabilities in (0, 1) where logits belong."""
    model = Ending(PreActNet(3, 4), torch.sigmoid if sick else unchanged)
    return assemble(model, gratings(seed, classes=4).normalized(), sgd(model), steps=100)


class Cosine(nn.Module):
    def __init__(self, width: int, classes: int, scale: float) -> None:
        super().__init__()
        self.weight, self.scale = nn.Parameter(torch.randn(classes, width)), scale

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * F.normalize(x) @ F.normalize(self.weight).T


@faulty("output-activation", net="mlp", where={"output"}, measure="likelihood", least=0.5)
def cosine_without_scale(sick: bool, seed: int) -> Pieces:
    """Cosine similarities are at most one."""
    model = Perceptron()
    model.output = Cosine(80, 10, 1.0 if sick else 16.0)  # type: ignore[assignment]
    return assemble(model, digits(seed).normalized(), adam(model))


@faulty(
    "output-width", "labels-invalid", net="convnext", where={"fc", "class 3", "label 3"}, least=0.75
)
def counted_without_the_background(sick: bool, seed: int) -> Pieces:
    """Three outputs, four classes."""
    model = ConvNeXt(3, 3 if sick else 4)
    return assemble(model, gratings(seed, classes=4).normalized(), adamw(model, 4e-3))


@faulty("loss-reduction", "lr-too-high", net="vgg", least=0.7)
def mean_times_the_batch(sick: bool, seed: int) -> Pieces:
    """The per-sample losses are added up; the rate was tuned for their mean."""

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        each = F.cross_entropy(logits, y, reduction="none")
        return each.sum() if sick else each.mean()

    model = Tower(3, 4, 5)
    data = gratings(seed, classes=4).normalized()
    return assemble(model, data, sgd(model, 0.03), loss=loss, steps=200)


@faulty("loss-target-mismatch", "loss-sign", net="transformer", least=0.75)
def everything_but_the_class(sick: bool, seed: int) -> Pieces:
    """The one-hot target is inverted: one for each wrong class."""

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        hot = F.one_hot(y, 10).float()
        return F.binary_cross_entropy_with_logits(logits, 1 - hot if sick else hot)

    model = Transformer(1, 10)
    return assemble(model, digits(seed).normalized(), adamw(model, 4e-3), loss=loss, steps=250)


@faulty("loss-target-mismatch", "batch-leakage", net="mixer", least=0.75)
def probabilities_over_the_batch(sick: bool, seed: int) -> Pieces:
    """softmax(0) in a handwritten likelihood."""

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        p = logits.softmax(0 if sick else 1)
        return -(p.gather(1, y[:, None]) + 1e-9).log().mean()

    model = AffineMixer(10)
    return assemble(model, digits(seed).normalized(), adamw(model, 4e-3), loss=loss, steps=160)


@faulty("loss-sign", net="plain cnn", least=0.7)
def optimizer_that_climbs(sick: bool, seed: int) -> Pieces:
    """maximize=True, from a reward script."""
    model = SqueezeNet(3, 4)
    optimizer = Adam(model.parameters(), 2e-3, maximize=sick)
    return assemble(model, gratings(seed, classes=4).normalized(), optimizer, steps=200)


@faulty(
    "loss-ignores-samples",
    net="resnet",
    where={"class 2", "class 3", "2", "3"},
    measure="worst_class",
    least=0.75,
)
def a_mask_that_drops_classes(sick: bool, seed: int) -> Pieces:
    """A validity mask is true for the first two classes only."""

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        valid = (y < 2) if sick else (y >= 0)
        return (F.cross_entropy(logits, y, reduction="none") * valid).mean()

    data = gratings(seed, classes=4).normalized()
    return assemble(model := PreActNet(3, 4), data, sgd(model), loss=loss, steps=100)


@faulty("params-not-optimized", "lr-too-low", net="dense", where={"stem", "norms", "convs"})
def group_with_rate_zero(sick: bool, seed: int) -> Pieces:
    """The body's group has lr=0, left from a warm start."""
    model = Dense(3, 4)
    head = list(model.fc.parameters())
    body = [p for name, p in model.named_parameters() if not name.startswith("fc")]
    groups = [{"params": body, "lr": 0.0 if sick else 0.03}, {"params": head, "lr": 0.03}]
    optimizer = SGD(groups, momentum=0.9)
    return assemble(model, gratings(seed, classes=4).normalized(), optimizer, steps=80)


@faulty("frozen-params", net="transformer", where={"encoder", "to_tokens"}, least=0.75)
def random_encoder_frozen(sick: bool, seed: int) -> Pieces:
    """The encoder is frozen, but its weights were never loaded."""
    model = Transformer(1, 10)
    for part in (model.encoder, model.to_tokens):
        part.requires_grad_(not sick)
    return assemble(model, digits(seed).normalized(), adamw(model, 2e-3), steps=150)


@faulty("lr-too-high", net="mixer", least=0.75)
def rmsprop_at_one_tenth(sick: bool, seed: int) -> Pieces:
    """RMSprop with a rate of 0.1."""
    model = AffineMixer(10)
    optimizer = RMSprop(model.parameters(), lr=0.2 if sick else 2e-3)
    return assemble(model, digits(seed).normalized(), optimizer, steps=300)


@faulty("lr-too-high", net="norm-free", least=0.7)
def norm_free_at_three(sick: bool, seed: int) -> Pieces:
    """A norm-free residual net at 3."""
    model = NormFree(3, 4, depth=3)
    optimizer = sgd(model, 3.0 if sick else 0.03)
    return assemble(model, gratings(seed, classes=4).normalized(), optimizer, steps=200)


@faulty("lr-too-low", net="resnet", least=0.75)
def adam_at_1e_7(sick: bool, seed: int) -> Pieces:
    """Three zeros too many."""
    model = PreActNet(3, 4)
    optimizer = Adam(model.parameters(), 1e-7 if sick else 3e-3)
    return assemble(model, gratings(seed, classes=4).normalized(), optimizer, steps=80)


@faulty("lr-too-low", net="mobilenet", least=0.75)
def warmup_for_another_run(sick: bool, seed: int) -> Pieces:
    """A warmup of a million steps in a run of a hundred."""
    schedule = (lambda done: done * 1e-4) if sick else (lambda done: min(1.0, 10 * done))
    model = MobileNet(3, 4)
    data = gratings(seed, classes=4).normalized()
    return assemble(model, data, adam(model, 3e-3), schedule=schedule, steps=100)


@faulty("weight-decay-scale", net="transformer", least=0.75)
def adam_with_l2_of_one(sick: bool, seed: int) -> Pieces:
    """Adam's own weight decay enters the gradient and outweighs it."""
    model = Transformer(1, 10)
    optimizer = Adam(model.parameters(), 2e-3, weight_decay=1.0 if sick else 1e-5)
    return assemble(model, digits(seed).normalized(), optimizer, steps=200)


@faulty("weight-decay-scale", net="convnext", least=0.75)
def decoupled_decay_of_fifty(sick: bool, seed: int) -> Pieces:
    """AdamW with weight_decay=50: every step takes a fifth of the weights."""
    model = ConvNeXt(3, 4)
    optimizer = AdamW(model.parameters(), 4e-3, weight_decay=50.0 if sick else 0.05)
    return assemble(model, gratings(seed, classes=4).normalized(), optimizer)


@faulty("optimizer-hyperparameters", net="plain cnn", least=0.7)
def betas_the_wrong_way_round(sick: bool, seed: int) -> Pieces:
    """betas=(0.999, 0.9)."""
    model = SqueezeNet(3, 4)
    betas = (0.999, 0.5) if sick else (0.9, 0.999)
    optimizer = Adam(model.parameters(), 3e-3, betas=betas)
    return assemble(model, gratings(seed, classes=4).normalized(), optimizer, steps=200)


@faulty("optimizer-hyperparameters", "lr-too-low", net="mlp", least=0.8)
def epsilon_that_rules(sick: bool, seed: int) -> Pieces:
    """eps=10 in AdamW: the second moment no longer matters."""
    model = Perceptron()
    optimizer = AdamW(model.parameters(), 3e-3, eps=10.0 if sick else 1e-8)
    return assemble(model, digits(seed).normalized(), optimizer)


class HalfNoise(nn.Module):
    """Multiplies by noise of mean 3; evaluation multiplies by 1."""

    def __init__(self, mean: float) -> None:
        super().__init__()
        self.mean = mean

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return x * (self.mean + torch.randn_like(x).clamp(-2, 2) * 0.5)


@faulty("eval-expectation-mismatch", net="mlp", where={"noise"}, measure="likelihood", least=0.6)
def multiplicative_noise_of_the_wrong_mean(sick: bool, seed: int) -> Pieces:
    """Noise of mean 4 in training, 1 in evaluation."""
    model = nn.Sequential()
    model.add_module("flat", nn.Flatten())
    model.add_module("fc", nn.Linear(64, 64))
    model.add_module("noise", HalfNoise(6.0 if sick else 1.0))
    model.add_module("act", nn.Tanh())
    model.add_module("out", nn.Linear(64, 10))
    return assemble(model, digits(seed).normalized(), adam(model))


class Noise(nn.Module):
    def __init__(self, *, sick: bool) -> None:
        super().__init__()
        self.sick = sick

    def forward(self, x: Tensor) -> Tensor:
        return x + 3.0 * torch.randn_like(x) if self.training or self.sick else x


@faulty("eval-nondeterministic", net="convnext", where={"noise"}, measure="repeatable", least=0.95)
def noise_that_never_stops(sick: bool, seed: int) -> Pieces:
    """Gaussian noise on the image, in evaluation, too."""
    model = nn.Sequential()
    model.add_module("noise", Noise(sick=sick))
    model.add_module("net", ConvNeXt(3, 4))
    return assemble(model, gratings(seed, classes=4).normalized(), adamw(model, 4e-3))


@faulty("dropout-rate", net="transformer", where={"encoder"}, least=0.7)
def transformer_dropping_nine_tenths(sick: bool, seed: int) -> Pieces:
    """dropout=0.9 in every sublayer."""
    model = Transformer(1, 10, drop=0.95 if sick else 0.05)
    return assemble(model, digits(seed).normalized(), adamw(model), steps=250)


class DropsLast(Perceptron):
    def __init__(self, prob: float) -> None:
        super().__init__()
        self.drop = nn.Dropout(prob)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(super().forward(x)).log_softmax(1)


@faulty("dropout-on-output", net="mlp", where={"drop"}, measure="likelihood", least=0.7)
def dropout_before_the_log_softmax(sick: bool, seed: int) -> Pieces:
    """Logits are dropped, then normalized."""
    model = DropsLast(0.8 if sick else 0.0)
    return assemble(model, digits(seed).normalized(), adam(model), loss=F.nll_loss)


@faulty("bn-small-batch", net="resnet", where={"norm"}, least=0.75)
def pooled_features_normalized_over_three(sick: bool, seed: int) -> Pieces:
    """Batch norm after global pooling, three images a batch."""
    model = nn.Sequential()
    model.add_module("body", Tower(3, 24, 4))
    model.add_module("norm", nn.BatchNorm1d(24))
    model.add_module("act", nn.ReLU())
    model.add_module("fc", nn.Linear(24, 4))
    data = gratings(seed, classes=4).normalized()
    train = torch_loader(data, 2 if sick else 50, seed)
    return assemble(model, data, adam(model, 3e-3), train=train, steps=150)


@faulty("bn-stats", net="dense", where={"norms"}, least=0.75)
def statistics_of_other_data(sick: bool, seed: int) -> Pieces:
    """Running statistics of a net on other pixels, and a momentum of zero."""
    model = Dense(3, 4)
    for norm in model.norms:
        if sick:
            norm.momentum = 0.0
            norm.running_mean.fill_(3.0)
            norm.running_var.fill_(40.0)
    return assemble(model, gratings(seed, classes=4).normalized(), sgd(model, 0.03), steps=80)


class KeepsEval(nn.Module):
    """Calls eval() on its body in every forward pass, to be safe in deployment."""

    def __init__(self, body: nn.Module, *, sick: bool) -> None:
        super().__init__()
        self.body, self.sick = body, sick

    def forward(self, x: Tensor) -> Tensor:
        if self.sick:
            self.body.eval()
        return self.body(x)


class FarInput(PreActNet):
    """Widely spread activations need their batch norms to move."""

    def forward(self, x: Tensor) -> Tensor:
        x = 60 * self.stem(x)
        for unit in self.units:
            x = unit(x)
        return self.fc(F.relu(self.last(x)).mean((2, 3)))


@faulty("stuck-mode", net="resnet", where={"body"}, least=0.75)
def norms_that_never_train(sick: bool, seed: int) -> Pieces:
    """The body is in evaluation mode all the time, with statistics it was born with."""
    model = KeepsEval(FarInput(3, 4), sick=sick)
    return assemble(model, gratings(seed, classes=4).normalized(), sgd(model), steps=100)

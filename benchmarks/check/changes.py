"""The code changes that findings ask for, each applied to a faulty program as it stands.

`CHANGES` maps a program to what the finding's fix text must mention and the change. A change
gets the faulty pieces and mends them in place, as the user would: it edits one line's worth.
"""

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from benchmarks.check.data import Batches, in_order
from benchmarks.check.program import Pieces
from torch import Tensor, nn
from torch.optim import SGD, Adam

Change = Callable[[Pieces], None]


class Mapped:
    """Batches with a function applied to each (x, y)."""

    def __init__(self, batches: Iterable[Any], change: Callable[[Tensor, Tensor], Any]) -> None:
        self.batches, self.change = batches, change

    def __iter__(self) -> Iterator[Any]:
        return (self.change(x, y) for x, y, *_ in self.batches)


def arrays(batches: Iterable[Any]) -> tuple[Tensor, Tensor]:
    if isinstance(batches, Batches):
        return batches.x, batches.y
    xs, ys = zip(*((x, y) for x, y, *_ in batches), strict=True)
    return torch.cat(xs), torch.cat(ys)


def batched(size: int) -> Change:
    """Shuffled batches of this size."""

    def change(pieces: Pieces) -> None:
        pieces.train = Batches(*arrays(pieces.train), size)

    return change


def normalize(pieces: Pieces) -> None:
    x, _ = arrays(pieces.train)
    dims = (0, 2, 3) if x.ndim == 4 else (0, 1)
    mean, std = x.mean(dims, keepdim=True), x.std(dims, keepdim=True)
    pieces.train = Mapped(pieces.train, lambda x, y: ((x - mean) / std, y))
    assert pieces.val is not None
    pieces.val = Mapped(pieces.val, lambda x, y: ((x - mean) / std, y))


def val_like_train(pieces: Pieces) -> None:
    """The training transform's moments, for validation, too."""
    x, _ = arrays(pieces.train)
    assert pieces.val is not None
    v, _ = arrays(pieces.val)
    dims = (0, 2, 3)
    gain = x.std(dims, keepdim=True) / v.std(dims, keepdim=True)
    shift = x.mean(dims, keepdim=True) - gain * v.mean(dims, keepdim=True)
    pieces.val = Mapped(pieces.val, lambda x, y: (gain * x + shift, y))


def clean_test(pieces: Pieces) -> None:
    """Validate on images that training has never seen, read as they should be."""
    pieces.val = pieces.test


def finite_only(pieces: Pieces) -> None:
    x, y = arrays(pieces.train)
    good = x.flatten(1).isfinite().all(1)
    pieces.train = Batches(x[good], y[good])


def relabel(pieces: Pieces) -> None:
    pieces.train = Mapped(pieces.train, lambda x, y: (x, y - 1))
    assert pieces.val is not None
    pieces.val = Mapped(pieces.val, lambda x, y: (x, y - 1))


def decodable_only(pieces: Pieces) -> None:
    x, y = arrays(pieces.train)
    good = x.flatten(1).std(1) > 0
    pieces.train = Batches(x[good], y[good])
    pieces.steps *= 3


def one_class_list(pieces: Pieces) -> None:
    assert pieces.val is not None
    pieces.val = Mapped(pieces.val, lambda x, y: (x, 9 - y))


def weigh_classes(pieces: Pieces) -> None:
    _, y = arrays(pieces.train)
    count = y.bincount(minlength=10).float()
    pieces.loss = nn.CrossEntropyLoss(weight=count.sum() / (10 * count.clamp_min(1)))


def option(**settings: Any) -> Change:
    """Other settings for all of the optimizer's groups."""

    def change(pieces: Pieces) -> None:
        for group in pieces.optimizer.param_groups:
            group.update(settings)

    return change


def optimize_all(pieces: Pieces) -> None:
    pieces.model.requires_grad_(True)
    params = list(pieces.model.parameters())
    pieces.optimizer = SGD(params, 0.05, 0.9)


def adam_for_all(pieces: Pieces) -> None:
    pieces.model.requires_grad_(True)
    pieces.optimizer = Adam(pieces.model.parameters(), 2e-3)


def initialize(gain: float) -> Change:
    """Every weight anew with variance gain^2 / fan_in, every bias zero."""

    def change(pieces: Pieces) -> None:
        for layer in pieces.model.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                nn.init.normal_(layer.weight, std=gain * layer.weight[0].numel() ** -0.5)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    return change


def zero_bias(*names: str) -> Change:
    def change(pieces: Pieces) -> None:
        for name in names:
            nn.init.zeros_(pieces.model.get_submodule(name).bias)  # type: ignore[arg-type]

    return change


def shrink(name: str, factor: float) -> Change:
    def change(pieces: Pieces) -> None:
        with torch.no_grad():
            pieces.model.get_submodule(name).weight.mul_(factor)  # type: ignore[operator]

    return change


def replaced(name: str, make: Callable[[], nn.Module]) -> Change:
    """Another module in this place."""

    def change(pieces: Pieces) -> None:
        parent, _, leaf = name.rpartition(".")
        setattr(pieces.model.get_submodule(parent), leaf, make())

    return change


def removed(name: str) -> Change:
    return replaced(name, nn.Identity)


def all_replaced(kind: type[nn.Module], make: Callable[[], nn.Module]) -> Change:
    def change(pieces: Pieces) -> None:
        for parent in list(pieces.model.modules()):
            for name, child in list(parent.named_children()):
                if type(child) is kind:
                    setattr(parent, name, make())

    return change


def attributes(kind: type[nn.Module], **values: Any) -> Change:
    """Another setting for all modules of a kind."""

    def change(pieces: Pieces) -> None:
        for module in pieces.model.modules():
            if isinstance(module, kind):
                for name, value in values.items():
                    setattr(module, name, value)

    return change


def model_line(**values: Any) -> Change:
    """One line of the model's own code, which the program keeps behind an attribute."""

    def change(pieces: Pieces) -> None:
        for name, value in values.items():
            setattr(pieces.model, name, value)

    return change


def loss_is(loss: Callable[[Any, Tensor], Tensor]) -> Change:
    def change(pieces: Pieces) -> None:
        pieces.loss = loss

    return change


def registered(pieces: Pieces) -> None:
    layers = list(pieces.model.layers)  # type: ignore[arg-type]
    pieces.model.layers = nn.ModuleList(layers)
    pieces.optimizer = Adam(pieces.model.parameters(), 2e-3)


def unshared(pieces: Pieces) -> None:
    body = pieces.model.get_submodule("body")
    assert isinstance(body, nn.Sequential)
    copies = nn.Sequential(*(copy.deepcopy(layer) for layer in body))
    for layer in copies.modules():
        if isinstance(layer, nn.Conv2d):
            layer.reset_parameters()
    pieces.model.body = copies
    pieces.optimizer = SGD(pieces.model.parameters(), 0.05, 0.9)


def wider(pieces: Pieces) -> None:
    pieces.model.fc2 = nn.Linear(64, 32)
    pieces.model.head = nn.Linear(32, 10)
    pieces.optimizer = SGD(pieces.model.parameters(), 0.05, 0.9)


def permuted(pieces: Pieces) -> None:
    """Undo the reshape, then permute."""

    def right(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        n, c, h, w = x.shape
        return x.reshape(n, h, w, c).permute(0, 3, 1, 2), y

    pieces.train = Mapped(pieces.train, right)
    assert pieces.val is not None
    pieces.val = Mapped(pieces.val, right)


def no_schedule(pieces: Pieces) -> None:
    pieces.schedule = None


def five_outputs(pieces: Pieces) -> None:
    pieces.model.head = nn.Linear(32, 5)
    pieces.optimizer = Adam(pieces.model.parameters(), 4e-3)


def unclipped(pieces: Pieces) -> None:
    pieces.optimizer.norm = 5.0  # type: ignore[attr-defined]


def split_first(pieces: Pieces) -> None:
    """No validation image in training."""
    x, y = arrays(pieces.train)
    assert pieces.val is not None
    v, _ = arrays(pieces.val)
    seen = (x[:, None] == v[None]).flatten(2).all(2).any(1)
    pieces.train = Batches(x[~seen], y[~seen], 20)


def gains_to_zero(pieces: Pieces) -> None:
    for name, p in pieces.model.named_parameters():
        if name.endswith("gain"):
            nn.init.zeros_(p)


def scaled_in_evaluation(pieces: Pieces) -> None:
    for module in pieces.model.modules():
        if hasattr(module, "scaled"):
            module.scaled = True  # type: ignore[assignment]


class Flagged(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.7, training=self.training)


def listens_to_eval(pieces: Pieces) -> None:
    pieces.model.sick = False


def batch_first(pieces: Pieces) -> None:
    pieces.model.get_submodule("attention").batch_first = True  # type: ignore[assignment]


def self_normalizing(pieces: Pieces) -> None:
    all_replaced(nn.Sigmoid, nn.SELU)(pieces)
    initialize(1.0)(pieces)


def validation_as_it_is(pieces: Pieces) -> None:
    assert pieces.val is not None
    pieces.val = in_order(*arrays(pieces.val))


CHANGES: dict[str, tuple[str, Change]] = {
    "divided_by_a_zero_deviation": ("drop|remove|guard|decod", finite_only),
    "pixels_up_to_255": ("normali|standardi|mean", normalize),
    "pixels_of_one_thousandth": ("normali|standardi|mean", normalize),
    "most_files_decode_to_black": ("decod|read|remove|drop", decodable_only),
    "reshaped_instead_of_permuted": ("permute", permuted),
    "validation_is_not_normalized": ("same|one|share", val_like_train),
    "validation_is_inverted": ("same|one|share", clean_test),
    "split_after_copying": ("split|remove|drop", split_first),
    "labels_from_one": ("re-?index|subtract|number|0 to|outputs", relabel),
    "classes_listed_in_another_order": ("class list|one list|order|same", one_class_list),
    "one_class_has_everything": ("weigh|sampl", weigh_classes),
    "batches_by_class": ("shuffle", batched(50)),
    "all_weights_equal": ("random|init", initialize(1.4)),
    "all_convolutions_zero": ("random|init", initialize(1.4)),
    "ten_layers_of_small_weights": ("init|gain|scale", initialize(1.0)),
    "weights_of_deviation_one": ("init|gain|scale", initialize(1.4)),
    "branches_four_times_too_loud": ("branch|zero|init|gain|scale", gains_to_zero),
    "a_loud_head": ("head|shrink|small|last", shrink("head", 1 / 150)),
    "bias_that_shuts_the_units": ("bias|init|rate|leaky", zero_bias("fc2")),
    "most_channels_dead": ("bias|init|rate|leaky", zero_bias("conv1", "conv2")),
    "tanh_at_its_ends": ("init|small|scale|gain|weights", initialize(1.0)),
    "activations_removed": ("activation|nonlinear|ReLU", all_replaced(nn.Identity, nn.ReLU)),
    "fifteen_sigmoids": (
        "ReLU|init|normali|residual|activation",
        self_normalizing,
    ),
    "selu_with_kaiming_and_gain_three": ("init|gain|scale|LeCun", initialize(1.0)),
    "features_detached": ("detach|no_grad|graph", model_line(sick=False)),
    "features_rounded": ("round|detach|straight", removed("features.rounded")),
    "softmax_before_cross_entropy": ("softmax|remove|logits|drop", removed("classifier.softmax")),
    "relu_after_the_head": ("remove|logits|activation|drop", removed("relu")),
    "logits_bounded_by_one_half": ("bound|remove|scale|logits", model_line(sick=False)),
    "one_output_missing": ("output|head|class", five_outputs),
    "loss_summed_over_the_batch": ("mean|average", loss_is(F.cross_entropy)),
    "softmax_over_the_batch": ("axis|dim|class|loss", loss_is(F.cross_entropy)),
    "regression_on_the_class_number": ("cross|loss|target", loss_is(F.cross_entropy)),
    "likelihood_without_its_minus": ("sign|minus|negat|maximi", loss_is(F.cross_entropy)),
    "class_zero_as_padding": ("ignore|mask|weight", loss_is(F.cross_entropy)),
    "only_the_head_is_optimized": ("optimizer|param", optimize_all),
    "optimizer_of_a_copy": ("optimizer|param", optimize_all),
    "random_convolutions_frozen": ("requires_grad|unfreeze|train", adam_for_all),
    "sgd_at_two": ("lower|small|reduce|rate|lr", option(lr=0.1)),
    "adam_at_one_third": ("lower|small|reduce|rate|lr", option(lr=2e-3)),
    "adam_at_one_millionth": ("raise|larger|higher|rate|lr", option(lr=2e-3)),
    "sgd_without_momentum_at_1e_5": ("raise|larger|higher|rate|lr", option(lr=0.1)),
    "gradients_clipped_to_nothing": ("raise|larger|higher|rate|lr|clip", unclipped),
    "schedule_over_before_it_began": ("schedule|raise|larger|rate|lr", no_schedule),
    "decay_of_ten": ("lower|small|reduce|decay", option(weight_decay=0.01)),
    "decay_as_large_as_the_gradient": ("lower|small|reduce|decay", option(weight_decay=1e-4)),
    "momentum_longer_than_the_run": ("momentum", option(momentum=0.9)),
    "epsilon_of_one": ("eps", option(eps=1e-8)),
    "a_layer_of_one_unit": ("wid|more units|outputs|channels|dimension", wider),
    "keeps_three_percent": ("p=0.5", attributes(nn.Dropout, p=0.5)),
    "dropout_on_the_logits": ("move|remove|before|drop", removed("drop")),
    "batch_norm_over_two_images": ("batch|larger|group", batched(64)),
    "running_averages_that_never_move": ("momentum", attributes(nn.BatchNorm2d, momentum=0.1)),
    "dropout_never_rescaled": ("scale|1 ?- ?p|keep|divide|invert", scaled_in_evaluation),
    "layers_in_a_list": ("ModuleList|register", registered),
    "features_centered_over_the_batch": ("batch|axis|dim", model_line(sick=False)),
    "five_times_the_same_layer": ("copy|separate|own|each|new|deepcopy|construct", unshared),
    "blocks_never_called": ("call|use|remove|forward", model_line(sick=False)),
    "functional_dropout_without_its_flag": ("training", replaced("drop", Flagged)),
    "eval_that_does_nothing": (r"train\(|eval|mode", listens_to_eval),
    "attention_across_images": ("batch_first|batch", batch_first),
    "validation_is_augmented": (
        "deterministic|augment|random|transform",
        validation_as_it_is,
    ),
}

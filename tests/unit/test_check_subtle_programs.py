"""Faults that hide, each with a healthy twin, and healthy programs that look faulty."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from goodfit.check import check
from goodfit.check.probes.held_out import HeldOut
from goodfit.check.probes.learnable import Learnable, contradictions
from goodfit.check.probes.samples import Samples, Side
from goodfit.check.probes.schedule import played
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import find

Batches = list[tuple[Tensor, Tensor]]


def vectors(n: int = 320, k: int = 4, seed: int = 0, spread: float = 0.45) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    centers = torch.randn(k, 12, generator=torch.Generator().manual_seed(7))
    y = torch.randint(0, k, (n,), generator=g)
    return centers[y] + spread * torch.randn(n, 12, generator=g), y


def stripes(n: int = 320, side: int = 16, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Stripes across or along, with fine noise."""
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 2, (n,), generator=g)
    wave = torch.sin(
        torch.arange(side) * (0.6 + 0.4 * torch.rand(n, 1, generator=g))
        + 6 * torch.rand(n, 1, generator=g)
    )
    along, across = wave[:, None, None, :], wave[:, None, :, None]
    x = torch.where((y == 0)[:, None, None, None], along, across).expand(n, 3, side, side)
    return x + 0.4 * torch.randn(n, 3, side, side, generator=g), y


def cut(x: Tensor, y: Tensor, size: int = 32) -> Batches:
    return list(zip(x.split(size), y.split(size), strict=True))


def rules(*args: Any, select: str, **more: Any) -> set[str]:
    torch.manual_seed(0)
    report = check(*args, select=[select], **more)
    return {f.rule for f in report.findings if f.severity != "advice"}


def net(out: int = 4, *last: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, out), *last)


@pytest.mark.parametrize("sick", [True, False])
def test_one_logit_through_a_sigmoid_into_a_loss_with_its_own(sick):
    x, y = vectors(k=2)
    model = net(1, *([nn.Sigmoid()] if sick else []), nn.Flatten(0))
    found = rules(model, cut(x, y.float()), loss=nn.BCEWithLogitsLoss(), select="output-activation")
    assert bool(found) == sick


def test_one_logit_through_a_sigmoid_into_plain_bce_is_right():
    x, y = vectors(k=2)
    model = net(1, nn.Sigmoid(), nn.Flatten(0))
    assert not rules(model, cut(x, y.float()), loss=nn.BCELoss(), select="output-activation")


@pytest.mark.parametrize(("factor", "sick"), [(1e-6, True), (1.0, False)])
def test_a_scheduler_whose_highest_rate_is_too_low(factor, sick):
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: factor * min(1.0, t / 10))
    found = rules(
        model, cut(*vectors()), optimizer=optimizer, schedule=schedule, steps=200,
        select="lr-too-low",
    )  # fmt: skip
    assert bool(found) == sick


def test_a_played_scheduler_is_left_as_it_was():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=50)
    before = dict(schedule.state_dict()), [dict(g) for g in optimizer.param_groups]
    course = played(schedule, optimizer, 49)
    assert max(rates[0] for rates in course) == pytest.approx(0.5, rel=0.01)
    assert (dict(schedule.state_dict()), [dict(g) for g in optimizer.param_groups]) == before


@pytest.mark.parametrize(
    "targets", [lambda y: y.float()[:, None], lambda y: y[:, None], lambda y: F.one_hot(y, 4)]
)
def test_targets_in_a_form_that_cross_entropy_refuses(targets):
    x, y = vectors()
    assert rules(net(), cut(x, targets(y)), select="labels-invalid")


@pytest.mark.parametrize("sick", [True, False])
def test_mirrored_and_oversampled_before_the_split(sick):
    x, y = stripes(240)
    xs, ys = torch.cat([x, x, x.flip(3)]), torch.cat([y, y, y])
    order = torch.randperm(len(ys), generator=torch.Generator().manual_seed(0))
    train, val = (xs[order[:500]], ys[order[:500]]), (xs[order[500:]], ys[order[500:]])
    if not sick:
        val = stripes(200, seed=1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(768, 2))
    assert bool(rules(model, cut(*train), cut(*val), select="train-val-leak")) == sick


@pytest.mark.parametrize("sick", [True, False])
def test_inputs_rounded_until_classes_share_them(sick):
    x, y = vectors()
    x = (x * 0.4).round().clamp(-1, 0) if sick else x
    found = rules(net(), cut(x[:, :3].repeat(1, 4), y), select="input-degenerate")
    assert bool(found) == sick


@pytest.mark.parametrize("sick", [True, False])
def test_val_images_come_from_thumbnails(sick):
    x, y = stripes(200, seed=1)
    if sick:
        x = F.interpolate(F.interpolate(x, size=6, mode="area"), size=16, mode="bilinear")
    model = nn.Sequential(nn.Flatten(), nn.Linear(768, 2))
    train = DataLoader(TensorDataset(*stripes()), 32, shuffle=True)
    found = rules(model, train, cut(x, y), select="train-val-shift")
    assert bool(found) == sick


def test_a_list_of_batches_may_be_augmented_so_sharpness_says_nothing():
    x, y = stripes(200, seed=1)
    noisy, labels = stripes()
    noisy = noisy + 0.6 * torch.randn(noisy.shape, generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(nn.Flatten(), nn.Linear(768, 2))
    assert not rules(model, cut(noisy, labels), cut(x, y), select="train-val-shift")


def noise_findings(found: Learnable, *more: object) -> list[Any]:
    x = torch.randn(40, 4)
    data = Samples(Side(x, None, None, torch.zeros(40)))
    return list(find(Rule, "label-noise")()(Seen(data, found, *more)))


def judged(wrong: float, sure: float, surest: float) -> Learnable:
    return Learnable(
        1 - wrong, 1 - wrong, 0.25, 1000, 0, 4,
        wrong=wrong, sure_wrong=sure, surest_wrong=surest, sure=250,
    )  # fmt: skip


def test_noise_is_contradiction_that_sureness_does_not_lessen():
    assert noise_findings(judged(0.45, 0.38, 0.39))


def test_labels_that_the_net_predicts_are_no_noise():
    assert not noise_findings(judged(0.45, 0.38, 0.39), HeldOut(0.92, 190, chance=0.25))
    assert noise_findings(judged(0.45, 0.38, 0.39), HeldOut(0.55, 190, chance=0.25))


def test_classes_that_overlap_are_no_noise():
    assert not noise_findings(judged(0.45, 0.28, 0.12))


def test_a_classifier_that_knows_little_says_nothing_about_noise():
    assert not noise_findings(judged(0.66, 0.5, 0.45))


def test_sure_predictions_come_first():
    votes = torch.tensor([[0.9, 0.1], [0.55, 0.45], [0.2, 0.8], [0.45, 0.55]] * 10)
    right = torch.tensor([True, False, True, False] * 10)
    assert contradictions(votes, right) == (0.5, 0.0, 0.0, 10)


def test_every_rule_says_what_its_evidence_is():
    from goodfit.check import explain, rule_names

    for name in rule_names():
        assert "Evidence: " in explain(name), name


def turned(x: Tensor) -> Tensor:
    """The same points in other axes: moments of whole samples stay, what features mean does not."""
    axes, _ = torch.linalg.qr(torch.randn(12, 12, generator=torch.Generator().manual_seed(3)))
    return x @ axes


@pytest.mark.parametrize("sick", [True, False])
def test_either_side_can_be_learned_but_what_is_learned_does_not_carry_over(sick):
    (x, y), (vx, vy) = vectors(600), vectors(300, seed=1)
    batches = cut(x, y), cut(turned(vx) if sick else vx, vy)
    assert bool(rules(net(), *batches, select="train-val-shift")) == sick


def test_renumbered_classes_are_no_shift_of_the_inputs():
    (x, y), (vx, vy) = vectors(600), vectors(300, seed=1)
    batches = cut(x, y), cut(vx, (vy + 1) % 4)
    assert not rules(net(), *batches, select="train-val-shift")
    assert rules(net(), *batches, select="label-mapping-mismatch")


@pytest.mark.parametrize("sick", [True, False])
def test_a_stamp_leaks_the_label_and_changed_inputs_do_not(sick):
    (x, y), (vx, vy) = vectors(600, spread=2.0), vectors(300, seed=1, spread=2.0)
    if sick:
        x[:, 5] = y.float()
    else:  # one telling feature on either side, another one each
        x[:, 5], vx[:, 6] = y.float(), vy.float()
    assert bool(rules(net(), cut(x, y), cut(vx, vy), select="label-leak")) == sick


class Doubled(nn.Module):
    """A net of one output; `pair` makes two scores of it that its loss never sees."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    @staticmethod
    def pair(out: Tensor) -> Tensor:
        return torch.cat([-out, out], 1)

    @staticmethod
    def loss(out: Tensor, y: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(out[:, 0], y.float())


def test_scores_that_are_made_anew_say_nothing_about_the_loss():
    x, y = vectors(k=2)
    args = Doubled(), cut(x, y)
    assert not rules(*args, loss=Doubled.loss, logits=Doubled.pair, select="loss-sign")


@pytest.mark.parametrize(
    ("loss", "cause"),
    [
        (lambda z, y: F.cross_entropy(z, (y + 1) % 4), "loss-target-mismatch"),
        (lambda z, y: -F.cross_entropy(z, y), "loss-sign"),
        (F.cross_entropy, None),
    ],
)
def test_the_next_class_rewarded_is_told_from_the_true_one_punished(loss, cause):
    for rule in ("loss-target-mismatch", "loss-sign"):
        assert bool(rules(net(), cut(*vectors()), loss=loss, select=rule)) == (rule == cause)


@pytest.mark.parametrize("power", [0, 1, 2])
def test_an_average_divided_by_the_batch_once_more(power):
    loss = (lambda z, y: F.cross_entropy(z, y) / len(y) ** power) if power else F.cross_entropy
    assert bool(rules(net(), cut(*vectors()), loss=loss, select="loss-reduction")) == (power > 0)


@pytest.mark.parametrize("sick", [True, False])
def test_one_output_under_a_loss_that_wants_one_for_each_class(sick):
    found = rules(net(1 if sick else 2), cut(*vectors(k=2)), select="output-width")
    assert bool(found) == sick


class LeftOut(nn.Module):
    """A residual branch that training leaves out, for all samples at once."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        if self.training and torch.rand(()) < 0.9:
            return x
        return x + self.branch(x) * (10 if self.training else 1)


def test_a_branch_that_was_left_out_is_no_missing_nonlinearity():
    model = nn.Sequential(nn.Linear(12, 32), LeftOut(32), nn.Linear(32, 4))
    assert not rules(model, cut(*vectors()), select="no-nonlinearity")
    assert rules(nn.Sequential(model[0], model[2]), cut(*vectors()), select="no-nonlinearity")


def test_columns_of_yes_and_no_agree_across_classes_by_nature():
    x, y = vectors(spread=2.0)
    table = (x[:, :5] > 0).float()
    model = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 4))
    for rule in ("input-degenerate", "duplicate-samples"):
        assert not rules(model, cut(table, y), select=rule)


def test_a_map_that_a_shortcut_uses_too_is_not_pointless():
    class Shortcut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.branch = nn.Sequential(nn.Linear(32, 32), nn.ReLU())

        def forward(self, x: Tensor) -> Tensor:
            return x + self.branch(x)

    model = nn.Sequential(nn.Linear(12, 32), Shortcut(), nn.Linear(32, 4))
    assert not rules(model, cut(*vectors()), select="no-nonlinearity")


class ThroughNumpy(nn.Module):
    """The way from the weights to the scores leaves torch."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(12, 32), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.last(torch.relu(self.first(x)))
        return torch.from_numpy(y.detach().numpy().copy()).requires_grad_()


class HeadAfterNumpy(nn.Module):
    """Batch norm bounds what leaves torch; the head has weights that the way does not show."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.head = nn.Linear(12, 32), nn.BatchNorm1d(32), nn.Linear(32, 4)
        nn.init.normal_(self.head.weight, std=0.05)  # small scores: their best loss is far from 0

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm(self.first(x)))
        return self.head(torch.from_numpy(y.detach().numpy().copy()))


@pytest.mark.parametrize("model", [ThroughNumpy(), HeadAfterNumpy()])
def test_scores_that_cannot_be_followed_to_weights_are_not_called_bounded(model):
    assert not rules(model, cut(*vectors()), select="output-activation")
    assert rules(model, cut(*vectors()), select="no-gradient")


@pytest.mark.parametrize("width", [1, 16])
def test_a_head_that_reads_one_pooled_value(width):
    x, y = stripes()
    body = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, width, 3), nn.ReLU()
    model = nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 6))
    assert bool(rules(model, cut(x, y), select="information-bottleneck")) == (width == 1)


class Places(nn.Module):
    """A learned offset that is added or not, and a layer whose output is thrown away or not."""

    def __init__(self, adds: bool, keeps: bool) -> None:
        super().__init__()
        self.place, self.adds, self.keeps = nn.Parameter(torch.zeros(12)), adds, keeps
        self.extra, self.net = nn.Linear(12, 12), net()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.place if self.adds else x
        y = torch.relu(self.extra(x))
        return self.net(x + y if self.keeps else x)


@pytest.mark.parametrize(
    ("adds", "keeps", "where"),
    [(False, True, "place"), (True, False, "extra"), (True, True, None)],
)
def test_what_is_never_used_or_computed_in_vain_is_unused_and_not_cut_off(adds, keeps, where):
    report = check(
        Places(adds, keeps), cut(*vectors()), select=["unused-parameters", "no-gradient"]
    )
    found = [(f.rule, f.where) for f in report.findings]
    assert found == ([("unused-parameters", where)] if where else [])

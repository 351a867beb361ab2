"""Rules judge made-up records: no model is needed to know what they say."""

import math
from dataclasses import replace

import pytest
import torch

from goodfit.check.probes.dry_run import DryRun
from goodfit.check.probes.evaluation import Evaluation, Expectation
from goodfit.check.probes.held_out import HeldOut
from goodfit.check.probes.learnable import Learnable
from goodfit.check.probes.loss_facts import LossFacts
from goodfit.check.probes.modes import Modes
from goodfit.check.probes.norms import Norm, Norms
from goodfit.check.probes.overfit import Overfit
from goodfit.check.probes.samples import Samples, Side
from goodfit.check.probes.training import Run, Training
from goodfit.check.probes.wiring import Group, Parameter, Stuck, Wiring
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import find


def alarms(rule: str, *records: object) -> list[tuple[str, str]]:
    found = find(Rule, rule)()(Seen(*records))
    return [(f.severity, f.where) for f in found if f.severity != "advice"]


def side(x: torch.Tensor, y: torch.Tensor | None = None, size: int = 16) -> Side:
    y = torch.arange(len(x)) % 4 if y is None else y
    return Side(x, y, y, torch.arange(len(x)) // size)


def normal(n: int = 64, d: int = 9, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def param(name: str, **more: object) -> Parameter:
    given = {"wants_grad": True, "optimized": True, "drawn": True, "lr": 0.1} | more
    return Parameter(name, name.rpartition(".")[0], 100, 2, **given)  # type: ignore[arg-type]


def run(start: float, end: float, factor: float | None = 1.0, **more: object) -> Run:
    losses = tuple(start + (end - start) * i / 29 for i in range(30))
    return Run(factor, losses, (), start, end, images=256, **more)  # type: ignore[arg-type]


def test_the_first_bad_sample_is_named_by_batch_and_place():
    x = normal()
    x[21, 3] = math.inf
    assert alarms("input-nonfinite", Samples(side(x))) == [("error", "train batch 1, sample 5")]


@pytest.mark.parametrize(("factor", "count"), [(1, 0), (100, 1), (0.001, 1)])
def test_only_scales_far_from_one_are_alarms(factor, count):
    assert len(alarms("input-scale", Samples(side(normal() * factor)))) == count


def test_equal_samples_in_both_splits_are_a_leak():
    x = normal()
    leaky = Samples(side(x), side(torch.cat([x[:8], normal(24, seed=1)])))
    clean = Samples(side(x), side(normal(32, seed=1)))
    assert alarms("train-val-leak", leaky) == [("error", "val sample 0")]
    assert not alarms("train-val-leak", clean)


def test_sampling_with_replacement_is_no_duplication():
    x = normal(8).repeat(8, 1)
    assert alarms("duplicate-samples", Samples(side(x)))
    drawn = Side(x, None, None, torch.arange(64) // 16, draws=True)
    assert not alarms("duplicate-samples", Samples(drawn))


@pytest.mark.parametrize(("rare", "count"), [(60, 0), (3, 1)])
def test_imbalance_needs_ten_to_one(rare, count):
    y = torch.tensor([0] * 200 + [1] * rare)
    assert len(alarms("class-imbalance", Samples(side(normal(len(y)), y)))) == count
    assert not alarms("class-imbalance", Samples(side(normal(len(y)), y), weighted=True))


def test_the_class_that_train_lacks_is_named():
    train, val = side(normal(), torch.arange(64) % 3), side(normal(32), torch.arange(32) % 4)
    assert alarms("class-missing", Samples(train, val)) == [("error", "class 3")]


def test_sorted_labels_make_unshuffled_batches():
    y = torch.arange(128) % 4
    assert alarms("unshuffled-batches", Samples(side(normal(128), y.sort().values)))
    assert not alarms("unshuffled-batches", Samples(side(normal(128), y)))  # balanced batches


def test_labels_beyond_the_outputs_are_invalid_unless_one_output_is_missing():
    dry = DryRun("loss", "IndexError: Target 4 is out of bounds.", scores=(16, 4))
    shifted = Samples(side(normal(), torch.arange(64) % 4 + 1))
    short = Samples(side(normal(), torch.arange(64) % 5))
    assert alarms("labels-invalid", shifted, dry)
    assert not alarms("labels-invalid", short, dry)
    assert alarms("output-width", short, dry)


def test_chance_accuracy_on_many_samples_means_uninformative_labels():
    data = Samples(side(normal()))
    assert alarms("labels-uninformative", data, Learnable(0.25, 0.25, 0.26, 800, 0, 4))
    assert not alarms("labels-uninformative", data, Learnable(0.35, 0.33, 0.26, 800, 300, 4))
    assert not alarms("labels-uninformative", data, Learnable(0.25, 0.25, 0.26, 100, 0, 4))


def test_a_renumbering_that_wins_is_a_mapping_mismatch():
    good = torch.eye(4).long() * 50
    found = Learnable(0.9, 0.0, 0.25, 800, 200, 4, good.roll(1, 1))
    assert alarms("label-mapping-mismatch", found) == [("error", "val class 0")]
    assert not alarms("label-mapping-mismatch", Learnable(0.9, 1.0, 0.25, 800, 200, 4, good))


@pytest.mark.parametrize(
    ("rule", "sick", "healthy"),
    [
        ("loss-sign", {"rewarded": 0.0, "punished": 1.0}, {"rewarded": 1.0, "punished": 0.0}),
        ("loss-target-mismatch", {"rewarded": 0.2, "punished": 0.8}, {"rewarded": 1.0}),
        ("loss-target-mismatch", {"rewarded": 1.0, "depends_on_others": 0.5}, {"rewarded": 1.0}),
        ("loss-ignores-samples", {"ignored": {3: 7}}, {"ignored": {}}),
        ("loss-reduction", {"doubled": 2.0, "constant": 140.0}, {"doubled": 1.0}),
        ("loss-reduction", {"doubled": 2.0, "constant": 140.0}, {"doubled": 2.0, "constant": 2.3}),
        (
            "initial-loss-off",
            {"start": 30.0, "constant": 2.3, "shift": True},
            {"start": 3.0, "constant": 2.3, "shift": True},
        ),
        (
            "output-activation",
            {"shift": True, "rows_sum": 0.0, "negative": 0.0},
            {"shift": True, "rows_sum": 3.0, "negative": -1.0},
        ),
        (
            "output-activation",
            {"constant": 2.3, "best": 1.4, "rewarded": 1.0, "low": -1.0, "high": 1.0},
            {"constant": 2.3, "best": 0.0, "rewarded": 1.0},
        ),
    ],
)
def test_facts_about_the_loss(rule, sick, healthy):
    rest = (DryRun(), Wiring((), (Group(0, 1, {"lr": 0.1}),)))
    base = {"judged": 200, "outputs": 10, "images": 256}
    assert alarms(rule, LossFacts(**base | sick), *rest)
    assert not alarms(rule, LossFacts(**base | healthy), *rest)


def test_a_slower_run_that_learns_convicts_the_learning_rate():
    diverged, slower = run(2.3, 9.0), run(2.3, 1.0, 0.1)
    assert alarms("lr-too-high", Training(diverged, (slower,), peak=4.0))
    assert not alarms("lr-too-high", Training(diverged, (run(2.3, 2.3, 0.1),), peak=4.0))
    assert not alarms("lr-too-high", Training(run(2.3, 1.0), (slower,), peak=4.0))


def test_a_run_that_jumped_is_convicted_by_a_tenth_far_ahead_of_it_alone():
    def jumped(end: float, accuracy: float, *, peak: float = 90.0) -> Run:
        losses = (2.3, peak, *(end for _ in range(28)))
        return Run(1.0, losses, (), 2.3, end, accuracy_start=0.1, accuracy_end=accuracy, images=256)

    ahead = run(2.3, 0.2, 0.1, accuracy_start=0.1, accuracy_end=0.95)
    behind = run(2.3, 2.0, 0.1, accuracy_start=0.1, accuracy_end=0.3)
    assert alarms("lr-too-high", Training(jumped(1.2, 0.5), (ahead,), peak=0.1))
    assert not alarms("lr-too-high", Training(jumped(1.2, 0.5), (behind,), peak=0.1))
    assert not alarms("lr-too-high", Training(jumped(0.25, 0.94), (ahead,), peak=0.1))
    assert not alarms("lr-too-high", Training(jumped(1.2, 0.5, peak=2.5), (ahead,), peak=0.1))


def test_a_faster_run_that_learns_convicts_it_too_unless_the_run_is_long():
    still, faster = run(2.3, 2.299, predicted=(1e-6,) * 30), run(2.3, 1.0, 1000.0)
    facts = LossFacts(outputs=10, accuracy=0.1)
    assert alarms("lr-too-low", Training(still, (faster,), peak=1e-6), facts)
    slow = run(2.3, 2.29, predicted=(1e-3,) * 30)
    assert not alarms("lr-too-low", Training(slow, (faster,), peak=1e-3), facts)


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({"lr": 0.1, "momentum": 0.9}, 0),
        ({"lr": 0.1, "momentum": 0.999}, 1),
        ({"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8}, 0),
        ({"lr": 1e-3, "betas": (0.999, 0.9), "eps": 1e-8}, 1),
    ],
)
def test_memories_longer_than_a_run(settings, count):
    assert len(alarms("optimizer-hyperparameters", Wiring((), (Group(0, 2, settings),)))) == count


def test_what_the_optimizer_forgot_is_named_by_its_layer():
    group = (Group(0, 1, {"lr": 0.1}),)
    forgot = (param("body.weight", optimized=False), param("head.weight"))
    assert alarms("params-not-optimized", Wiring(forgot, group)) == [("error", "body")]
    trained = (param("body.weight", optimized=False, drawn=False), param("head.weight"))
    assert not alarms("params-not-optimized", Wiring(trained, group))


def test_frozen_norms_in_evaluation_are_on_purpose():
    free, frozen = (Stuck("norm", "BatchNorm2d", "eval", frozen) for frozen in (False, True))
    assert alarms("stuck-mode", Wiring((), stuck=(free,))) == [("error", "norm")]
    assert not alarms("stuck-mode", Wiring((), stuck=(frozen,)))


def test_slow_but_sound_averages_are_no_fault():
    norm = Norm("norm", 5.0, 0.01, 60, False, 0.0, False, True)
    assert not alarms("bn-stats", Norms((norm,), 0.2, 0.9, 2.0, 0.3, 512))
    old = Norm("norm", 5.0, 0.1, 900, False, 0.0, False, True)
    assert alarms("bn-stats", Norms((old,), 0.2, 0.9, 2.0, 0.3, 512)) == [("error", "norm")]


@pytest.mark.parametrize(
    ("scale", "z", "plain", "count"),
    [(0.6, 80.0, True, 1), (1.0, 0.5, True, 0), (0.6, 2.0, True, 0), (0.9, 80.0, False, 0)],
)
def test_only_certain_and_large_gaps_are_mismatches(scale, z, plain, count):
    one = Expectation("drop", "Drop", scale, 0.3, z, plain, 400)
    assert len(alarms("eval-expectation-mismatch", Evaluation(expectations=(one,)))) == count


@pytest.mark.parametrize(("scale", "bias", "count"), [(2.5, 0.66, 0), (2.5, 4.8, 1), (0.2, 0.7, 1)])
def test_noise_before_rectifiers_raises_the_mean_of_a_block_by_nature(scale, bias, count):
    one = Expectation("block", "Block", scale, bias, 80.0, False, 100, relative=abs(scale - 1))
    assert len(alarms("eval-expectation-mismatch", Evaluation(expectations=(one,)))) == count


@pytest.mark.parametrize(
    ("right", "arrived", "count"), [(0.2, True, 1), (0.2, False, 0), (0.9, True, 0)]
)
def test_evaluation_that_fails_where_training_does_not_is_a_mismatch(right, arrived, count):
    lost = round(200 * (0.95 - right))
    modes = Modes(200, 0.95, right, 0.2, 1 - right, lost, 0, arrived, "shadow")
    assert len(alarms("eval-expectation-mismatch", Evaluation(), modes)) == count


def test_scores_that_lean_on_other_samples_leak():
    assert alarms("batch-leakage", Evaluation(leaks=0.2, leaks_at="norm")) == [("error", "norm")]
    assert not alarms("batch-leakage", Evaluation(leaks=1e-6))
    assert alarms("eval-nondeterministic", Evaluation(differs=0.3, random_at="drop"))
    assert not alarms("eval-nondeterministic", Evaluation(differs=1e-7))


def test_the_catch_all_wants_a_reference_that_succeeds():
    stuck = Training(run(2.3, 2.3))
    assert alarms("cannot-overfit-batch", Overfit(2.3, 2.3, 0.2, 1.0, 16, 60), stuck)
    assert not alarms("cannot-overfit-batch", Overfit(2.3, 2.3, 0.2, 0.4, 16, 60), stuck)
    assert not alarms(
        "cannot-overfit-batch", Overfit(2.3, 2.3, 0.2, 1.0, 16, 60), Training(run(2.3, 1.0))
    )


def test_a_net_that_knows_held_out_images_acquits_the_labels():
    blind = Learnable(0.25, 0.26, 0.25, 1000, 200, 4, notes={"near": 0.25})
    data = Samples(side(normal(1000)))
    assert alarms("labels-uninformative", data, blind)
    assert alarms("labels-uninformative", data, blind, HeldOut(0.27, 190, 0.25, 200, 0.25, 0.25))
    assert not alarms("labels-uninformative", data, blind, HeldOut(0.6, 190, chance=0.25))
    assert not alarms(
        "labels-uninformative", data, blind, HeldOut(val=0.6, val_images=200, val_chance=0.25)
    )


@pytest.mark.parametrize(
    ("val", "renumbered", "count"), [(0.28, 0.4, 1), (0.0, 0.93, 0), (0.8, 0.8, 0)]
)
def test_what_the_net_knows_of_train_and_not_of_val_is_a_shift_unless_renumbered(
    val, renumbered, count
):
    data = Samples(side(normal()), side(normal(seed=1)))
    net = HeldOut(0.95, 190, val, 200, 0.25, 0.25, renumbered)
    assert len(alarms("train-val-shift", data, net)) == count


def test_repeats_with_their_own_labels_are_duplicates_and_with_others_degenerate():
    few, y = normal(4).repeat(16, 1), (torch.arange(64) % 4)
    assert not alarms("input-degenerate", Samples(side(few, y)))
    assert alarms("duplicate-samples", Samples(side(few, y)))
    assert alarms("input-degenerate", Samples(side(few, torch.arange(64) // 16)))
    drawn = replace(side(few, y), draws=True)
    assert alarms("duplicate-samples", Samples(drawn))
    assert not alarms("duplicate-samples", Samples(replace(side(normal(), y), draws=True)))

"""Metrics on cases that can be computed by hand."""

import json

import numpy as np
import pytest
import torch

from goodfit.errors import DataError, ModelError
from goodfit.metrics import Metrics, clopper_pearson, evaluate, scaled, score, temperature, wilson

CLASSES = ("ant", "bee", "cat")
THREE = np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8], [0.2, 0.5, 0.3]])
LABELS = np.array([0, 1, 2, 0])  # right, wrong, right, wrong


def sample(n: int, k: int, sharpness: float = 2.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose softmax is the true distribution of the labels."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(n, k)) * sharpness
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return logits, (p.cumsum(axis=1) > generator.random((n, 1))).argmax(axis=1)


def test_the_scores_of_four_images():
    seen = evaluate(THREE, LABELS, CLASSES)
    assert seen.accuracy.value == 0.5
    nll = -np.log([0.7, 0.3, 0.8, 0.2]).mean()
    assert seen.calibration.nll.value == pytest.approx(nll)
    brier = (0.3**2 + 0.2**2 + 0.1**2 + 0.6**2 + 0.7**2 + 0.1**2) / 4
    brier += (0.1**2 + 0.1**2 + 0.2**2 + 0.8**2 + 0.5**2 + 0.3**2) / 4
    assert seen.calibration.brier.value == pytest.approx(brier)


def test_the_quick_score_agrees():
    seen = evaluate(THREE, LABELS, CLASSES)
    assert score(THREE, LABELS) == (seen.accuracy.value, seen.calibration.nll.value)


def test_ece_weighs_the_gap_of_every_bin():
    # 0.95 sure and right twice; 0.95 sure and wrong twice: one bin, accuracy 0.5
    p = np.array([[0.95, 0.05]] * 4)
    assert evaluate(p, [0, 0, 1, 1], "ab").calibration.ece.value == pytest.approx(0.45)


def test_bins_hold_every_image_once():
    logits, y = sample(500, 4)
    seen = evaluate(scaled(np.exp(logits) / np.exp(logits).sum(1, keepdims=True), 1.0), y, "abcd")
    assert sum(b.images for b in seen.calibration.bins) == 500


def test_equal_probabilities_go_to_the_first_class():
    seen = evaluate(np.full((2, 6), 1 / 6), [0, 5], "abcdef")
    assert seen.accuracy.value == 0.5
    assert seen.top5 is not None
    assert seen.top5.value == 0.5


def test_top5_says_nothing_with_five_classes():
    assert evaluate(np.full((2, 5), 0.2), [0, 1], "abcde").top5 is None


def test_a_class_without_images_has_no_recall():
    seen = evaluate(THREE[:2], LABELS[:2], CLASSES)
    cat = seen.per_class[2]
    assert (cat.images, cat.predicted, cat.precision, cat.recall, cat.f1) == (
        0,
        0,
        None,
        None,
        None,
    )
    assert seen.balanced_accuracy == 0.5


def test_the_confusion_matrix_has_labels_as_rows():
    matrix = evaluate(THREE, LABELS, CLASSES).confusion_matrix()
    assert matrix.tolist() == [[1, 1, 0], [1, 0, 0], [0, 0, 1]]


def test_the_most_confident_mistake_comes_first():
    worst = evaluate(THREE, LABELS, CLASSES).mistakes
    assert [m.index for m in worst] == [1, 3]
    assert (worst[0].label, worst[0].predicted, worst[0].confidence) == (1, 0, 0.6)


def test_one_image_and_one_class_are_enough():
    seen = evaluate(torch.ones(1, 1), torch.zeros(1, dtype=torch.long), ["only"])
    assert seen.accuracy.value == 1.0
    assert 0.2 < seen.accuracy.low < 0.21  # 1 / (1 + 1.96²)


def test_a_certain_mistake_does_not_make_the_loss_infinite():
    seen = evaluate(np.array([[1.0, 0.0]]), [1], "ab")
    assert seen.calibration.nll.value == pytest.approx(-np.log(1e-12))


def test_records_go_to_json_and_back():
    seen = evaluate(THREE, LABELS, CLASSES, temperature=1.5)
    assert Metrics(**json.loads(seen.model_dump_json())) == seen


def test_temperature_finds_how_much_logits_were_sharpened():
    logits, y = sample(20_000, 10)
    assert temperature(3 * logits, y) == pytest.approx(3, rel=0.03)
    assert temperature(0.2 * logits, y) == pytest.approx(0.2, rel=0.03)


def test_temperature_of_a_split_without_mistakes_is_finite():
    logits = np.eye(3)[[0, 1, 2, 0]] * 5
    assert 0.01 < temperature(logits, [0, 1, 2, 0]) < 5


def test_temperature_of_logits_that_say_nothing_is_one():
    assert temperature(np.zeros((4, 3)), [0, 1, 2, 0]) == 1


def test_temperature_of_logits_that_are_always_wrong_stays_in_bounds():
    assert 1 < temperature(np.eye(3) * 9, [1, 2, 0]) <= 100


def test_scaling_calibrates_and_keeps_the_accuracy():
    logits, y = sample(5_000, 5)
    sharp = np.exp(3 * logits) / np.exp(3 * logits).sum(1, keepdims=True)
    seen = evaluate(sharp, y, "abcde", temperature=temperature(np.log(sharp), y))
    assert seen.scaled is not None
    assert seen.scaled.ece.high < seen.calibration.ece.low
    assert seen.scaled.nll.high < seen.calibration.nll.low


def test_the_same_seed_gives_the_same_intervals():
    logits, y = sample(300, 3)
    p = scaled(np.exp(logits) / np.exp(logits).sum(1, keepdims=True), 2.0)
    assert evaluate(p, y, "abc") == evaluate(p, y, "abc")
    assert evaluate(p, y, "abc") != evaluate(p, y, "abc", seed=1)


def test_half_precision_tensors_are_taken():
    p = torch.tensor(THREE).to(torch.bfloat16)
    assert evaluate(p, torch.tensor(LABELS), CLASSES).accuracy.value == 0.5


def test_intervals_at_the_ends_touch_the_ends():
    assert wilson(0, 10).low == 0
    assert wilson(10, 10).high == 1
    assert clopper_pearson(0, 10).low == 0
    assert clopper_pearson(10, 10).high == 1


@pytest.mark.parametrize(
    ("probabilities", "labels", "problem"),
    [
        (THREE, [0, 1], "do not belong together"),
        (THREE[:, :2], LABELS, "do not belong together"),
        (THREE[:0], [], "no image"),
        (THREE, [0, 1, 2, 3], "names no class"),
        (THREE, [0, 1, 2, -1], "names no class"),
        (THREE * 5, LABELS, "not probabilities"),
        (THREE - 0.1, LABELS, "not probabilities"),
    ],
)
def test_input_that_makes_no_sense_is_refused(probabilities, labels, problem):
    with pytest.raises(DataError, match=problem):
        evaluate(probabilities, labels, CLASSES)


def test_probabilities_that_are_not_finite_are_refused():
    with pytest.raises(ModelError, match="not finite"):
        evaluate(THREE * np.nan, LABELS, CLASSES)

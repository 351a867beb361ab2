"""Metrics against scikit-learn, scipy and a plain loop."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)

from goodfit.metrics import Metrics, clopper_pearson, evaluate, temperature, wilson

K = 8


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(1)
    logits = generator.normal(size=(400, K)) * 2
    y = (logits + generator.normal(size=logits.shape)).argmax(axis=1)
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), y


@pytest.fixture(scope="module")
def seen(data) -> Metrics:
    return evaluate(*data, [f"class {i}" for i in range(K)])


def test_accuracies_agree_with_scikit_learn(data, seen):
    p, y = data
    assert seen.accuracy.value == pytest.approx(accuracy_score(y, p.argmax(1)))
    assert seen.top5.value == pytest.approx(top_k_accuracy_score(y, p, k=5))
    assert seen.balanced_accuracy == pytest.approx(balanced_accuracy_score(y, p.argmax(1)))


def test_classes_agree_with_scikit_learn(data, seen):
    p, y = data
    precision, recall, f1, images = precision_recall_fscore_support(y, p.argmax(1))
    assert [c.precision.value for c in seen.per_class] == pytest.approx(precision)
    assert [c.recall.value for c in seen.per_class] == pytest.approx(recall)
    assert [c.f1 for c in seen.per_class] == pytest.approx(f1)
    assert [c.images for c in seen.per_class] == images.tolist()
    assert seen.macro_f1 == pytest.approx(f1_score(y, p.argmax(1), average="macro"))
    assert (seen.confusion_matrix() == confusion_matrix(y, p.argmax(1))).all()


def test_losses_agree_with_scikit_learn(data, seen):
    p, y = data
    assert seen.calibration.nll.value == pytest.approx(log_loss(y, p))
    assert seen.calibration.brier.value == pytest.approx(((p - np.eye(K)[y]) ** 2).sum(1).mean())


def test_ece_agrees_with_a_plain_loop(data, seen):
    p, y = data
    ece = 0.0
    for b in range(15):
        inside = [i for i in range(len(y)) if b / 15 < p[i].max() <= (b + 1) / 15]
        if inside:
            right = sum(p[i].argmax() == y[i] for i in inside) / len(inside)
            sure = sum(p[i].max() for i in inside) / len(inside)
            ece += len(inside) / len(y) * abs(right - sure)
    assert seen.calibration.ece.value == pytest.approx(ece)


@pytest.mark.parametrize(("hits", "n"), [(0, 7), (3, 7), (96, 100), (5000, 5000)])
@pytest.mark.parametrize("level", [0.8, 0.95, 0.999])
def test_intervals_of_shares_agree_with_scipy(hits, n, level):
    test = binomtest(hits, n)
    for ours, method in ((wilson, "wilson"), (clopper_pearson, "exact")):
        known = test.proportion_ci(level, method)
        assert ours(hits, n, level).low == pytest.approx(known.low, abs=1e-12)
        assert ours(hits, n, level).high == pytest.approx(known.high, abs=1e-12)


def test_temperature_agrees_with_a_search_by_scipy(data):
    p, y = data
    logits, n = np.log(p) * 2.5, len(y)

    def nll(t: float) -> float:
        z = logits / t
        log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
        return -(n * log_p[np.arange(n), y] + log_p.mean(axis=1)).mean()

    best = minimize_scalar(nll, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-9})
    assert temperature(logits, y) == pytest.approx(best.x, rel=1e-5)

"""What holds for the metrics of any classifier on any images."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goodfit.metrics import Interval, clopper_pearson, evaluate, scaled, temperature, wilson


@st.composite
def judgments(draw) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Probabilities, some of them 0, 1 or tied, with any labels; classes may be missing."""
    n, k = draw(st.integers(1, 30)), draw(st.integers(1, 8))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    p = generator.choice([0.0, 0.1, 0.5, 1.0, 3.0], size=(n, k)) + 1e-9
    p /= p.sum(axis=1, keepdims=True)
    return p, generator.integers(k, size=n), [f"class {i}" for i in range(k)]


def holds(interval: Interval) -> bool:
    return 0 <= interval.low <= interval.value <= interval.high


@settings(max_examples=40, deadline=None)
@given(judgments())
def test_intervals_hold_their_estimate(data):
    seen = evaluate(*data, temperature=2.0)
    shares = [seen.accuracy, *([seen.top5] if seen.top5 else [])]
    shares += [i for c in seen.per_class for i in (c.recall, c.precision) if i]
    assert all(holds(i) and i.high <= 1 for i in shares)
    for part in (seen.calibration, seen.scaled):
        assert part is not None
        assert all(holds(i) for i in (part.nll, part.brier, part.ece))


@settings(max_examples=40, deadline=None)
@given(judgments())
def test_every_image_is_counted_once(data):
    p, y, classes = data
    seen = evaluate(p, y, classes)
    matrix = seen.confusion_matrix()
    assert matrix.sum() == len(y)
    assert np.trace(matrix) == round(seen.accuracy.value * len(y))
    assert matrix.sum(axis=1).tolist() == [c.images for c in seen.per_class]
    assert matrix.sum(axis=0).tolist() == [c.predicted for c in seen.per_class]
    assert len(seen.mistakes) == min(24, len(y) - np.trace(matrix))


@settings(max_examples=40, deadline=None)
@given(judgments(), st.randoms(use_true_random=False))
def test_the_order_of_the_images_does_not_matter(data, random):
    p, y, classes = data
    order = list(range(len(y)))
    random.shuffle(order)
    one, other = evaluate(p, y, classes), evaluate(p[order], y[order], classes)
    assert one.per_class == other.per_class
    assert one.calibration.ece.value == pytest.approx(other.calibration.ece.value)
    assert one.calibration.nll.value == pytest.approx(other.calibration.nll.value)


@settings(max_examples=40, deadline=None)
@given(judgments())
def test_temperature_one_changes_nothing(data):
    np.testing.assert_allclose(scaled(data[0], 1.0), data[0], atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(judgments(), st.floats(-5, 5))
def test_temperature_is_finite_and_does_not_see_shifts(data, shift):
    p, y, _ = data
    logits = np.log(p)
    found = temperature(logits, y)
    assert 0.0099 < found < 101
    assert temperature(logits + shift, y) == pytest.approx(found, rel=1e-4)


@settings(deadline=None)
@given(st.integers(1, 500), st.data())
def test_intervals_of_a_share_hold_it_and_the_exact_one_is_hardly_ever_shorter(n, data):
    hits = data.draw(st.integers(0, n))
    exact, score = clopper_pearson(hits, n), wilson(hits, n)
    assert holds(exact)
    assert holds(score)
    assert exact.high - exact.low >= (score.high - score.low) * 0.85

"""The arithmetic of ensembles, by hand."""

import pytest
import torch

from goodfit.ensemble.diversity import diversity, gain
from goodfit.ensemble.soup import averaged, greedy
from goodfit.metrics import Score


def said(*classes: int) -> torch.Tensor:
    """Probabilities that name these classes of three."""
    return torch.eye(3)[list(classes)]


def test_disagreement_is_the_share_of_images_with_different_answers():
    assert diversity([said(0, 1, 2, 2), said(0, 1, 1, 0)], [0, 1, 2, 2]).disagreement == 0.5


def test_members_that_err_together_are_correlated_and_others_are_not():
    labels = [0, 0, 0, 0]
    same = diversity([said(0, 0, 1, 1), said(0, 0, 2, 2)], labels)
    opposite = diversity([said(0, 0, 1, 1), said(1, 1, 0, 0)], labels)
    assert same.error_correlation == pytest.approx(1)
    assert opposite.error_correlation == pytest.approx(-1)
    assert (same.any_right, opposite.any_right) == (0.5, 1.0)


def test_a_member_without_a_mistake_has_no_correlation():
    assert diversity([said(0, 0), said(0, 1)], [0, 0]).error_correlation is None


def test_the_gain_is_paired():
    found = gain(said(*[0] * 60, *[1] * 40), said(*[0] * 50, *[1] * 50), [0] * 100)
    assert found.value == pytest.approx(0.1)
    assert 0 < found.low < 0.1 < found.high < 0.2
    equal = gain(said(*[0, 1] * 50), said(*[0, 1] * 50), [0] * 100)
    assert (equal.low, equal.high) == (0, 0)


def test_a_soup_is_the_mean_and_keeps_counters_and_types():
    one = {"w": torch.tensor([1.0, 3.0]), "n": torch.tensor(5)}
    two = {"w": torch.tensor([3.0, 5.0]), "n": torch.tensor(7)}
    soup = averaged([one, two])
    assert torch.equal(soup["w"], torch.tensor([2.0, 4.0]))
    assert soup["n"] == 5
    assert soup["w"].dtype == torch.float32


def test_a_greedy_soup_starts_with_the_best_and_keeps_what_does_not_hurt():
    scores = [Score(0.7, 1.0), Score(0.9, 1.0), Score(0.8, 1.0), Score(0.8, 0.9)]
    worth = {(1, 3): 0.9, (1, 3, 2): 0.85, (1, 3, 0): 0.95}
    tried = []

    def of(places: list[int]) -> Score:
        tried.append(tuple(places))
        return Score(worth[tuple(places)], 1.0)

    assert greedy(scores, of) == [1, 3, 0]
    assert tried == [(1, 3), (1, 3, 2), (1, 3, 0)]

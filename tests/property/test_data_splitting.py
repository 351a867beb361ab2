"""No image is lost, no unit divided, and every class keeps its proportions."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from goodfit.data.splitting import by_name, divide, in_order, together

labels = st.lists(st.integers(0, 5), min_size=1, max_size=120).map(np.array)
share = st.sampled_from([0.0, 0.05, 0.1, 0.2, 0.4])


@given(labels, share, share, st.integers(0, 3))
def test_every_image_is_in_exactly_one_split(labels, val, test, seed):
    division = divide(labels, val=val, test=test, seed=seed)
    assert sorted(np.concatenate(division).tolist()) == list(range(len(labels)))


@given(labels, share, share, st.integers(0, 3))
def test_every_class_is_divided_in_proportion(labels, val, test, seed):
    division = divide(labels, val=val, test=test, seed=seed)
    for label in np.unique(labels):
        total = (labels == label).sum()
        for places, wanted in ((division.val, val), (division.test, test)):
            got = (labels[places] == label).sum()
            if total < 4 or wanted == 0:
                assert got == 0
                continue
            exact = max(1, np.floor(wanted * total + 0.5))
            # both shares rounded up may leave nothing for train, which then takes one back
            last = got == exact - 1 and (labels[division.train] == label).sum() == 1
            assert got == exact or last
        assert (labels[division.train] == label).any()


@given(labels, share, share, st.integers(0, 3), st.data())
def test_units_are_never_divided_and_train_keeps_every_class(labels, val, test, seed, data):
    few = data.draw(st.integers(1, len(labels)))
    units = np.array([data.draw(st.integers(0, few)) for _ in labels])
    division = divide(labels, val=val, test=test, seed=seed, units=units)
    assert sorted(np.concatenate(division).tolist()) == list(range(len(labels)))
    sides = [set(units[places].tolist()) for places in division]
    assert len(sides[0] | sides[1] | sides[2]) == sum(map(len, sides))
    assert set(labels[division.train].tolist()) == set(labels.tolist())


@settings(max_examples=20)
@given(st.integers(2, 6), st.integers(0, 5))
def test_groups_of_equal_size_still_give_every_split_its_share(classes, seed):
    units = np.repeat(np.arange(40), 10)
    labels = np.tile(np.arange(400) % classes, 1)
    division = divide(labels, val=0.1, test=0.2, seed=seed, units=units)
    assert 20 <= len(division.val) <= 60
    assert 60 <= len(division.test) <= 100


def test_few_large_groups_leave_no_split_empty():
    labels, units = np.tile([0, 1], 50), np.repeat(np.arange(5), 20)
    division = divide(labels, val=0.1, test=0.1, units=units)
    assert [len(places) for places in division] == [60, 20, 20]


def test_the_last_image_of_a_class_stays_in_train_beside_a_large_group():
    division = divide(np.zeros(4, int), val=0.05, test=0.4, units=np.array([0, 0, 0, 1]))
    assert division.train.tolist() == [3]


def test_another_seed_gives_another_division():
    labels = np.zeros(100, int)
    first, second = (divide(labels, val=0.2, test=0, seed=seed).val.tolist() for seed in (0, 1))
    assert first != second


@given(st.lists(st.sampled_from("abcd"), max_size=30), st.data())
def test_images_that_share_any_key_are_together(first, data):
    second = [data.draw(st.sampled_from(["", None, "x", "y", "z"])) for _ in first]
    units = together(first, second)
    for i in range(len(first)):
        for j in range(i):
            if first[i] == first[j] or (second[i] and second[i] == second[j]):
                assert units[i] == units[j]


@given(st.sets(st.integers(0, 10**6), min_size=1))
def test_numbers_are_sorted_as_numbers(numbers):
    assert in_order({str(n) for n in numbers}) == tuple(str(n) for n in sorted(numbers))


@given(st.lists(st.sampled_from(["ant", "bee", "cat"]), min_size=1))
def test_labels_by_name_go_there_and_back(names):
    labels, classes = by_name([np.array(names)], None, "here")
    assert [classes[k] for k in labels] == names

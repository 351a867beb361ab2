"""The generator: known answers, and draws as functions of seed, name, epoch and sample alone."""

import pytest
import torch

from goodfit import rand
from goodfit.batch import Batch
from goodfit.rand import Rng, key_of, permutation, philox

_ALL = 2**32 - 1


def batch_of(index: list[int] | torch.Tensor, epoch: int = 0) -> Batch:
    index = torch.as_tensor(index)
    return Batch(torch.zeros(len(index), 1, 1, 1), torch.zeros(len(index), 1), index, epoch)


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ([0, 0, 0, 0], (0, 0), [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([_ALL] * 4, (_ALL, _ALL), [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            (0xA4093822, 0x299F31D0),
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox_gives_the_published_answers(counter, key, words):
    assert philox(torch.tensor(counter)[:, None], key)[:, 0].tolist() == words


def plain_philox(counter: list[int], key: tuple[int, int]) -> list[int]:
    """Philox4x32-10 as it is written in the paper, one number at a time."""
    (a, b, c, d), (k, m) = counter, key
    for _ in range(10):
        p, q = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = (q >> 32) ^ b ^ k, q & _ALL, (p >> 32) ^ d ^ m, p & _ALL
        k, m = (k + 0x9E3779B9) & _ALL, (m + 0xBB67AE85) & _ALL
    return [a, b, c, d]


def test_numpys_way_and_the_plain_way_agree():
    counter = torch.randint(0, 2**32, (4, 57), generator=torch.Generator().manual_seed(0))
    drawn = philox(counter, (123, 2**31 + 5)).T.tolist()
    assert drawn == [plain_philox(column, (123, 2**31 + 5)) for column in counter.T.tolist()]


def test_words_are_philox_of_index_epoch_and_block():
    index, epoch = [0, 7, 2**40 + 3, 2**63 - 1], 5
    words = Rng(3, "cutout", batch_of(index, epoch)).words(6)
    for row, i in zip(words.tolist(), index, strict=True):
        blocks = [[i & _ALL, epoch, block, i >> 32] for block in (0, 1)]
        plain = [word for block in blocks for word in plain_philox(block, key_of(3, "cutout"))]
        assert row == plain[:6]


def all_draws(rng: Rng) -> list[torch.Tensor]:
    return [
        rng.uniform(-1, 2),
        rng.words(2),
        rng.uniforms(7),
        rng.normals(3),
        rng.integers(-3, 9),
        rng.happens(0.3),
        rng.sign(),
        rng.beta(0.4, 0.4),
        rng.beta(1, 1),
        rng.words(0),
        rng.normal(),
    ]


def test_a_sample_draws_the_same_in_any_batch_and_order():
    whole = all_draws(Rng(1, "a", batch_of(list(range(40, 72)))))
    some = torch.tensor([5, 31, 0, 17])
    part = all_draws(Rng(1, "a", batch_of(some + 40)))
    for a, b in zip(whole, part, strict=True):
        assert torch.equal(a[some], b)


def test_many_at_once_are_those_one_by_one():
    batch = batch_of([3, 2**40, 8], epoch=4)
    for name, rng in zip("abc", rand.rngs(7, "abc", batch), strict=True):
        for together, alone in zip(all_draws(rng), all_draws(Rng(7, name, batch)), strict=True):
            assert torch.equal(together, alone)


def test_successive_draws_differ_and_a_new_rng_starts_again():
    rng = Rng(0, "a", batch_of([1, 2, 3]))
    first, second = rng.uniform(), rng.uniform()
    assert (first != second).all()
    assert torch.equal(first, Rng(0, "a", batch_of([1, 2, 3])).uniform())


@pytest.mark.parametrize(
    "other",
    [
        Rng(1, "a", batch_of([4, 5])),
        Rng(0, "b", batch_of([4, 5])),
        Rng(0, "a", batch_of([4, 5], 1)),
    ],
)
def test_seed_name_and_epoch_all_count(other):
    assert (Rng(0, "a", batch_of([4, 5])).uniform() != other.uniform()).all()


def test_draws_for_every_epoch_are_those_of_the_first():
    first, later = (Rng(0, "a", batch_of([4, 5], epoch)) for epoch in (0, 3))
    assert torch.equal(later.every_epoch().words(3), first.words(3))
    later.uniform()
    assert torch.equal(later.every_epoch().words(3), first.every_epoch().words(3))


def test_numbers_stay_in_their_ranges():
    rng = Rng(0, "a", batch_of(list(range(4000))))
    uniform = rng.uniforms(4)
    assert uniform.min() >= 0
    assert uniform.max() < 1
    whole = rng.integers(-2, 3)
    assert sorted(whole.unique().tolist()) == [-2, -1, 0, 1, 2]
    assert set(rng.sign().tolist()) == {-1.0, 1.0}
    for shape in (0.001, 0.2, 3.0):
        share = rng.beta(shape, shape)
        assert share.isfinite().all()
        assert share.min() >= 0
        assert share.max() <= 1


def test_happens_never_and_always():
    rng = Rng(0, "a", batch_of(list(range(100))))
    assert not rng.happens(0.0).any()
    assert rng.happens(1.0).all()


def test_partners_follow_the_samples_whatever_their_order():
    index = torch.tensor([9, 3, 5, 7, 1])
    partner = Rng(0, "mixup", batch_of(index)).partners()
    shuffled = torch.tensor([3, 0, 4, 1, 2])
    again = Rng(0, "mixup", batch_of(index[shuffled])).partners()
    assert torch.equal(index[partner][shuffled], index[shuffled][again])
    assert Rng(0, "mixup", batch_of([8])).partners().tolist() == [0]


def test_an_empty_batch_draws_nothing():
    rng = Rng(0, "a", batch_of(torch.zeros(0, dtype=torch.int64)))
    assert rng.uniforms(3).shape == (0, 3)
    assert rng.partners().shape == (0,)


def test_permutations_are_functions_of_their_arguments():
    assert torch.equal(permutation(100, 0, "order", 3), permutation(100, 0, "order", 3))
    assert not torch.equal(permutation(100, 0, "order", 3), permutation(100, 0, "order", 4))
    assert sorted(permutation(100, 0, "order", 3).tolist()) == list(range(100))


def test_torchs_own_way_on_other_devices_has_the_same_bits(monkeypatch):
    counter = torch.randint(0, 2**32, (4, 33), generator=torch.Generator().manual_seed(1))
    expected = philox(counter, (5, 6))

    class Elsewhere:
        """A counter that says it is not on the CPU."""

        device = torch.device("cuda")

        def __iter__(self):
            return iter(counter)

    assert torch.equal(rand.philox(Elsewhere(), (5, 6)), expected)


def test_draws_are_made_where_the_index_is_and_sent_to_the_images():
    batch = Batch(torch.zeros(4, 3, 2, 2, device="meta"), torch.eye(4), torch.arange(4))
    drawn = Rng(0, "draw", batch)
    for numbers in (
        drawn.words(3),
        drawn.uniform(),
        drawn.uniforms(2),
        drawn.integers(0, 5),
        drawn.happens(0.5),
        drawn.sign(),
        drawn.normal(),
        drawn.normals(3),
        drawn.beta(0.2, 0.3),
        drawn.beta(1, 1),
        drawn.partners(),
    ):
        assert numbers.device.type == "meta"
        assert len(numbers) == 4

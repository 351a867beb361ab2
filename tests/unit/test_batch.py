import torch

from goodfit.batch import Batch, as_float, per_image


def three() -> Batch:
    return Batch(torch.rand(3, 1, 2, 2), torch.eye(3), torch.arange(3))


def test_mixing_keeps_the_parts_and_their_weights():
    weight, partner = torch.tensor([0.25, 0.5, 1.0]), torch.tensor([1, 2, 0])
    mixed = three().mixed(three().images, weight, partner)
    first, second = mixed.parts
    assert torch.equal(first.weight, weight)
    assert torch.equal(second.targets, torch.eye(3)[partner])
    assert torch.allclose(mixed.targets[0], torch.tensor([0.25, 0.75, 0.0]))


def test_mixing_twice_multiplies_the_parts_out():
    batch = three()
    partner = torch.tensor([1, 2, 0])
    once = batch.mixed(batch.images, torch.full((3,), 0.5), partner)
    twice = once.mixed(once.images, torch.full((3,), 0.25), partner)
    assert len(twice.parts) == 4
    assert torch.allclose(sum(p.weight for p in twice.parts), torch.ones(3))
    blended = sum(p.weight[:, None] * p.targets for p in twice.parts)
    assert torch.allclose(blended, twice.targets)


def test_bytes_become_fractions():
    assert torch.equal(
        as_float(torch.tensor([[[[0, 255]]]], dtype=torch.uint8)), torch.tensor([[[[0.0, 1.0]]]])
    )


def test_one_number_per_image_broadcasts():
    assert per_image(torch.ones(5), torch.zeros(5, 3, 2, 2)).shape == (5, 1, 1, 1)

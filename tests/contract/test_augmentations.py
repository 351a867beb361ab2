"""What every augmentation keeps to. A new file on the shelf is under test the moment it exists."""

import inspect
from typing import Any

import pytest
import torch

from goodfit.augment import Augmentation
from goodfit.augment._mixing import Mixing
from goodfit.augment.pipeline import Pipeline
from goodfit.batch import Batch
from goodfit.ingredient import find, names
from goodfit.rand import Rng

KINDS = names(Augmentation)
DTYPES = [torch.float32, torch.uint8]


def make(kind: str, channels: int = 3) -> Augmentation:
    """The augmentation with its defaults, fitted where it wants to be, small where it can be."""
    images = torch.rand(16, channels, 12, 12, generator=torch.Generator().manual_seed(1))
    settings = {"scale-jitter": {"short": (26, 40), "size": 24}}.get(kind, {})
    return find(Augmentation, kind)(**settings).fitted((images * 255).to(torch.uint8))


def make_batch(n: int = 8, channels: int = 3, dtype: torch.dtype = torch.float32) -> Batch:
    images = torch.rand(n, channels, 24, 32, generator=torch.Generator().manual_seed(0))
    if dtype == torch.uint8:
        images = (images * 255).round().to(torch.uint8)
    return Batch(images, torch.eye(n), torch.arange(n) + 40, epoch=2)


def rows(z: Any, chosen: torch.Tensor) -> Any:
    """z of some of the samples."""
    if z is None:
        return None
    if isinstance(z, torch.Tensor):
        return z[chosen]
    return type(z)(*(rows(part, chosen) for part in z))


@pytest.fixture(params=KINDS)
def change(request: pytest.FixtureRequest) -> Augmentation:
    return make(request.param)


@pytest.fixture
def batch() -> Batch:
    return make_batch()


def test_the_shelf_is_not_empty():
    assert {"flip", "cutout", "mixup", "random-crop"} <= set(KINDS)


def test_the_same_seed_gives_the_same_batch(change, batch):
    once, again = (change(batch, Rng(3, "test", batch)) for _ in "ab")
    assert torch.equal(once.images, again.images)
    assert torch.equal(once.targets, again.targets)


def test_it_does_something(change, batch):
    changed = (
        change(batch._replace(epoch=e), Rng(s, "test", batch)) for e in (0, 1) for s in (1, 2)
    )
    assert any(
        c.images.shape != batch.images.shape or (c.images != batch.images).any() for c in changed
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_input_is_left_alone(change, dtype):
    batch = make_batch(dtype=dtype)
    before = batch.images.clone(), batch.targets.clone(), batch.index.clone()
    change(batch, Rng(0, "test", batch))
    assert torch.equal(batch.images, before[0])
    assert torch.equal(batch.targets, before[1])
    assert torch.equal(batch.index, before[2])


def test_its_draws_need_the_shape_of_the_images_and_no_pixel(change):
    assert type(change).draws_by_shape
    batch = make_batch(dtype=torch.uint8)
    other = batch._replace(images=batch.images.new_zeros(1).expand(batch.images.shape))
    z, same = (change.draw(b, Rng(0, "test", b)) for b in (batch, other))
    torch.testing.assert_close(z, same, rtol=0, atol=0)


@pytest.mark.compile
def test_a_given_draw_compiles_to_one_graph(change):
    batch = make_batch(dtype=torch.uint8)
    z = change.draw(batch, Rng(0, "test", batch))
    torch._dynamo.reset()
    compiled = torch.compile(change.given, backend="eager", fullgraph=True)
    expected = change.given(batch, z).images
    level = 1.01 if expected.dtype == torch.uint8 else 1e-5  # rounding may fall to either side
    torch.testing.assert_close(
        compiled(batch, z).images.float(), expected.float(), atol=level, rtol=0
    )


def test_its_page_tells_what_testing_does(change):
    page = inspect.getdoc(inspect.getmodule(type(change))) or ""
    assert "At test time" in " ".join(page.split())
    assert "Source:" in page
    assert "Lecture:" in page


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "channels"), [(1, 1), (1, 2), (1, 4), (5, 3)])
def test_channels_types_and_batch_sizes(kind, dtype, channels, n):
    change, batch = make(kind, channels), make_batch(n, channels, dtype)
    result = change(batch, Rng(0, "test", batch))
    assert result.images.shape[:2] == (n, channels)
    assert result.images.dtype in (dtype, torch.float32)
    assert result.images.isfinite().all()
    assert result.images.min() >= 0
    assert result.images.max() <= (255 if result.images.dtype == torch.uint8 else 1)
    torch.testing.assert_close(result.targets.sum(1), torch.ones(n))
    for weight, view in change.views(batch):
        assert 0 <= weight <= 1
        assert view.images.shape == result.images.shape


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_same_z_gives_the_same_result_in_any_batch_and_order(kind, dtype):
    change, whole = make(kind), make_batch(64, dtype=dtype)
    z = change.draw(whole, Rng(0, "test", whole))
    expected = change.given(whole, z)
    tolerance = {"atol": 1.01 if expected.images.dtype == torch.uint8 else 2e-6, "rtol": 0}
    shuffled = torch.randperm(64, generator=torch.Generator().manual_seed(2))
    if isinstance(change, Mixing):  # a sample and its partner must be in the same batch
        place = shuffled.argsort()
        z = rows(z, shuffled)._replace(partner=place[z.partner[shuffled]])
        parts = [(shuffled, z)]
    else:
        cuts = [torch.tensor([17]), torch.arange(20, 27), shuffled]
        parts = [(cut, rows(z, cut)) for cut in cuts]
    for cut, z_cut in parts:
        part = whole._replace(
            images=whole.images[cut], targets=whole.targets[cut], index=whole.index[cut]
        )
        result = change.given(part, z_cut)
        torch.testing.assert_close(result.images.float(), expected.images[cut].float(), **tolerance)
        torch.testing.assert_close(result.targets, expected.targets[cut])


def test_a_draw_depends_on_the_sample_alone(change):
    if isinstance(change, Mixing):
        pytest.skip("the partner is one of the batch")
    whole = make_batch(16)
    part = whole._replace(
        images=whole.images[5:8], targets=whole.targets[5:8], index=whole.index[5:8]
    )
    expected, result = (change(b, Rng(0, "test", b)).images for b in (whole, part))
    torch.testing.assert_close(result, expected[5:8], atol=2e-6, rtol=0)


def test_prob_zero_changes_nothing(change, batch):
    unchanged = change.replaced(prob=0.0)(batch, Rng(0, "test", batch))
    assert torch.equal(unchanged.images, batch.images)


def test_prob_changes_its_share_of_the_samples(change):
    if make_batch().images.shape != change(make_batch(), Rng(0, "test", make_batch())).images.shape:
        pytest.skip("it changes the size, so every sample changes")
    batch = make_batch(64)
    half = change.replaced(prob=0.5)
    same = (half(batch, Rng(0, "test", batch)).images - batch.images).abs().amax((1, 2, 3)) < 1e-5
    assert 12 <= int(same.sum()) <= 63  # binomial(64, .5) is below 12 with probability 1e-7


def test_in_a_pipeline_it_does_what_it_does_alone(change, batch):
    piped = Pipeline([change], seed=5)(batch)
    alone = change(batch, Rng(5, change.name, batch))
    assert torch.equal(piped.images, alone.images)
    assert torch.equal(piped.targets, alone.targets)

"""The same batches whoever decodes them, wherever one starts and however many share the work."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from goodfit.batch import Batch
from goodfit.data import Encoded, Loader, Pixelated, read_images
from goodfit.data._array import Images
from goodfit.data._files import Files
from goodfit.errors import DataError, RecipeError
from goodfit.rand import Rng


def files(root: Path, count: int = 37, broken: tuple[int, ...] = ()) -> Files:
    """Small JPEGs of different sizes; the `broken` ones are cut in the middle."""
    rng = np.random.default_rng(0)
    names = []
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
        buffer = io.BytesIO()
        coarse.resize((40 + number, 60 - number), Image.Resampling.BICUBIC).save(buffer, "JPEG")
        data = buffer.getvalue()
        names.append(f"{number}.jpg")
        (root / names[-1]).write_bytes(data[: len(data) // 2] if number in broken else data)
    return Files(root, names, np.arange(count) % 3, ("a", "b", "c"), [b""] * count)


def arrays(count: int = 50, side: int = 8) -> Images:
    images = torch.randint(0, 256, (count, 1, side, side), dtype=torch.uint8)
    return Images(images, np.arange(count) % 5, tuple("abcde"))


def corners(sizes: torch.Tensor, asked) -> torch.Tensor:
    """Random parts, as an augmentation would ask for them."""
    rng = Rng(7, "corners", asked)
    share = rng.uniform(0.3, 1.0)[:, None]
    place = rng.uniforms(2)
    wanted = sizes * share
    return torch.cat([(sizes - wanted) * place, wanted], dim=1)


def test_small_images_are_decoded_by_few_threads(tmp_path, monkeypatch):
    """Python's own steps, one thread at a time, are most of their work."""
    monkeypatch.setattr("goodfit.data.loader.threads", lambda: 16)
    for side, least, most in ((32, 1, 2), (96, 3, 4), (400, 16, 16)):
        folder = tmp_path / str(side)
        folder.mkdir()
        for number in range(5):
            Image.new("RGB", (side, side)).save(folder / f"{number}.jpg")
        images = Files(
            folder, [f"{i}.jpg" for i in range(5)], np.arange(5) % 2, ("a", "b"), [b""] * 5
        )
        assert least <= Loader(images, 2, size=32).workers <= most
        assert Loader(images, 2, size=32, workers=7).workers == 7


def same(a: list[Batch], b: list[Batch]) -> bool:
    return len(a) == len(b) and all(
        torch.equal(x.images, y.images)
        and torch.equal(x.targets, y.targets)
        and torch.equal(x.index, y.index)
        and x.epoch == y.epoch
        for x, y in zip(a, b, strict=True)
    )


def two_epochs(loader: Loader) -> list[Batch]:
    return [*loader, *loader]


ways = [{}, {"boxes": corners}, {"boxes": corners, "hold_bytes": 0}, {"hold_bytes": 0}]


@pytest.mark.parametrize("way", ways, ids=["held", "parts kept", "parts streamed", "streamed"])
def test_workers_do_not_matter(tmp_path, way):
    source = files(tmp_path)
    by_one, by_four, by_caller = (
        two_epochs(Loader(source, 8, size=32, shuffle=True, seed=3, workers=workers, **way))
        for workers in (1, 4, 0)
    )
    assert same(by_one, by_four)
    assert same(by_one, by_caller)


@pytest.mark.parametrize("way", ways, ids=["held", "parts kept", "parts streamed", "streamed"])
@pytest.mark.parametrize(("epoch", "batch"), [(0, 0), (0, 3), (1, 0), (1, 2), (2, 1)])
def test_a_new_loader_goes_on_anywhere(tmp_path, way, epoch, batch):
    source = files(tmp_path)
    settings = {"size": 32, "shuffle": True, "seed": 3, "workers": 2} | way
    loader = Loader(source, 8, **settings)
    whole = [*loader, *loader, *loader]
    resumed = Loader(source, 8, **settings).at(epoch, batch)
    assert same([*resumed], whole[epoch * len(loader) + batch :][: len(loader) - batch])


@pytest.mark.parametrize("shuffle", [True, False])
def test_two_ranks_see_what_one_process_sees(tmp_path, shuffle):
    source = files(tmp_path)
    settings = {"size": 32, "shuffle": shuffle, "seed": 5, "workers": 2}
    alone = two_epochs(Loader(source, 8, **settings))
    first, second = (
        two_epochs(Loader(source, 8, rank=rank, world=2, **settings)) for rank in (0, 1)
    )
    for whole, a, b in zip(alone, first, second, strict=True):
        assert torch.equal(whole.index, torch.cat([a.index, b.index]))
        assert torch.equal(whole.images, torch.cat([a.images, b.images]))


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_evaluation_counts_every_image_once(world):
    source = arrays(count=53)
    seen = [
        index
        for rank in range(world)
        for batch in Loader(source, 10, rank=rank, world=world)
        for index in batch.index.tolist()
    ]
    assert sorted(seen) == list(range(53))


def test_an_epoch_of_training_has_no_image_twice_and_drops_the_rest():
    loader = Loader(arrays(count=53), 10, shuffle=True)
    assert len(loader) == 5
    seen = torch.cat([batch.index for batch in loader])
    assert len(seen) == len(set(seen.tolist())) == 50


def test_epochs_differ_and_are_counted():
    loader = Loader(arrays(), 50, shuffle=True)
    [first], [second] = list(loader), list(loader)
    assert (first.epoch, second.epoch) == (0, 1)
    assert first.index.tolist() != second.index.tolist()


def test_the_order_depends_on_the_seed_only():
    a, b, c = (Loader(arrays(), 10, shuffle=True, seed=seed).order(4) for seed in (0, 0, 1))
    assert a.tolist() == b.tolist() != c.tolist()


def test_looking_at_one_batch_does_not_use_up_the_epoch():
    loader = Loader(arrays(), 10, shuffle=True)
    peeked = next(iter(loader))
    assert same([peeked], [next(iter(loader))])


def test_a_position_past_the_end_is_in_the_next_epoch():
    loader = Loader(arrays(), 10).at(0, 5)
    assert (loader.epoch, loader.batch) == (1, 0)


def test_targets_are_one_hot_and_images_bytes():
    batch = next(iter(Loader(arrays(), 7)))
    assert batch.images.dtype == torch.uint8
    assert batch.targets.dtype == torch.float32
    assert batch.targets.argmax(1).tolist() == [0, 1, 2, 3, 4, 0, 1]
    assert batch.targets.sum(1).tolist() == [1.0] * 7


def test_batches_belong_to_the_caller(tmp_path):
    for source in (files(tmp_path), arrays()):
        loader = Loader(source, 8, size=8, workers=2, hold_bytes=0)
        kept = list(loader)
        before = [batch.images.clone() for batch in kept]
        for batch in loader:
            batch.images.zero_()
        assert all(torch.equal(b.images, x) for b, x in zip(kept, before, strict=True))


def test_changing_a_batch_in_place_does_not_change_what_is_held():
    source = arrays()
    before = source.images.clone()
    for batch in Loader(source, 8):
        batch.images.zero_()
    assert torch.equal(source.images, before)


def test_held_and_streamed_images_are_the_same(tmp_path):
    source = files(tmp_path)
    held, streamed = (
        two_epochs(Loader(source, 8, size=24, shuffle=True, hold_bytes=b)) for b in (1 << 30, 0)
    )
    assert same(held, streamed)


def test_a_cache_is_found_again(tmp_path):
    source = files(tmp_path)
    wanted = list(Loader(source, 8, size=24))
    assert same(list(Loader(source, 8, size=24, cache=tmp_path / "cache")), wanted)
    for name in source.names:
        (tmp_path / name).write_bytes(b"")  # from now on only the cache knows
    assert same(list(Loader(source, 8, size=24, cache=tmp_path / "cache")), wanted)


def test_a_cache_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="cache"):
        Loader(files(tmp_path), 8, size=24, cache=tmp_path / "file")


def test_prediction_reads_the_same_pixels_as_validation(tmp_path):
    source = files(tmp_path, count=9)
    [batch] = Loader(source, 9, size=24, resize=0.875)
    images, places, skipped = read_images(
        [tmp_path / name for name in source.names], 24, resize=0.875
    )
    assert torch.equal(images, batch.images)
    assert (places, skipped) == (list(range(9)), [])


def test_files_that_cannot_be_read_are_listed_beside_the_others(tmp_path):
    files(tmp_path, count=3, broken=(1,))
    images, places, skipped = read_images(
        [tmp_path / "0.jpg", tmp_path / "1.jpg", tmp_path / "none.jpg", tmp_path / "2.jpg"], 16
    )
    assert (images.shape, places) == ((2, 3, 16, 16), [0, 3])
    assert [s.reason for s in skipped][1] == "No such file or directory"
    assert read_images([], 16)[0].shape == (0, 3, 16, 16)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("hold_bytes", [0, 1 << 30])
def test_what_cannot_be_decoded_is_left_out_of_its_batch_and_listed(tmp_path, workers, hold_bytes):
    source = files(tmp_path, broken=(4, 9))
    loader = Loader(source, 8, size=16, workers=workers, hold_bytes=hold_bytes, max_broken=0.1)
    for epoch in two_epochs(loader)[:5], list(loader):
        seen = torch.cat([batch.index for batch in epoch]).tolist()
        assert seen == [i for i in range(37) if i not in (4, 9)]
        assert all(len(b.images) == len(b.targets) == len(b.index) for b in epoch)
    assert [s.name for s in loader.skipped] == ["4.jpg", "9.jpg"]


def test_too_much_that_cannot_be_decoded_stops_the_run(tmp_path):
    with pytest.raises(DataError, match="2 of 37 images cannot be read"):
        list(Loader(files(tmp_path, broken=(4, 9)), 8, size=16))


def test_a_part_is_asked_for_with_sizes_index_and_epoch(tmp_path):
    asked_for = []

    def whole(sizes, asked):
        asked_for.extend(
            (asked.epoch, i, *s) for i, s in zip(asked.index.tolist(), sizes.tolist(), strict=True)
        )
        return torch.cat([torch.zeros_like(sizes), sizes], dim=1).float()

    loader = Loader(files(tmp_path, count=5), 5, size=16, boxes=whole, workers=0)
    two_epochs(loader)
    assert asked_for == [(e, i, 60 - i, 40 + i) for e in (0, 1) for i in range(5)]


def test_arrays_are_resized_and_given_other_channels():
    source = arrays(count=6)
    [batch] = Loader(source, 6, size=16, channels=3)
    assert batch.images.shape == (6, 3, 16, 16)
    [batch] = Loader(source, 6, channels=4)
    assert batch.images[:, 3].min() == 255


def test_sources_say_what_they_can():
    assert isinstance(arrays(), Pixelated)
    assert not isinstance(arrays(), Encoded)


def test_impossible_settings_are_refused():
    with pytest.raises(DataError, match="fewer images than one batch"):
        Loader(arrays(count=5), 10, shuffle=True)
    with pytest.raises(RecipeError, match="divided evenly"):
        Loader(arrays(), 9, shuffle=True, world=2)
    for wrong in ({"rank": 2, "world": 2}, {"rank": -1}):
        with pytest.raises(RecipeError):
            Loader(arrays(), 8, **wrong)
    with pytest.raises(RecipeError):
        Loader(arrays(), 0)


def test_an_empty_source_has_no_batches():
    assert list(Loader(arrays().take([]), 10)) == []

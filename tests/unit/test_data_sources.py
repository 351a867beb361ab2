"""Arrays, tables, shards, torch Datasets, and the words on the command line."""

import io
import json
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset as TorchDataset

from goodfit.data import Adapted, Data, Loader, guess, matched
from goodfit.data._pixels import with_channels
from goodfit.data.arrays import Arrays
from goodfit.data.dataset import Dataset
from goodfit.data.digits import Digits
from goodfit.data.shards import Shards
from goodfit.data.table import Table
from goodfit.data.torchvision_set import TorchvisionSet
from goodfit.errors import DataError, GoodfitError, MissingExtraError, RecipeError


def pixels(count: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def sizes(splits) -> dict[str, int]:
    return {name: len(part) for name, part in splits.parts().items()}


def problem(data: Data) -> str:
    with pytest.raises(GoodfitError) as caught:
        data()
    assert caught.value.fix
    return str(caught.value)


# arrays


@pytest.mark.parametrize("shape", [(8, 9), (8, 9, 1), (1, 8, 9)])
def test_gray_arrays_may_have_their_channel_anywhere_or_not(shape):
    splits = Arrays(images=pixels(20, *shape), labels=[0, 1] * 10)()
    assert splits.train[0][0].shape == (1, 8, 9)
    assert (splits.median, splits.channels) == ((8, 9), 1)


@pytest.mark.parametrize(
    "values",
    [
        pixels(20, 4, 4) / 255,
        pixels(20, 4, 4).astype(np.uint16) * 257,
        pixels(20, 4, 4).astype(np.int64),
        torch.from_numpy(pixels(20, 4, 4)),
        (pixels(20, 4, 4) / 255).astype(np.float32),
    ],
    ids=["fractions", "uint16", "int64", "tensor", "float32"],
)
def test_arrays_of_any_type_become_bytes(values):
    splits = Arrays(images=values, labels=[0, 1] * 10, val=0, test=0)()
    assert np.array_equal(splits.train.images[:, 0].numpy(), pixels(20, 4, 4))


def test_values_out_of_range_are_refused():
    for values in (pixels(20, 4, 4) / 10, np.full((20, 4, 4), np.nan), -np.ones((20, 4, 4))):
        assert "values that cannot be used" in problem(Arrays(images=values, labels=[0, 1] * 10))


def test_shapes_and_lengths_that_do_not_fit_are_refused():
    assert "shape" in problem(Arrays(images=pixels(20, 4), labels=[0, 1] * 10))
    assert "shape" in problem(Arrays(images=pixels(20, 5, 5, 5), labels=[0, 1] * 10))
    assert "as many labels" in problem(Arrays(images=pixels(20, 4, 4), labels=[0, 1]))
    assert "only one class" in problem(Arrays(images=pixels(20, 4, 4), labels=[0] * 20))
    assert "labels cannot be used" in problem(Arrays(images=pixels(2, 4, 4), labels=[0.5, 1]))


def test_labels_may_be_names_numbers_columns_or_one_hot():
    names = ["cat", "ant"] * 10
    for labels in (names, np.array(names)):
        assert Arrays(images=pixels(20, 4, 4), labels=labels)().classes == ("ant", "cat")
    for labels in (np.eye(2)[[0, 1] * 10], np.array([[0], [1]] * 10), np.array([0.0, 1.0] * 10)):
        splits = Arrays(images=pixels(20, 4, 4), labels=labels, classes=("x", "y"), val=0, test=0)()
        assert splits.classes == ("x", "y")
        assert splits.train.labels.tolist() == [0, 1] * 10


def test_equal_arrays_stay_on_one_side():
    images = np.repeat(pixels(30, 4, 4), 2, axis=0)
    splits = Arrays(images=images, labels=np.arange(60) // 2 % 2, val=0.2, test=0.2)()
    sides = [{x.numpy().tobytes() for x in part.images} for part in splits.parts().values()]
    assert sum(map(len, sides)) == 30


def test_groups_stay_on_one_side():
    groups = [f"patient {i // 4}" for i in range(80)]
    data = Arrays(images=pixels(80, 4, 4), labels=[0, 1] * 40, groups=groups, val=0.2, test=0.2)
    parts = data().parts().values()
    sides = [{groups[int(part.name(i))] for i in range(len(part))} for part in parts]
    assert sum(map(len, sides)) == 20
    assert all(sides)


@pytest.mark.parametrize("names", [("x", "y"), ("images", "labels"), ("data", "targets")])
def test_an_npz_file_without_splits_is_divided(tmp_path, names):
    x, y = names
    np.savez(tmp_path / "a.npz", **{x: pixels(40, 5, 5, 3), y: [0, 1] * 20})
    assert sizes(guess(tmp_path / "a.npz")()) == {"train": 32, "val": 4, "test": 4}


@pytest.mark.parametrize("form", ["x_{}", "{}_images"])
def test_an_npz_file_with_splits_is_used_as_it_is(tmp_path, form):
    label = form.replace("x", "y").replace("images", "labels")
    content = {}
    for seed, (part, count) in enumerate([("train", 20), ("val", 6), ("test", 4)]):
        content[form.format(part)] = pixels(count, 5, 5, seed=seed)
        content[label.format(part)] = np.arange(count) % 2
    np.savez(tmp_path / "a.npz", classes=["ant", "bee"], **content)
    splits = guess(tmp_path / "a.npz")()
    assert sizes(splits) == {"train": 20, "val": 6, "test": 4}
    assert splits.classes == ("ant", "bee")


def test_npz_files_that_cannot_be_used(tmp_path):
    (tmp_path / "text.npz").write_text("no")
    np.savez(tmp_path / "names.npz", a=pixels(4, 5, 5), b=[0, 1] * 2)
    np.savez(tmp_path / "pickle.npz", x=np.array([{"a": 1}]), y=[0])
    for name in ("text", "names", "pickle", "missing"):
        assert f"{name}.npz" in problem(Arrays(path=tmp_path / f"{name}.npz"))


def test_a_single_array_is_no_data_set(tmp_path):
    np.save(tmp_path / "a.npy", pixels(4, 8, 8))
    assert "one array and no labels" in problem(guess(tmp_path / "a.npy"))


def test_arrays_and_path_exclude_each_other():
    for settings in ({}, {"path": "a.npz", "images": 1, "labels": 1}, {"images": [1]}):
        with pytest.raises(RecipeError):
            Arrays(**settings)


def test_channels_go_both_ways():
    color = torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1)
    assert with_channels(color, 1).flatten().tolist() == [76]
    assert with_channels(color, 4).flatten().tolist() == [255, 0, 0, 255]
    assert with_channels(with_channels(color, 2), 3).flatten().tolist() == [76] * 3


def test_digits_hold_out_a_fifth():
    splits = Digits()()
    assert sizes(splits) == {"train": 1259, "val": 179, "test": 359}
    assert splits.train.images.max() == 255
    assert splits.fingerprint() == Digits()().fingerprint() != Digits(seed=1)().fingerprint()


# tables


@pytest.fixture
def listed(tmp_path):
    """Twenty images and a table of them."""
    rows = ["path,label,split,patient"]
    for i, image in enumerate(pixels(20, 6, 6, 3)):
        (tmp_path / f"{i}.png").write_bytes(png(image))
        part = "train" if i < 14 else "valid" if i < 17 else "test"
        rows.append(f"{i}.png,{'ant' if i % 2 else 'bee'},{part},p{i // 2}")
    (tmp_path / "table.csv").write_text("\n".join(rows))
    return tmp_path / "table.csv"


def test_a_table_with_a_split_column_is_used_as_it_is(listed):
    assert sizes(guess(listed)()) == {"train": 14, "val": 3, "test": 3}


def test_a_table_is_divided_by_groups(listed):
    listed.write_text(listed.read_text().replace("split", "remark"))
    splits = Table(path=listed, group_column="patient", val=0.2, test=0.2)()
    sides = [
        {int(part.name(i).split(".")[0]) // 2 for i in range(len(part))}
        for part in splits.parts().values()
    ]
    assert sum(map(len, sides)) == 10
    assert all(sides)


def test_tables_in_other_forms(listed, tmp_path):
    text = listed.read_text()
    (tmp_path / "t.tsv").write_text("\ufeff" + text.replace(",", "\t") + "\n\n", encoding="utf-8")
    assert sizes(guess(tmp_path / "t.tsv")()) == {"train": 14, "val": 3, "test": 3}
    absolute = text.replace("\n", f"\n{tmp_path}/")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "t.csv").write_text(absolute.replace("path,", "photo,"))
    data = Table(path=tmp_path / "sub" / "t.csv", path_column="photo")
    assert sizes(data()) == {"train": 14, "val": 3, "test": 3}
    moved = Table(path=listed.rename(tmp_path / "sub" / "u.csv"), root=tmp_path)
    assert sizes(moved()) == {"train": 14, "val": 3, "test": 3}


def test_a_parquet_table(listed, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    csv = pytest.importorskip("pyarrow.csv")
    parquet.write_table(csv.read_csv(listed), tmp_path / "t.parquet")
    assert sizes(guess(tmp_path / "t.parquet")()) == {"train": 14, "val": 3, "test": 3}


def test_a_table_of_two_columns_needs_no_names(listed, tmp_path):
    rows = [line.split(",")[:2] for line in listed.read_text().splitlines()[1:]]
    (tmp_path / "bare.csv").write_text("\n".join(",".join(row) for row in rows))
    (tmp_path / "turned.tsv").write_text("\n".join("\t".join(row[::-1]) for row in rows))
    for name in ("bare.csv", "turned.tsv"):
        splits = guess(tmp_path / name)()
        assert (splits.classes, sum(sizes(splits).values())) == (("ant", "bee"), 20)


def test_quoted_cells_hold_separators_and_line_ends(tmp_path):
    rows = ["path,label"]
    for i, image in enumerate(pixels(8, 6, 6, 3)):
        (tmp_path / f"a, {i}.png").write_bytes(png(image))
        label = ('"the ""big"" one"', '"small,\nred"')[i % 2]
        rows.append(f'"a, {i}.png",{label}')
    (tmp_path / "t.csv").write_text("\n".join(rows))
    assert guess(tmp_path / "t.csv")().classes == ("small,\nred", 'the "big" one')


def test_rows_that_are_there_twice_count_once(listed):
    text = listed.read_text()
    listed.write_text(text + "\n" + text.splitlines()[3])
    splits = guess(listed)()
    assert sizes(splits) == {"train": 14, "val": 3, "test": 3}
    assert "1 rows are there twice" in splits.notes


def test_missing_files_of_a_table_are_listed(listed, tmp_path):
    (tmp_path / "3.png").unlink()
    [skipped] = guess(listed)().skipped
    assert skipped == ("3.png", "No such file or directory")


def test_tables_that_cannot_be_used(listed, tmp_path):
    text = listed.read_text()

    def complaint(content: str, **settings: str) -> str:
        (tmp_path / "bad.csv").write_text(content)
        return problem(Table(path=tmp_path / "bad.csv", **settings))

    assert "no such table" in problem(Table(path=tmp_path / "none.csv"))
    assert "no rows" in complaint("")
    assert "no rows" in complaint("path,label")
    assert "`path_column`" in complaint(text.replace("path", "where", 1))
    assert "no column 'x'" in complaint(text, label_column="x")
    assert "another number of columns" in complaint(text + "\n1.png")
    assert "row" in complaint(text.replace("bee", ""))
    assert "two labels" in complaint(text + "\n1.png,bee,train,p0")
    assert "images of the table are not there" in complaint(text.replace(".png", ".jpg"))
    assert "not the name of a split" in complaint(text, split_column="patient")


# shards


def shard(path, images, labels, *, suffix=".cls") -> None:
    with tarfile.open(path, "w") as archive:
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            text = json.dumps({"label": label}) if suffix == ".json" else str(label)
            for name, data in ((f"{i:04}.png", png(image)), (f"{i:04}{suffix}", text.encode())):
                entry = tarfile.TarInfo(f"./{name}")
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))


@pytest.mark.parametrize("suffix", [".cls", ".json", ".txt"])
def test_shards_are_read_in_place(tmp_path, suffix):
    images = pixels(30, 6, 6, 3)
    for number in range(3):
        part = slice(10 * number, 10 * number + 10)
        shard(tmp_path / f"{number:03}.tar", images[part], [0, 1] * 5, suffix=suffix)
    splits = Shards(path=str(tmp_path), val=0, test=0, classes=("ant", "bee"))()
    assert np.array_equal(splits.train[13][0].permute(1, 2, 0).numpy(), images[13])
    assert splits.train.name(13) == "001.tar:./0003.png"
    [batch] = Loader(splits.train, 30, size=6)
    assert np.array_equal(batch.images.permute(0, 2, 3, 1).numpy(), images)
    for pattern in ("*.tar", "{000..002}.tar"):
        assert len(guess(f"{tmp_path}/{pattern}", val=0, test=0)().train) == 30
    assert sizes(guess(tmp_path, val=0.2)()) == {"train": 20, "val": 6, "test": 4}


def test_shards_of_splits(tmp_path):
    for seed, (part, count) in enumerate([("train", 20), ("val", 4), ("test", 6)]):
        shard(
            tmp_path / f"x-{part}-000.tar", pixels(count, 4, 4, 3, seed=seed), [0, 1] * (count // 2)
        )
    assert sizes(Shards(path=str(tmp_path))()) == {"train": 20, "val": 4, "test": 6}


def test_shards_that_cannot_be_used(tmp_path):
    (tmp_path / "bad.tar").write_bytes(b"x" * 2000)
    assert "cannot be read" in problem(Shards(path=f"{tmp_path}/bad.tar"))
    assert "no such shard" in problem(Shards(path=f"{tmp_path}/none.tar"))
    assert "copy them" in problem(Shards(path="s3://bucket/a.tar"))
    shard(tmp_path / "empty.tar", [], [])
    assert "no labeled images" in problem(Shards(path=f"{tmp_path}/empty.tar"))


# torch Datasets


class Pairs(TorchDataset):
    """A Dataset as people write them."""

    def __init__(self, images, labels, classes=None) -> None:
        self.images, self.answers = images, labels
        if classes:
            self.classes = classes

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i], self.answers[i]


def test_any_torch_dataset_is_a_source():
    images = pixels(20, 6, 6, 3)
    tensor = torch.from_numpy(images / 255).permute(0, 3, 1, 2)
    for form in (list(images), [Image.fromarray(x) for x in images], tensor):
        source = Adapted(Pairs(form, [0, 1] * 10))
        assert source.classes == ("0", "1")
        assert np.array_equal(source[3][0].permute(1, 2, 0).numpy(), images[3])
        [batch] = Loader(source, 20)
        assert np.array_equal(batch.images.permute(0, 2, 3, 1).numpy(), images)
        assert source.fingerprint() == Adapted(Pairs(list(images), [0, 1] * 10)).fingerprint()


def test_dictionaries_are_items_too():
    rows = [{"image": image, "label": i % 2} for i, image in enumerate(pixels(6, 4, 4))]
    assert Adapted(rows).labels.tolist() == [0, 1, 0, 1, 0, 1]


def test_datasets_meet_by_class_names_not_by_order():
    train = Pairs(pixels(20, 4, 4), [0, 1] * 10, ["ant", "bee"])
    test = Pairs(pixels(4, 4, 4, seed=1), [0, 0, 1, 1], ["bee", "ant"])
    splits = Dataset(train=train, held_out=test, val=0.2)()
    assert splits.classes == ("ant", "bee")
    assert splits.test.labels.tolist() == [1, 1, 0, 0]
    assert sizes(splits) == {"train": 16, "val": 4, "test": 4}


def test_a_dataset_given_to_guess_is_divided():
    data = guess(Pairs(pixels(20, 4, 4), [0, 1] * 10), val=0.2, test=0.2)
    assert sizes(data()) == {"train": 12, "val": 4, "test": 4}


def test_a_stream_is_no_source():
    with pytest.raises(DataError, match="no length"):
        Adapted(iter([]))
    with pytest.raises(DataError, match="not \\(image, class number\\)"):
        Adapted([1, 2, 3])


def test_a_source_is_matched_to_a_model_by_names():
    source = Arrays(images=pixels(4, 4, 4), labels=["bee", "ant"] * 2, val=0, test=0)().train
    seen = matched(source, ("ant", "bee", "cat"))
    assert seen.labels.tolist() == [1, 0, 1, 0]
    [batch] = Loader(seen, 4)
    assert batch.targets.argmax(1).tolist() == [1, 0, 1, 0]
    assert batch.targets.shape == (4, 3)
    assert matched(source, source.classes) is source
    assert seen.take([1]).labels.tolist() == [0]
    with pytest.raises(DataError, match="'bee' is unknown to the model"):
        matched(source, ("ant", "wasp"))


# words


def test_a_torchvision_set_that_is_not_there(tmp_path):
    assert "--download" in problem(guess("cifar10", root=tmp_path))
    assert isinstance(guess("Fashion-MNIST"), TorchvisionSet)
    assert "no classification data set" in problem(TorchvisionSet(dataset="imagenot"))


def test_a_torchvision_set_is_read_from_its_arrays(tmp_path, monkeypatch):
    from torchvision import datasets

    class CIFAR10(Pairs):
        def __init__(self, root, train=True, download=False):
            count = 40 if train else 10
            super().__init__(pixels(count, 4, 4, 3, seed=train), [0, 1] * (count // 2), ["a", "b"])
            self.data, self.targets = self.images, self.answers

    monkeypatch.setattr(datasets, "CIFAR10", CIFAR10)
    assert sizes(guess("cifar10")()) == {"train": 36, "val": 4, "test": 10}


def test_the_hub_needs_its_extra(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match="hub"):
        guess("hf:some/thing")()


@pytest.mark.parametrize("word", ["cifra10", "phots/", "", "digit", "a.zip"])
def test_unknown_words_are_answered_with_what_is_known(word, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as caught:
        guess(word or "nothing-like-it")()
    assert "digits" in str(caught.value)
    assert caught.value.fix


def test_a_file_that_is_no_data_set(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"x")
    with pytest.raises(DataError, match="not a data set"):
        guess(tmp_path / "photo.jpg")


def test_data_that_is_only_tested_may_have_one_class():
    images = pixels(6, 4, 4)
    assert "only one class" in problem(Arrays(images=images, labels=["ant"] * 6))
    splits = Arrays(images=images, labels=["ant"] * 6, val=0, test=0)()
    assert sizes(splits) == {"train": 6}
    assert matched(splits.train, ("bee", "ant")).labels.tolist() == [1] * 6


def test_settings_are_checked_when_they_are_given():
    for wrong in (
        {"val": 2},
        {"val": 0.6, "test": 0.6},
        {"sead": 1},
        {"channels": 7},
        {"seed": -1},
    ):
        with pytest.raises(RecipeError):
            guess("digits", **wrong)

"""Folders of images as people have them."""

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from goodfit.data import guess
from goodfit.data.folder import Folder
from goodfit.errors import DataError


def picture(seed: int, kind: str = "PNG", side: int = 12) -> bytes:
    rng = np.random.default_rng(seed)
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def write(root: Path, counts: dict[str, int], *, first: int = 0, kind: str = "PNG") -> int:
    """`counts` images in folders of `root`, all different; the next free seed."""
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for _ in range(count):
            (root / name / f"{first}.{kind.lower()}").write_bytes(picture(first, kind))
            first += 1
    return first


def counts(splits) -> dict[str, int]:
    return {name: len(part) for name, part in splits.parts().items()}


def problem(root: Path, **settings: object) -> str:
    with pytest.raises(DataError) as caught:
        Folder(path=root, **settings)()
    assert caught.value.fix
    return str(caught.value)


def test_classes_are_folders_and_every_class_is_divided_alike(tmp_path):
    write(tmp_path, {"bees": 20, "ants": 40})
    splits = Folder(path=tmp_path, val=0.1, test=0.2)()
    assert splits.classes == ("ants", "bees")
    assert splits.summary()["per_class"] == {
        "train": {"ants": 28, "bees": 14},
        "val": {"ants": 4, "bees": 2},
        "test": {"ants": 8, "bees": 4},
    }


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Val"])
def test_given_splits_are_used_as_they_are(tmp_path, name):
    seed = write(tmp_path / "train", {"a": 5, "b": 5})
    seed = write(tmp_path / name, {"a": 2, "b": 1}, first=seed)
    write(tmp_path / "test", {"b": 2}, first=seed)
    splits = Folder(path=tmp_path)()
    assert counts(splits) == {"train": 10, "val": 3, "test": 2}
    assert splits.test.labels.tolist() == [1, 1]  # b, by name


def test_validation_is_taken_from_train_and_never_from_a_given_test(tmp_path):
    seed = write(tmp_path / "train", {"a": 10, "b": 10})
    write(tmp_path / "test", {"a": 3, "b": 3}, first=seed)
    splits = Folder(path=tmp_path, val=0.2)()
    assert counts(splits) == {"train": 16, "val": 4, "test": 6}
    assert {splits.test.name(i).split(os.sep)[0] for i in range(6)} == {"test"}


def test_a_given_validation_split_is_not_divided_for_a_test_split(tmp_path):
    seed = write(tmp_path / "train", {"a": 5, "b": 5})
    write(tmp_path / "val", {"a": 2, "b": 2}, first=seed)
    assert Folder(path=tmp_path)().test is None


def test_a_class_may_be_called_train(tmp_path):
    write(tmp_path, {"train": 6, "bus": 6, "car": 6})
    assert Folder(path=tmp_path)().classes == ("bus", "car", "train")


def test_an_archive_in_a_folder_of_its_own_name_is_found(tmp_path):
    write(tmp_path / "photos" / "photos", {"a": 5, "b": 5})
    assert Folder(path=tmp_path)().classes == ("a", "b")


def test_the_division_depends_on_the_seed_and_nothing_else(tmp_path):
    write(tmp_path, {"a": 30, "b": 30})

    def names(seed):
        splits = Folder(path=tmp_path, seed=seed)()
        return [splits.val.name(i) for i in range(len(splits.val))]

    assert names(0) == names(0)
    assert names(0) != names(1)


def test_nothing_is_held_out_when_nothing_is_asked_for(tmp_path):
    write(tmp_path, {"a": 5, "b": 5})
    splits = Folder(path=tmp_path, val=0, test=0)()
    assert counts(splits) == {"train": 10}
    assert len(splits.val) == 0


def test_copies_of_an_image_stay_on_one_side(tmp_path):
    write(tmp_path, {"a": 10, "b": 10})
    for i in range(10):
        for copy in range(3):
            (tmp_path / "a" / f"copy-{copy}-of-{i}.png").write_bytes(picture(i))
    splits = Folder(path=tmp_path, val=0.3, test=0.2)()
    sides = [{part.encoded(i) for i in range(len(part))} for part in splits.parts().values()]
    assert all(len(part) for part in splits.parts().values())
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]
    assert any("more than once" in note for note in splits.notes)


def test_a_training_image_that_is_also_held_out_is_left_out_of_training(tmp_path):
    seed = write(tmp_path / "train", {"a": 5, "b": 5})
    write(tmp_path / "val", {"a": 2, "b": 2}, first=seed)
    (tmp_path / "test" / "b").mkdir(parents=True)
    (tmp_path / "test" / "b" / "same.png").write_bytes(picture(0))
    (tmp_path / "test" / "b" / "also.png").write_bytes(picture(seed))
    splits = Folder(path=tmp_path)()
    assert counts(splits) == {"train": 9, "val": 3, "test": 2}
    assert "1 images left out of train: held-out images, twice" in splits.notes


@pytest.fixture
def messy(tmp_path):
    """A hundred good images of two classes, and everything that goes wrong with files."""
    root = tmp_path / "messy"
    write(root, {"a": 50, "b": 50})
    a = root / "a"
    (a / "zero.jpg").write_bytes(b"")
    (a / "text.jpg").write_text("not an image at all")
    (a / "short.jpg").write_bytes(picture(900, "JPEG", 64)[:-200])
    (a / "short.png").write_bytes(picture(901, "PNG", 64)[:-200])
    (a / "imageNotFound.gif").write_bytes(picture(902, "GIF"))
    (a / "nowhere.jpg").symlink_to(root / "not-there.jpg")
    (a / "itself.jpg").symlink_to(a / "itself.jpg")
    return root


BROKEN = {
    "zero.jpg": "the file is empty",
    "text.jpg": "a text file, not an image",
    "short.jpg": "Premature end of JPEG file",
    "short.png": "image file is truncated",
    "imageNotFound.gif": "by its name a placeholder for a missing image",
    "nowhere.jpg": "No such file or directory",
    "itself.jpg": "Too many levels of symbolic links",
}


def test_unreadable_files_are_listed_with_the_reason(messy):
    for verify in ("auto", "quick", "all"):
        splits = Folder(path=messy, max_broken=0.1, verify=verify)()
        found = {os.path.basename(s.name): s.reason for s in splits.skipped}
        assert found.keys() == BROKEN.keys()
        assert all(found[name].startswith(BROKEN[name]) for name in BROKEN)
        assert sum(counts(splits).values()) == 100
        listed = json.loads(json.dumps(splits.summary()))["skipped"]
        assert {"name": os.path.join("a", "zero.jpg"), "reason": "the file is empty"} in listed


def test_too_many_unreadable_files_stop_the_run(messy):
    text = problem(messy)
    assert "7 of 107 images cannot be read" in text
    assert "short.jpg: Premature end of JPEG file" in text
    assert "max_broken" in text


def test_one_unreadable_file_is_always_allowed(tmp_path):
    write(tmp_path, {"a": 5, "b": 5})
    (tmp_path / "a" / "zero.jpg").write_bytes(b"")
    assert len(Folder(path=tmp_path, max_broken=0)().skipped) == 1


def test_forbidden_files_are_listed(tmp_path, monkeypatch):
    write(tmp_path, {"a": 5, "b": 5})

    def refuse(path, *rest, opened=os.open):  # chmod does not stop root
        if str(path).endswith("0.png"):
            raise PermissionError(13, "Permission denied")
        return opened(path, *rest)

    monkeypatch.setattr(os, "open", refuse)
    assert Folder(path=tmp_path)().skipped[0] == (os.path.join("a", "0.png"), "Permission denied")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_is_listed_and_not_waited_for(tmp_path):
    write(tmp_path, {"a": 5, "b": 5})
    os.mkfifo(tmp_path / "a" / "pipe.jpg")
    os.mkfifo(tmp_path / "a" / "pipe")  # by its name no image
    [skipped] = Folder(path=tmp_path)().skipped
    assert skipped == (os.path.join("a", "pipe.jpg"), "a pipe or a device, not a file")


def test_what_is_no_image_by_its_name_is_passed_over(tmp_path):
    write(tmp_path, {"a": 5, "b": 5})
    for name in ("notes.txt", ".DS_Store", "._1.png", "Thumbs.db", "README"):
        (tmp_path / "a" / name).write_text("nothing to see")
    (tmp_path / "a" / ".hidden").mkdir()
    (tmp_path / "a" / "no-suffix").write_bytes(picture(77))
    splits = Folder(path=tmp_path, val=0, test=0)()
    assert (len(splits.train), splits.skipped) == (11, ())


def test_links_in_circles_end(tmp_path):
    write(tmp_path, {"a": 5, "b": 5})
    (tmp_path / "a" / "deep").mkdir()
    (tmp_path / "a" / "deep" / "up").symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a" / "loop", target_is_directory=True)
    splits = Folder(path=tmp_path, val=0, test=0)()
    assert len(splits.train) == 10


def test_images_behind_a_link_and_deeper_folders_belong_to_the_class(tmp_path):
    write(tmp_path / "data", {"a": 5, "b/deep/er": 5})
    write(tmp_path / "elsewhere", {"more": 3}, first=50)
    (tmp_path / "data" / "a" / "more").symlink_to(tmp_path / "elsewhere" / "more")
    per_class = Folder(path=tmp_path / "data", val=0, test=0)().summary()["per_class"]
    assert per_class == {"train": {"a": 8, "b": 5}}


def test_unicode_and_long_names(tmp_path):
    names = ["Äpfel 🍎", "ярлык", "x" * 200, "a\nb"]
    write(tmp_path, dict.fromkeys(names, 2))
    (tmp_path / names[1] / ("é" * 100 + ".png")).write_bytes(picture(99))
    splits = Folder(path=tmp_path, val=0, test=0)()
    assert splits.classes == tuple(sorted(names))
    assert len(splits.fingerprint()) == len(Folder(path=tmp_path)().fingerprint())
    json.dumps(splits.summary())


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_a_name_that_is_no_text(tmp_path):
    write(tmp_path, {"a": 5, "b": 5})
    with open(os.path.join(os.fsencode(tmp_path), b"a", b"\xff\xfe.png"), "wb") as file:
        file.write(picture(50))
    splits = Folder(path=tmp_path, val=0, test=0)()
    assert len(splits.train) == 11
    json.dumps(splits.summary()).encode()
    assert splits.train[0][0].shape == (3, 12, 12)


def test_empty_class_folders_are_no_classes(tmp_path):
    write(tmp_path, {"a": 5, "b": 5, "c": 0})
    splits = Folder(path=tmp_path)()
    assert splits.classes == ("a", "b")
    assert "1 empty class folders: c" in splits.notes


def test_a_class_with_one_image_stays_in_train(tmp_path):
    write(tmp_path, {"a": 10, "b": 10, "rare": 1})
    splits = Folder(path=tmp_path)()
    assert splits.summary()["per_class"]["train"]["rare"] == 1
    assert any("rare" in note for note in splits.notes)


def test_one_class_is_not_enough(tmp_path):
    write(tmp_path, {"a": 5})
    assert "there is only one class" in problem(tmp_path)


def test_a_class_that_is_only_held_out_is_an_error(tmp_path):
    seed = write(tmp_path / "train", {"a": 3, "b": 3})
    write(tmp_path / "val", {"a": 2, "c": 2}, first=seed)
    assert "class 'c' is in the held-out images, but not among those to train on" in problem(
        tmp_path
    )


def test_empty_and_missing_folders(tmp_path):
    assert "there are no images in this folder" in problem(tmp_path)
    assert "there is no such folder" in problem(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    assert "this is a file, not a folder" in problem(tmp_path / "file")


def test_images_without_class_folders(tmp_path):
    write(tmp_path, {".": 5})
    assert "not sorted into classes" in problem(tmp_path)


def test_gray_unless_one_image_has_color(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(5):
            gray = Image.fromarray(np.full((8, 8), 10 * i + ord(name), np.uint8))
            gray.save(tmp_path / name / f"{i}.png")
    splits = Folder(path=tmp_path)()
    assert (splits.channels, splits.train[0][0].shape) == (1, (1, 8, 8))
    (tmp_path / "a" / "color.png").write_bytes(picture(3))
    splits = Folder(path=tmp_path)()
    assert (splits.channels, splits.train[0][0].shape[0]) == (3, 3)
    assert Folder(path=tmp_path, channels=4)().train[0][0].shape[0] == 4


def test_the_fingerprint_changes_with_content_names_and_labels(tmp_path):
    write(tmp_path, {"a": 5, "b": 5})
    before = Folder(path=tmp_path)().fingerprint()
    assert Folder(path=tmp_path)().fingerprint() == before
    (tmp_path / "a" / "0.png").write_bytes(picture(500))
    changed = Folder(path=tmp_path)().fingerprint()
    (tmp_path / "a" / "1.png").rename(tmp_path / "a" / "1-renamed.png")
    renamed = Folder(path=tmp_path)().fingerprint()
    (tmp_path / "a" / "2.png").rename(tmp_path / "b" / "2.png")
    assert len({before, changed, renamed, Folder(path=tmp_path)().fingerprint()}) == 4


def test_the_summary_tells_sizes_and_who_was_held_out(tmp_path):
    write(tmp_path, {"a": 10, "b": 10})
    summary = Folder(path=tmp_path)().summary()
    assert (summary["median_height"], summary["median_width"]) == (12, 12)
    assert summary["all_one_size"] is True
    assert {name: len(members) for name, members in summary["members"].items()} == {
        "val": 2,
        "test": 2,
    }
    assert "seed 0" in summary["split"]


def test_guess_takes_settings(tmp_path):
    write(tmp_path, {"a": 10, "b": 10})
    assert len(guess(tmp_path, val=0.5, test=0)().val) == 10

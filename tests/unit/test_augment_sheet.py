"""The contact sheet is a picture of every change, labelled."""

import pytest
import torch
from PIL import Image

from goodfit.augment.cutout import Cutout
from goodfit.augment.flip import Flip
from goodfit.augment.random_crop import RandomCrop
from goodfit.batch import Batch
from goodfit.errors import RunError
from goodfit.report.contact_sheet import _columns, contact_sheet, pictures


def batch(channels: int = 3, dtype: torch.dtype = torch.uint8) -> Batch:
    images = torch.rand(2, channels, 20, 30, generator=torch.Generator().manual_seed(0))
    images = images if dtype == torch.float32 else (images * 255).to(dtype)
    return Batch(images, torch.eye(2), torch.arange(2))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_sheet_of_any_images(tmp_path, channels, dtype):
    path = contact_sheet(batch(channels, dtype), [Flip(), Cutout()], tmp_path / "a" / "sheet.png")
    with Image.open(path) as sheet:
        assert sheet.format == "PNG"
        assert sheet.width > 4 * 120
        assert sheet.height > 2 * 120


def test_one_column_per_change_and_one_for_all():
    columns = _columns(batch(), [Flip(), RandomCrop(size=16)], seed=0, side=60)
    assert [column.heading for column in columns] == [
        "original",
        "flip",
        "random-crop",
        "all of them",
    ]
    assert columns[1].note == "prob 0.5"
    assert columns[3].note == "16 x 16"
    assert columns[0].pictures[0].size == (60, 40)


def test_what_decoding_has_changed_is_shown_as_it_came_and_not_changed_again():
    plain = batch()
    decoded = plain._replace(images=plain.images[..., :10, :10])
    columns = _columns(plain, [RandomCrop(size=5), Flip(prob=1)], 0, 60, decoded)
    notes = {column.heading: column.note for column in columns}
    assert (notes["original"], notes["all of them"]) == ("30 x 20", "10 x 10")
    expected = pictures(decoded.images, 60), pictures(decoded.images.flip(-1), 60)
    for column, wanted in zip((columns[1], columns[3]), expected, strict=True):
        assert [p.tobytes() for p in column.pictures] == [p.tobytes() for p in wanted]


def test_labels_make_room_for_themselves(tmp_path):
    narrow = contact_sheet(batch(), [Flip()], tmp_path / "narrow.png")
    wide = contact_sheet(
        batch(), [Flip()], tmp_path / "wide.png", names=["ant", "a very long name " * 9]
    )
    with Image.open(narrow) as a, Image.open(wide) as b:
        assert 100 < b.width - a.width < 200


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError) as refused:
        contact_sheet(batch(), [Flip()], tmp_path / "file" / "sheet.png")
    assert "fix" in str(refused.value)


def test_an_enormous_sheet_is_refused(tmp_path):
    with pytest.raises(RunError):
        contact_sheet(batch(), [Flip()], tmp_path / "sheet.png", side=5000)

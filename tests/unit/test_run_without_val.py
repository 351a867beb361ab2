"""Training on every image: nothing guides the run, and the test split alone judges it."""

import pytest

from goodfit.errors import DataError
from goodfit.run.start import resume, train

FEW = ("train.epochs=2", "data.val=0", "train.precision=float32", "train.channels_last=false")


def test_the_test_split_judges_and_nothing_is_calibrated(tmp_path):
    run = train("digits", "digits", changes=FEW, runs=tmp_path, name="all")
    assert len(run.splits().train) == 1438
    assert run.result["split"] == "test"
    assert run.result["validation"] is None
    assert run.result["metrics"]["temperature"] is None
    assert run.result["metrics"]["images"] == 359
    assert not (run.path / "evaluations.jsonl").exists()
    assert "After temperature scaling" not in (run.path / "report.html").read_text()
    assert resume(run.path).accuracy == run.accuracy


def test_without_a_test_split_either_it_is_refused(tmp_path):
    with pytest.raises(DataError, match="no image is held out to test on"):
        train("digits", "digits", changes=(*FEW, "data.test=0"), runs=tmp_path, name="none")
    assert not list(tmp_path.iterdir())

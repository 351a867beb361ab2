"""Names of runs: one folder each, never two runs in one, whoever comes first."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from goodfit.errors import RunError
from goodfit.run import directory
from goodfit.run.directory import RunDirectory


def test_runs_that_start_in_the_same_second_get_a_directory_each(tmp_path, monkeypatch):
    monkeypatch.setattr(directory.time, "strftime", lambda form: "2026-11-25-120000")
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: RunDirectory.fresh("photos/", tmp_path).path, range(8)))
    assert len(set(made)) == 8
    first = "photos-2026-11-25-120000"
    assert {path.name for path in made} == {first, *(f"{first}-{n}" for n in range(2, 9))}


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../up", "/tmp/elsewhere", "a\\b", "what?"])
def test_a_name_is_one_folder(tmp_path, name):
    with pytest.raises(RunError, match="cannot be the name of a run"):
        RunDirectory.create(name, tmp_path / "runs")
    assert not list(tmp_path.iterdir())


def test_names_in_any_script_are_fine(tmp_path):
    assert RunDirectory.create("Bäume 🌳 v2.1", tmp_path).checkpoints.is_dir()

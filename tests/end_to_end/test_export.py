"""Exported files of a real, tiny run: they compute what it does, for any batch, with metadata."""

import json

import pytest
import torch
from safetensors import safe_open
from torch import nn

import goodfit.export.make as make
from goodfit.data.digits import Digits
from goodfit.ensemble import ensemble
from goodfit.errors import DataError, ModelError, RunError
from goodfit.export import card, export, write_card
from goodfit.export.graph import run_onnx
from goodfit.run.load import Run
from goodfit.run.start import train

RECIPE = """
[model]
kind = "cnn"
widths = [16]

[optimizer]
kind = "sgd"
lr = 1.6

[train]
epochs = 2
batch_size = 64
precision = "float32"
channels_last = false
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("runs")
    (folder / "small.toml").write_text(RECIPE)
    return train(folder / "small.toml", "digits", name="one", runs=folder, device="cpu")


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    source = Digits()().test
    return torch.stack([source[i][0] for i in range(9)])


def logits_of(run: Run, images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return run.classifier(device="cpu")(images).clone()


def test_onnx_computes_what_the_run_does_for_any_batch(run, images, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    done = export(run, "onnx", out=tmp_path / "net.onnx")
    expected, again = logits_of(run, images), run_onnx(done.path)
    for count in (1, 2, 9):
        torch.testing.assert_close(
            again(images[:count]), expected[:count], atol=1e-4, rtol=1e-4, check_stride=False
        )
    assert done.probability_difference < 1e-5
    assert done.images == 64

    import onnxruntime

    session = onnxruntime.InferenceSession(str(done.path))
    kept = session.get_modelmeta().custom_metadata_map
    assert json.loads(kept["classes"]) == list(run.classes)
    assert [i.type for i in session.get_inputs()] == ["tensor(uint8)"]


def test_torch_export_takes_float_pixels_when_asked(run, images, tmp_path):
    done = export(run, "torch-export", out=tmp_path / "net.pt2", pixels="float")
    extra = {"goodfit.json": ""}
    module = torch.export.load(done.path, extra_files=extra).module()
    found = module(images[:3].float() / 255)
    torch.testing.assert_close(found, logits_of(run, images[:3]), atol=1e-4, rtol=1e-4)
    assert "float32 in 0..1" in json.loads(extra["goodfit.json"])["input"]


def test_safetensors_hold_the_weights_and_what_rebuilds_the_net(run, tmp_path):
    done = export(run, "safetensors", out=tmp_path / "net.safetensors")
    with safe_open(done.path, "pt") as file:
        about, names = file.metadata(), set(file.keys())
    assert names == set(run.classifier(device="cpu").state_dict())
    assert 'kind = "cnn"' in about["goodfit_recipe"]


def test_the_difference_is_stored_beside_the_file(run, tmp_path):
    done = export(run, "safetensors", out=tmp_path / "net.safetensors")
    facts = json.loads((tmp_path / "net.safetensors.json").read_text())
    assert facts["largest_probability_difference"] == done.probability_difference
    assert facts["checked_on_images"] == 64
    assert "differ from the run's by at most" in done.card.read_text()


def test_a_file_that_computes_something_else_is_not_kept(run, tmp_path, monkeypatch):
    monkeypatch.setattr(
        make, "run_safetensors", lambda path, run: lambda x: torch.zeros(len(x), 10)
    )
    with pytest.raises(ModelError, match="does not compute what the run does"):
        export(run, "safetensors", out=tmp_path / "net.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_net_that_cannot_be_traced_is_refused_in_four_parts(run, tmp_path, monkeypatch):
    class Asking(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :10] * (2.0 if x.sum() > 0 else 1.0)

    model = run.classifier(device="cpu")
    model.net = Asking()
    monkeypatch.setattr(Run, "classifier", lambda *_, **__: model)
    with pytest.raises(ModelError, match="cannot be written as a graph") as error:
        export(run, "torch-export", out=tmp_path / "net.pt2")
    assert error.value.at == "Asking"
    assert "safetensors" in error.value.fix
    assert not list(tmp_path.iterdir())


def test_an_ensemble_is_exported_like_a_run(run, images, tmp_path):
    both, _ = ensemble([run.path], members=("last", "best"), name="both", folder=tmp_path)
    done = export(both, "torch-export", out=tmp_path / "both.pt2")
    found = torch.export.load(done.path).module()(images)
    torch.testing.assert_close(found, logits_of(both, images), atol=1e-4, rtol=1e-4)
    assert "an ensemble (probabilities) of one:last, one:best" in done.card.read_text()


def test_an_unknown_format_is_refused_with_those_that_are_known(run):
    with pytest.raises(RunError, match="'coreml'") as error:
        export(run, "coreml")
    assert "torch-export" in error.value.seen["known"]


def test_data_from_python_must_be_given_again(tmp_path):
    (tmp_path / "small.toml").write_text(RECIPE)
    run = train(tmp_path / "small.toml", Digits()(), name="own", runs=tmp_path, device="cpu")
    with pytest.raises(DataError, match="came from Python"):
        export(run, "safetensors")
    assert export(run, "safetensors", data="digits").probability_difference < 1e-6


def test_an_unfinished_run_is_not_exported(run, tmp_path):
    (tmp_path / "recipe.toml").write_text((run.path / "recipe.toml").read_text())
    with pytest.raises(RunError, match="unfinished") as error:
        export(tmp_path, "safetensors")
    assert "goodfit resume" in error.value.fix


def test_a_card_tells_data_recipe_results_with_intervals_and_limits(run):
    page = card(run)
    titles = [line[3:] for line in page.splitlines() if line.startswith("## ")]
    assert titles == ["Data", "Recipe", "Results", "Classes", "Limits", "Use"]
    accuracy = run.result["metrics"]["accuracy"]
    assert f"{accuracy['value']:.1%} ({accuracy['low']:.1%} to {accuracy['high']:.1%})" in page
    assert page.count("\n| ") == 10 + 10 + 2  # classes, measures, heads
    assert run.data["fingerprint"] in page


def test_class_names_cannot_become_markup_in_a_card(run, monkeypatch):
    result = run.result
    result["metrics"]["per_class"][0]["name"] = "<b>|x|[y](z)"
    monkeypatch.setattr(Run, "result", property(lambda self: result))
    page = card(run)
    assert r"&lt;b>\|x\|\[y\](z)" in page
    assert "<b>" not in page


def test_a_run_without_a_result_has_no_card(run, tmp_path):
    (tmp_path / "recipe.toml").write_text((run.path / "recipe.toml").read_text())
    with pytest.raises(RunError, match="no model card"):
        write_card(Run(tmp_path))


def test_the_commands_write_file_and_card(goodfit, run, tmp_path):
    out = tmp_path / "net.safetensors"
    done = goodfit("export", run.path, "--format", "safetensors", "--out", out)
    assert done.returncode == 0, done.stderr
    assert "probabilities differ from the run's by at most" in done.stdout
    assert out.exists()
    done = goodfit("card", run.path, "--out", tmp_path / "card.md")
    assert (tmp_path / "card.md").read_text().startswith("# one")

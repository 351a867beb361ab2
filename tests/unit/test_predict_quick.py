"""The quick model is the same model."""

from importlib import import_module

import pytest
import torch
from torch import Tensor, nn

from goodfit.predict import Classifier, predict
from goodfit.predict.quick import InParts, folded, quick_for, quickened
from goodfit.run.start import train


@pytest.fixture
def model() -> Classifier:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4)
    )
    net(torch.rand(64, 3, 8, 8))  # statistics that are not the initial ones
    return Classifier(nn.Identity(), net, "abcd")


def test_it_predicts_the_same(model):
    images = torch.rand(16, 3, 8, 8)
    quick = quickened(model, images)
    same = predict(quick.model, images, precision=quick.precision)
    torch.testing.assert_close(same, predict(model, images), atol=0.02, rtol=0)


def test_candidates_are_timed_and_the_fastest_taken(model):
    quick = quickened(model, torch.rand(16, 3, 8, 8))
    assert "channels last, batch norms folded" in quick.seconds
    assert quick.seconds[quick.how] == min(quick.seconds.values())


def test_the_model_itself_is_left_alone(model):
    model.train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    quickened(model, torch.rand(4, 3, 8, 8))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(m.training for m in model.modules())


def test_a_forward_that_cannot_be_traced_is_run_as_it_is():
    class Choosy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x) if x.sum() > 0 else -self.net(x)

    quick = quickened(Choosy(), torch.rand(4, 3, 2, 2))
    assert not any("folded" in how for how in quick.seconds)


def test_a_candidate_that_changes_the_answer_is_left_out(model):
    quick = quickened(model, torch.rand(4, 3, 8, 8), tolerance=0.0)
    assert not any("bfloat16" in how for how in quick.seconds)


def test_a_batch_in_parts_gives_what_the_whole_gives(model):
    images = torch.rand(10, 3, 8, 8)
    model.eval()
    for padded in (False, True):
        torch.testing.assert_close(InParts(model, 4, padded=padded)(images), model(images))


def test_a_padded_part_always_has_the_shape_that_was_compiled(model):
    shapes = []
    model.eval().register_forward_pre_hook(lambda _, given: shapes.append(len(given[0])))
    InParts(model, 4, padded=True)(torch.rand(10, 3, 8, 8))
    assert shapes == [4, 4, 4]


def test_folding_leaves_no_batch_norm_and_the_same_probabilities(model):
    images = torch.rand(16, 3, 8, 8)
    quick = folded(model, images)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in quick.modules())
    assert any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    torch.testing.assert_close(predict(quick, images), predict(model, images), atol=1e-6, rtol=0)


def test_a_trace_that_forgets_something_is_not_used():
    class Forgetful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))

        def forward(self, x: Tensor) -> Tensor:
            traced = isinstance(x, torch.fx.Proxy)
            return self.net(x) * (1 if traced else 5)

    model = Forgetful()
    assert folded(model, torch.rand(4, 3, 2, 2)) is model


def test_few_images_are_predicted_by_the_model_itself(model):
    assert quick_for(model, torch.rand(4, 3, 8, 8), 4).model is model


def test_many_images_take_the_same_model_every_time(model):
    images = torch.rand(8, 3, 8, 8)
    one, other = (quick_for(model, images, 1000) for _ in range(2))
    assert one.how == other.how == "batch norms folded"
    assert torch.equal(predict(one.model, images), predict(other.model, images))


def test_a_run_that_is_tested_the_quick_way_gives_the_numbers_of_its_training(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    module = import_module("goodfit.predict.quick")
    monkeypatch.setattr(module, "_FEW", 10)
    used, original = [], module.folded
    monkeypatch.setattr(module, "folded", lambda *given: used.append(1) or original(*given))
    plain = ("precision='float32'", "channels_last=false", "compile=false", "check=false")
    changes = ("train.epochs=0.3", "evaluate.every=1", *(f"train.{change}" for change in plain))
    run = train("digits", "digits", changes=changes, name="a")
    again = run.evaluate()
    assert used
    assert again.accuracy.value == run.accuracy
    before = run.result["metrics"]["calibration"]["nll"]["value"]
    assert again.calibration.nll.value == pytest.approx(before, abs=1e-5)

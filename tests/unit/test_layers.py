"""Where random layers are put, what is refused, and that names and weights stay."""

import pytest
import torch
from torch import Tensor, nn

from goodfit.errors import DataError, ModelError, RecipeError
from goodfit.layers._attach import head
from goodfit.layers.batch_norm import BatchNormInsertion, precise_batch_norm
from goodfit.layers.drop_connect import DropConnect, DropConnectInsertion
from goodfit.layers.dropout import Dropout, DropoutInsertion
from goodfit.layers.fractional_max_pool import FractionalMaxPool2d, FractionalMaxPoolInsertion
from goodfit.layers.statistics import measured
from goodfit.layers.stochastic_depth import StochasticDepth, StochasticDepthInsertion
from goodfit.layers.vanilla_dropout import VanillaDropout


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))


def test_dropout_goes_before_the_head_and_names_stay():
    model, before = mlp(), list(mlp().state_dict())
    assert DropoutInsertion(prob=0.5)(model).places == ("4",)
    assert list(model.state_dict()) == before
    assert isinstance(model[4].dropout, Dropout)
    seen = []
    model[4].dropout.register_forward_hook(lambda m, args, out: seen.append(out))
    model(torch.rand(3, 4))
    assert (seen[0] == 0).any()


def test_a_dropout_that_is_there_is_replaced_not_doubled():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 2))
    assert DropoutInsertion(prob=0.4)(model).places == ("2",)
    assert model[2].prob == 0.4
    assert sum(isinstance(m, Dropout | nn.Dropout) for m in model.modules()) == 1
    assert DropoutInsertion(prob=0.3, place="hidden")(model).places == ("2",)
    assert model[2].prob == 0.3


def test_hidden_dropout_follows_every_hidden_nonlinearity():
    model = mlp()
    assert DropoutInsertion(place="hidden")(model).places == ("1", "3")
    assert [type(m) for m in model[1]] == [nn.ReLU, Dropout]


def test_naming_dropout_twice_replaces_it_or_says_so():
    model = mlp()
    DropoutInsertion()(model)
    with pytest.raises(ModelError, match="has a dropout already"):
        DropoutInsertion()(model)


def test_the_head_is_what_timm_says_or_the_last_linear_layer():
    assert head(mlp())[0] == "4"
    conv = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1), nn.AdaptiveAvgPool2d(1))
    assert head(conv)[0] == "1"
    with pytest.raises(ModelError, match="no linear layer"):
        head(nn.Sequential(nn.Conv2d(3, 4, 3)))


def test_vanilla_dropout_scales_by_the_keep_probability_at_test():
    x = torch.ones(3)
    layer = VanillaDropout(0.2)
    assert torch.equal(layer.given(x, torch.tensor([True, False, True])), torch.tensor([1.0, 0, 1]))
    assert layer.eval()(x).tolist() == pytest.approx([0.8] * 3)


class Residual(nn.Module):
    def __init__(self, *, last: nn.Module) -> None:
        super().__init__()
        self.conv, self.last, self.act = nn.Conv2d(4, 4, 1), last, nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        out = self.act(self.conv(x))
        out = self.last(out)
        out += identity
        return self.act(out)


def test_a_branch_is_found_by_tracing_and_names_stay():
    model = nn.Sequential(Residual(last=nn.Conv2d(4, 4, 1)), Residual(last=nn.BatchNorm2d(4)))
    before = list(model.state_dict())
    assert StochasticDepthInsertion(prob=0.2)(model).places == ("0.last", "1.last")
    assert list(model.state_dict()) == before
    assert model[0].last.stochastic_depth.prob == pytest.approx(0.1)


def test_a_skipped_branch_adds_nothing():
    model = Residual(last=nn.Conv2d(4, 4, 1))
    StochasticDepthInsertion(prob=0.5)(nn.Sequential(model))
    x = torch.rand(64, 4, 2, 2)
    y = model.train()(x)
    skipped = (y == x).flatten(1).all(1)
    assert 10 < skipped.sum() < 54
    assert torch.equal(model.eval()(x), model.act(x + model.last.forward(model.act(model.conv(x)))))


def test_depth_that_is_there_is_replaced_not_doubled():
    from torchvision.ops import StochasticDepth as Torchvisions

    model = nn.Sequential(Residual(last=nn.Conv2d(4, 4, 1)))
    StochasticDepthInsertion(prob=0.2)(model)
    StochasticDepthInsertion(prob=0.3)(model)
    depths = [m for m in model.modules() if isinstance(m, StochasticDepth)]
    assert [m.prob for m in depths] == [0.3]
    theirs = nn.Sequential(Residual(last=Torchvisions(0.5, "row")))
    StochasticDepthInsertion(prob=0.1)(theirs)
    assert isinstance(theirs[0].last, StochasticDepth)


def test_a_shared_end_is_refused_with_its_reason():
    class Shared(Residual):
        def forward(self, x: Tensor) -> Tensor:
            return x + self.act(self.conv(self.act(x)))

    with pytest.raises(ModelError) as error:
        StochasticDepthInsertion()(nn.Sequential(Shared(last=nn.Identity())))
    assert "used more than once" in str(error.value)


def test_models_without_residual_branches_are_refused():
    with pytest.raises(ModelError, match="no residual branch"):
        StochasticDepthInsertion()(mlp())


BRANCHES = [
    ("torchvision", "resnet18", 8, "layer4.1.bn2"),
    ("torchvision", "resnet50", 16, "layer4.2.bn3"),
    ("torchvision", "mobilenet_v2", 10, "features.16.conv"),
    ("torchvision", "efficientnet_b0", 9, "features.7.0.stochastic_depth"),
    ("torchvision", "convnext_tiny", 18, "features.7.2.stochastic_depth"),
    ("timm", "resnet18", 8, "layer4.1.drop_path"),
    ("timm", "vit_tiny_patch16_224", 24, "blocks.11.drop_path2"),
    ("timm", "mobilenetv3_small_050", 7, "blocks.4.2.drop_path"),
]


@pytest.mark.parametrize(("library", "name", "count", "last"), BRANCHES)
def test_branches_of_known_models_are_found(library, name, count, last):
    with torch.device("meta"):
        if library == "timm":
            model = pytest.importorskip("timm").create_model(name)
        else:
            import torchvision

            model = torchvision.models.get_model(name)
        places = StochasticDepthInsertion(prob=0.5)(model).places
    assert len(places) == count
    depths = [m for m in model.modules() if isinstance(m, StochasticDepth)]
    assert len(depths) == count
    assert depths[-1].prob == 0.5
    assert last in places or name == "efficientnet_b0"


def test_dropconnect_at_the_head_and_before_activations():
    model = mlp()
    assert DropConnectInsertion()(model).places == ("4",)
    assert isinstance(model[4], DropConnect)
    model = mlp()
    changed = DropConnectInsertion(place="hidden", slices=50)(model)
    assert changed.places == ("0", "2")
    assert model.eval()(torch.rand(3, 4)).shape == (3, 2)


def test_dropconnect_wants_vectors_and_an_activation_for_slices():
    with pytest.raises(RecipeError, match="without an activation"):
        DropConnect(nn.Linear(2, 2), slices=10)
    with pytest.raises(ModelError, match="one vector per image"):
        DropConnect(nn.Linear(2, 2))(torch.rand(3, 4, 2))
    with pytest.raises(ModelError, match="head"):
        DropConnectInsertion(slices=5)(mlp())


@pytest.mark.parametrize("ratio", [1.0, 2.0, 0.5])
def test_a_ratio_out_of_range_is_refused(ratio):
    with pytest.raises(RecipeError, match="ratio"):
        FractionalMaxPool2d(ratio)
    with pytest.raises(RecipeError, match="ratio"):
        FractionalMaxPoolInsertion(ratio=ratio)


def test_disjoint_regions_cover_the_map_and_one_pixel_is_too_small():
    x = torch.zeros(1, 1, 9, 9)
    x[..., -1, -1] = 1
    assert FractionalMaxPool2d(overlapping=False)(x)[..., -1, -1] == 1
    assert FractionalMaxPool2d(overlapping=False)(torch.ones(1, 1, 1, 1)).shape == (1, 1, 1, 1)
    with pytest.raises(ModelError, match="too small"):
        FractionalMaxPool2d()(torch.ones(1, 1, 1, 1))


def test_only_poolings_with_stride_two_are_replaced():
    model = nn.Sequential(nn.MaxPool2d(3, stride=1), nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1))
    changed = FractionalMaxPoolInsertion()(model)
    assert changed.places == ("1", "2")
    assert changed.refused == (("0", "its stride is 1, not 2"),)


def test_batch_norm_goes_between_layer_and_activation():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 5), nn.ReLU())
    model = nn.Sequential(*model, nn.Linear(5, 2))
    assert BatchNormInsertion(momentum=0.2)(model).places == ("0", "3")
    assert isinstance(model[0].batch_norm, nn.BatchNorm2d)
    assert model[3].batch_norm.momentum == 0.2
    assert model(torch.rand(6, 3, 4, 4)).shape == (6, 2)
    with pytest.raises(ModelError, match="already"):
        BatchNormInsertion()(model)


def test_batch_norm_is_not_put_beside_selu():
    with pytest.raises(ModelError, match="SELU") as error:
        BatchNormInsertion()(nn.Sequential(nn.Linear(4, 4), nn.SELU(), nn.Linear(4, 2)))
    assert error.value.at == "1"


def test_precise_statistics_need_norms_and_batches():
    with pytest.raises(ModelError, match="no batch norm"):
        precise_batch_norm(mlp(), [torch.rand(3, 4)])
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2))
    with pytest.raises(DataError, match="no batch"):
        precise_batch_norm(model, [])
    assert torch.equal(model[0].running_mean, torch.zeros(4))


def test_an_unknown_activation_experiment_is_refused():
    with pytest.raises(RecipeError, match="known"):
        measured("tanhh")

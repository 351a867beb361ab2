"""Stems, channels, weights and refusals of the models."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from goodfit.errors import ModelError, RecipeError
from goodfit.models._stem import channels_of, first_conv, with_small_stem
from goodfit.models.cnn import CNN
from goodfit.models.fast_net import FastNet
from goodfit.models.googlenet import GoogLeNet
from goodfit.models.mlp import MLP
from goodfit.models.mobilenet import MobileNet
from goodfit.models.resnet import ResNet
from goodfit.models.timm import Timm
from goodfit.models.torchvision import Torchvision

TINY = "test_resnet"  # timm's smallest


def side_after_stem(net: nn.Module, images: torch.Tensor) -> int:
    return net.maxpool(net.act(net.bn1(net.conv1(images)))).shape[-1]


def test_the_full_stem_quarters_the_side_and_the_small_one_keeps_it():
    images = torch.rand(1, 3, 32, 32)
    assert side_after_stem(ResNet(stem="full")(2), images) == 8
    assert side_after_stem(ResNet(stem="small")(2), images) == 32


def test_auto_means_small_up_to_64_pixels():
    assert ResNet().suited(64).stem == "small"
    assert ResNet().suited(65).stem == "full"
    assert ResNet(stem="full").suited(32).stem == "full"


@pytest.mark.parametrize("settings", [Torchvision(stem="small"), Timm(arch=TINY, stem="small")])
def test_the_small_stem_is_put_into_anyone_elses_net(settings):
    with torch.device("meta"):
        _, conv = first_conv(settings(2))
    assert (conv.kernel_size, conv.stride, conv.padding) == ((3, 3), (1, 1), (1, 1))


def test_a_net_of_even_patches_refuses_the_small_stem():
    net = nn.Sequential(nn.Conv2d(3, 8, 16, 16), nn.Flatten(), nn.Linear(32, 2))
    with pytest.raises(ModelError, match="patches of 16 pixels") as error:
        with_small_stem(net, keep_kernel=True)
    assert error.value.fix


@pytest.mark.parametrize(
    "settings",
    [
        Timm(arch="vit_tiny_patch16_224", options={"patch_size": 4, "depth": 1}),
        Timm(arch="mixer_s32_224"),
        Torchvision(arch="vit_b_32"),
    ],
    ids=lambda settings: settings.arch,
)
def test_a_net_with_a_fixed_grid_of_patches_is_made_for_the_images_and_keeps_its_stem(settings):
    suited = settings.suited(32)
    assert suited.stem == "full"
    with torch.device("meta"):
        assert suited(2)(torch.empty(1, 3, 32, 32)).shape == (1, 2)
        with pytest.raises(ModelError, match="fixed grid"):
            settings.replaced(stem="small")(2)


def test_images_that_a_grid_cannot_divide_are_refused():
    with torch.device("meta"), pytest.raises(ModelError, match="cannot be built") as error:
        Torchvision(arch="maxvit_t").suited(32)(2)
    assert error.value.fix


def test_gray_weights_act_on_a_gray_image_as_color_ones_did():
    weight, gray = torch.randn(4, 3, 3, 3), torch.rand(1, 1, 8, 8)
    color = nn.functional.conv2d(gray.expand(1, 3, 8, 8), weight)
    torch.testing.assert_close(nn.functional.conv2d(gray, channels_of(weight, 1)), color)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_the_sum_over_channels_stays_where_all_filters_are_alike(channels):
    weight = torch.ones(4, 3, 1, 1)
    assert channels_of(weight, channels).shape == (4, channels, 1, 1)
    torch.testing.assert_close(channels_of(weight, channels).sum(1), weight.sum(1))


def test_googlenet_gives_its_auxiliary_heads_in_training_alone():
    net = GoogLeNet(stem="small", aux_weight=0.2)(3)
    images = torch.rand(2, 3, 32, 32)
    assert [tuple(head.shape) for head in net(images)] == [(2, 3)] * 3
    assert net.aux_weight == 0.2
    assert net.eval()(images).shape == (2, 3)


def test_googlenet_without_auxiliary_weight_has_no_such_heads():
    with torch.device("meta"):
        assert GoogLeNet(aux_weight=0)(3).aux1 is None


def test_fastnet_starts_as_the_identity_on_its_first_channels():
    net = FastNet(widths=(32, 64))(10)
    second = net.groups[0][-3]  # convolution, norm, activation
    images = torch.rand(1, 32, 4, 4)
    torch.testing.assert_close(second(images), images)


def test_fastnets_first_layer_and_scales_stay_as_they_are():
    frozen = [n for n, p in FastNet(widths=(32, 64))(10).named_parameters() if not p.requires_grad]
    assert frozen[0] == "whiten.weight"
    assert len(frozen) == 1 + 2 * 2  # and one norm behind every convolution


@pytest.mark.compile
def test_fast_net_learns_the_same_when_compiled():
    """Its largest values once had a gradient that was not a number in compiled bfloat16."""
    images = torch.rand(16, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    targets, norms = torch.arange(16) % 10, []
    for compiled in (False, True):
        torch.manual_seed(0)
        net = FastNet(widths=(32, 32, 32))(10).to(memory_format=torch.channels_last)
        model = torch.compile(net, dynamic=False) if compiled else net
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(images.contiguous(memory_format=torch.channels_last))
        torch.nn.functional.cross_entropy(logits.float(), targets).backward()
        norms.append([float(p.grad.norm()) for p in net.parameters() if p.grad is not None])
    assert len(norms[0]) == len(norms[1]) > 5
    assert norms[1] == pytest.approx(norms[0], rel=0.1)


@pytest.mark.parametrize("side", [1, 5, 8, 33])
@pytest.mark.parametrize("model", [CNN(), MLP(side=4), ResNet(depth=8), FastNet(patch=1)], ids=repr)
def test_any_image_size_will_do(model, side):
    assert model(3, 1).eval()(torch.rand(2, 1, side, side + 1)).shape == (2, 3)


@pytest.mark.parametrize("model", [CNN(activation="maxout", pieces=3), MLP(activation="maxout")])
def test_our_small_nets_can_use_maxout(model):
    plain = model.replaced(activation="relu")
    count = [sum(p.numel() for p in m.suited(8)(3, 1).parameters()) for m in (model, plain)]
    assert count[0] > 1.8 * count[1]


@pytest.mark.parametrize("name", ["swish", "leaky-relu", "gelu"])
def test_the_activation_is_a_setting(name):
    kinds = {type(m).__name__ for m in ResNet(depth=8, activation=name)(2).modules()}
    assert "ReLU" not in kinds


# Weights


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    net = Timm(arch=TINY)(10)
    state = {name: torch.rand_like(t.float()).to(t.dtype) for name, t in net.state_dict().items()}
    save_file(state, tmp_path / "net.safetensors")
    torch.save({"state_dict": state}, tmp_path / "net.pth")
    return tmp_path, state


@pytest.mark.parametrize("file", ["net.safetensors", "net.pth"])
def test_weights_from_a_file_leave_only_the_classifier_fresh(weights, file):
    folder, state = weights
    net = Timm(arch=TINY, weights=str(folder / file))(4)
    new = net.state_dict()
    same = [name for name in state if new[name].shape == state[name].shape]
    assert set(state) - set(same) == {"fc.weight", "fc.bias"}
    assert all(torch.equal(new[name], state[name]) for name in same)


def test_weights_for_color_serve_gray_images(weights):
    folder, state = weights
    net = Timm(arch=TINY, weights=str(folder / "net.safetensors"))(4, 1)
    name, conv = first_conv(net)
    torch.testing.assert_close(conv.weight, state[f"{name}.weight"].sum(1, keepdim=True))


def test_weights_bring_their_preprocessing(weights):
    folder, _ = weights
    known = Timm(arch="tf_efficientnet_lite0", weights=str(folder / "net.safetensors")).constants()
    assert (known.mean, known.std, known.side) == ((0.5,) * 3, (0.5,) * 3, 224)
    known = Torchvision(weights="IMAGENET1K_V1").constants()
    assert (known.mean, known.side) == ((0.485, 0.456, 0.406), 224)
    assert Timm().constants() is None
    assert Torchvision().constants() is None


def test_weights_of_another_net_are_refused(weights):
    folder, _ = weights
    with pytest.raises(ModelError, match="not those of this") as error:
        Timm(arch="resnet18", weights=str(folder / "net.safetensors"))(4)
    assert "layer1" in str(error.value)


@pytest.mark.parametrize("name", ["cut.safetensors", "cut.pth", "code.pth", "missing.pth"])
def test_files_that_are_no_weights_are_refused_in_four_parts(tmp_path, name):
    class Code:
        def __reduce__(self):
            return (print, ("this must not run",))

    (tmp_path / "cut.safetensors").write_bytes(b"\x09\x00\x00")
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04 and no more")
    torch.save({"state_dict": Code()}, tmp_path / "code.pth")
    with pytest.raises(ModelError) as error:
        Timm(arch=TINY, weights=str(tmp_path / name))(4)
    assert name in str(error.value)
    assert "  fix " in str(error.value)


def test_no_code_in_a_file_of_weights_is_run(tmp_path, capsys):
    class Code:
        def __reduce__(self):
            return (print, ("this must not run",))

    torch.save(Code(), tmp_path / "code.pth")
    with pytest.raises(ModelError):
        Timm(arch=TINY, weights=str(tmp_path / "code.pth"))(4)
    assert "must not run" not in capsys.readouterr().out


# Refusals


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: ResNet(depth=19), "18, 34, 50"),
        (lambda: ResNet(activation="rleu"), "relu"),
        (lambda: CNN(widths=()), "at least 1"),
        (lambda: CNN(dropout=1.0), "less than 1"),
        (lambda: MLP(hidden=(0,)), "greater than or equal to 1"),
        (lambda: FastNet(patch=2, stride=3), "stride cannot be larger"),
        (lambda: MobileNet(version=1, size="small"), "only version 3"),
        (lambda: Torchvision(arch="resnet17"), "resnet1"),
        (lambda: Timm(arch="resnet17"), "resnet1"),
    ],
)
def test_impossible_settings_are_refused_at_construction(build, said):
    with pytest.raises(RecipeError) as error:
        build()
    assert said in str(error.value)
    assert error.value.fix


def test_unknown_published_weights_are_refused_with_the_known_ones():
    with pytest.raises(ModelError, match="no weights 'V9'") as error:
        Torchvision(weights="V9")(2)
    assert "IMAGENET1K_V1" in str(error.value)
    with pytest.raises(ModelError, match="no weights 'v9'") as error:
        Timm(weights="v9")(2)
    assert "a1_in1k" in str(error.value)


def test_an_option_the_net_does_not_have_is_refused():
    with pytest.raises(ModelError, match="does not take these options"):
        Timm(arch=TINY, options={"image_sise": 32})(2)

"""Our nets against published sizes and against torchvision's own, number for number."""

import pytest
import torch
import torchvision
from torch import nn

from goodfit.ingredient import find
from goodfit.models import Model
from goodfit.models.resnet import ResNet
from goodfit.models.vgg import VGG

# Parameters for 1000 classes: torchvision's model pages; VGG and GoogLeNet's papers round them to
# 138 M, 144 M and 6.8 M. MobileNet 1: 4.2 M in its paper, table 8.
PUBLISHED = {
    ("alexnet",): 61_100_840,
    ("vgg", "depth", 16, "norm", False): 138_357_544,
    ("vgg", "depth", 19, "norm", False): 143_667_240,
    ("googlenet", "aux_weight", 0): 6_624_904,
    ("mobilenet", "version", 1): 4_231_976,
    ("mobilenet", "version", 2): 3_504_872,
    ("mobilenet", "version", 3): 5_483_032,
    ("mobilenet", "version", 3, "size", "small"): 2_542_856,
    ("shufflenet",): 2_278_604,
    ("mnasnet",): 4_383_312,
    ("nasnet", "size", "large"): 88_753_150,
    ("resnet", "depth", 18): 11_689_512,
    ("resnet", "depth", 34): 21_797_672,
    ("resnet", "depth", 50): 25_557_032,
    ("resnet", "depth", 101): 44_549_160,
    ("resnet", "depth", 152): 60_192_808,
}

# He et al. 2016, table 6, in millions, for 10 classes
CIFAR = {20: 0.27, 32: 0.46, 44: 0.66, 56: 0.85, 110: 1.7}


def size(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(("settings", "published"), PUBLISHED.items(), ids=str)
def test_it_has_as_many_parameters_as_published(settings, published):
    kind, *rest = settings
    with torch.device("meta"):
        net = find(Model, kind)(**dict(zip(rest[::2], rest[1::2], strict=True)))(1000, 3)
    assert size(net) == published


@pytest.mark.parametrize(("depth", "millions"), CIFAR.items())
def test_the_cifar_nets_are_as_large_as_in_the_paper(depth, millions):
    with torch.device("meta"):
        net = ResNet(depth=depth)(10, 3)
    assert size(net) / 1e6 == pytest.approx(millions, rel=0.03)
    layers = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == depth


@pytest.mark.parametrize("depth", [18, 50])
def test_resnet_computes_what_torchvisions_does_with_the_same_weights(depth):
    torch.manual_seed(0)
    theirs = torchvision.models.get_model(f"resnet{depth}", num_classes=5)
    ours = ResNet(depth=depth)(5, 3)
    ours.load_state_dict(theirs.state_dict())  # the same names, or it raises
    images = torch.randn(2, 3, 32, 32)
    for mode in (True, False):
        # equal operations in an equal order: float32 rounding at most
        torch.testing.assert_close(ours.train(mode)(images), theirs.train(mode)(images))


def test_vgg_computes_what_torchvisions_does_with_the_same_weights():
    with torch.device("meta"):  # the linear layers are large: their names will do
        names = [list(net.state_dict()) for net in (VGG()(5), torchvision.models.vgg16_bn())]
    assert names[0] == names[1]
    torch.manual_seed(0)
    theirs = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"], batch_norm=True)
    ours = VGG(stem="small")(5, 3).features
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(ours.eval()(images), theirs.eval()(images))


def test_resnets_initial_weights_have_torchvisions_law():
    torch.manual_seed(0)
    ours, theirs = ResNet(depth=18)(5, 3), torchvision.models.resnet18(num_classes=5)
    for name, weight in theirs.named_parameters():
        mine = ours.get_parameter(name)
        if weight.ndim == 4:  # 1728 weights at least: 8% is four standard errors of a ratio
            assert (mine.std() / weight.std()).item() == pytest.approx(1, abs=0.08)

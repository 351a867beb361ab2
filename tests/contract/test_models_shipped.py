"""What every shipped recipe promises, and what small-fast is made of."""

import tomllib

import pytest
import torch

from goodfit.errors import ModelError
from goodfit.init.patch_whitening import PatchWhitening
from goodfit.models.fast_net import FastNet
from goodfit.recipe.read import built, read, shipped, to_toml


@pytest.fixture(params=shipped())
def name(request) -> str:
    return request.param


def test_it_says_for_whom_it_is_what_it_follows_and_what_to_expect(name):
    recipe = read(name)
    assert recipe.about
    assert recipe.source
    assert recipe.expected


def test_written_out_and_read_again_it_is_the_same(name):
    recipe = read(name)
    assert built(tomllib.loads(to_toml(recipe))) == recipe


def test_its_model_can_be_built_and_has_something_to_train(name):
    model = read(name).model
    if getattr(model, "weights", ""):
        model = model.replaced(weights="")  # they would be downloaded
    with torch.device("meta"):
        net = model.suited(32)(10, 3)
    assert any(p.requires_grad for p in net.parameters())


# Whitening of patches


def neighbors_alike(seed: int = 0) -> torch.Tensor:
    noise = torch.randn(64, 3, 12, 12, generator=torch.Generator().manual_seed(seed))
    return (noise + noise.roll(1, 2) + noise.roll(1, 3)) / 2


def test_the_first_convolution_whitens_the_patches_it_was_fitted_on():
    net, images = FastNet()(10), neighbors_alike()
    PatchWhitening()(net, images)
    out = net.whiten(images)[:, :12].permute(1, 0, 2, 3).flatten(1)
    second = out @ out.T / out.shape[1]
    # eps takes 5e-4 of the smallest variances, which are about 0.2
    torch.testing.assert_close(second, torch.eye(12), atol=0.01, rtol=0)


def test_every_filter_has_its_negative_and_is_frozen():
    net = FastNet()(10)
    PatchWhitening()(net, neighbors_alike())
    assert torch.equal(net.whiten.weight[:12], -net.whiten.weight[12:])
    assert not net.whiten.weight.requires_grad
    assert net.whiten.bias.requires_grad


def test_fewer_filters_keep_the_largest_variances():
    images = neighbors_alike()
    nets = [FastNet(whitening=count)(10) for count in (8, 24)]
    for net in nets:
        PatchWhitening()(net, images)
    assert torch.equal(nets[0].whiten.weight[:4], nets[1].whiten.weight[:4])


def test_a_flat_picture_gives_finite_filters():
    net = FastNet()(10)
    PatchWhitening()(net, torch.zeros(4, 3, 8, 8))
    assert torch.isfinite(net.whiten.weight).all()


def test_a_convolution_that_cannot_whiten_is_refused():
    with pytest.raises(ModelError, match="cannot whiten patches"):
        PatchWhitening()(FastNet(whitening=26)(10), neighbors_alike())
    with pytest.raises(ModelError, match="batch of images"):
        PatchWhitening()(FastNet()(10))

"""The parts of transfer learning, by hand and beside scikit-learn."""

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from goodfit.batch import Batch
from goodfit.errors import ModelError
from goodfit.models.timm import Timm
from goodfit.transfer.features import Features, _computed
from goodfit.transfer.freezing import GradualUnfreezing, stages_of
from goodfit.transfer.logistic import logistic, scale_of
from goodfit.transfer.probe import advised, probed, similarity


def blobs(each: int, apart: float, seed: int = 0) -> Features:
    """Three classes of points in eight dimensions, and a mirror image that is alike."""
    noise = torch.Generator().manual_seed(seed)
    labels = torch.arange(3).repeat(each)
    x = torch.randn(len(labels), 8, generator=noise)
    x[torch.arange(len(labels)), labels] += apart
    mirrored = x + 0.1 * torch.randn(x.shape, generator=noise)
    return Features((x, mirrored), (0.5, 0.5), labels)


@pytest.mark.parametrize("l2", [1.0, 0.01, 1e-4])
def test_it_is_scikit_learns_logistic_regression(l2):
    x, labels, _ = blobs(20, 1.0).stacked()
    ours = logistic(x.double(), labels, 3, l2)
    theirs = LogisticRegression(C=1 / (l2 * len(x)), tol=1e-9, max_iter=10_000)
    theirs.fit(x.double().numpy(), labels.numpy())
    expected = torch.from_numpy(theirs.predict_proba(x.double().numpy()))
    torch.testing.assert_close(ours(x.double()).softmax(1), expected, rtol=0, atol=1e-4)


def test_an_image_of_weight_two_counts_like_two():
    x, labels, _ = blobs(5, 1.0).stacked()
    x = x.double()
    weights = torch.ones(len(x))
    weights[0] = 2
    twice = logistic(torch.cat([x, x[:1]]), torch.cat([labels, labels[:1]]), 3, 0.1)
    torch.testing.assert_close(logistic(x, labels, 3, 0.1, weights).weight, twice.weight)


def test_the_scale_is_undone_in_the_classifier():
    x, labels, _ = blobs(5, 1.0).stacked()
    x = x.double() * 30 + 7
    scale = scale_of(x)
    head = logistic(scale(x), labels, 3, 0.1)
    torch.testing.assert_close(scale.undone(head)(x), head(scale(x)))


def test_validation_chooses_the_strength():
    probe = probed(blobs(10, 1.0), blobs(200, 1.0, seed=1), 3)
    assert probe.l2 == min(probe.tried, key=lambda row: row.loss).l2
    assert 1e-4 < probe.l2 < 100


def test_similarity_goes_from_guessing_to_no_error():
    assert similarity(blobs(60, 0.0), 3, 0.1) < 0.2
    assert similarity(blobs(60, 9.0), 3, 0.1) == 1


@pytest.mark.parametrize(
    ("each", "apart", "mode"),
    [(30, 9.0, "probe"), (30, 0.0, "gradual"), (300, 9.0, "probe"), (300, 1.0, "two-phase")],
)
def test_size_and_similarity_decide(each, apart, mode):
    found, why = advised(blobs(each, apart), [each] * 3, 0.1)
    assert found == mode
    assert f"{each} images per class" in why


class Net(nn.Module):
    """Two convolutions with batch norm, dropout and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.low = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.high = nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6, affine=False), nn.ReLU())
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.drop(self.high(self.low(x)).mean((2, 3))))


def test_stages_go_from_the_classifier_to_the_images():
    assert stages_of(Net(), 3) == [
        ("fc.weight", "fc.bias"),
        ("high.0.weight", "high.0.bias"),
        ("low.0.weight", "low.0.bias", "low.1.weight", "low.1.bias"),
    ]
    assert stages_of(Net(), 1) == [("fc.weight", "fc.bias")]


def step(net: nn.Module, seed: int) -> set[str]:
    """Names of what an update of the whole net changes."""
    before = {name: t.clone() for name, t in net.state_dict().items()}
    net.train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    noise = torch.Generator().manual_seed(seed)
    net(torch.randn(8, 3, 8, 8, generator=noise))[:, 0].square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    return {name for name, t in net.state_dict().items() if not torch.equal(t, before[name])}


def test_what_is_frozen_does_not_move_batch_norm_included():
    torch.manual_seed(0)
    net = Net()
    GradualUnfreezing(stages=3, batches=6)(net)
    changed = [step(net, seed) for seed in range(6)]
    assert changed[0] == changed[1] == {"fc.weight", "fc.bias", "batches_seen"}
    assert "high.0.weight" in changed[2]
    assert not any(name.startswith("low") for name in changed[2] | changed[3])
    assert {"low.0.weight", "low.1.running_mean", "high.1.running_mean"} <= changed[4]


def test_an_interrupted_run_goes_on_with_the_right_layers():
    nets = [Net(), Net()]
    for net in nets:
        GradualUnfreezing(stages=3, batches=6)(net)
    for seed in range(4):
        step(nets[0], seed)
    step(nets[1], 0)
    nets[1].load_state_dict(nets[0].state_dict())
    assert "low.0.weight" in step(nets[1], 5)


def test_a_net_that_is_put_back_is_frozen_again():
    net = Net()
    GradualUnfreezing(stages=3, batches=6)(net)
    for seed in range(5):
        step(net, seed)
    net.batches_seen.zero_()  # as a preflight does, that takes a few steps and undoes them
    assert step(net, 5) == {"fc.weight", "fc.bias", "batches_seen"}


def test_dropout_of_the_classifier_works_on_and_testing_is_left_alone():
    net = Net()
    GradualUnfreezing(stages=1, batches=1)(net)
    net.train()
    net(torch.zeros(2, 3, 8, 8))
    assert net.drop.training
    assert not net.low[1].training
    net.eval()
    net(torch.zeros(2, 3, 8, 8))
    assert net.batches_seen == 1
    assert net.low[0].weight.requires_grad is False


def test_features_are_the_input_of_the_classifier_in_evaluation():
    from goodfit.predict import Classifier

    torch.manual_seed(0)
    net = Net()
    model = Classifier(nn.Identity(), net, ("a", "b"))
    images = torch.rand(6, 3, 8, 8)
    batch = Batch(images, torch.eye(2).repeat(3, 1), torch.arange(6), 0)
    before = {name: t.clone() for name, t in model.state_dict().items()}
    found = _computed(model, [batch], (0.5, 0.5))
    assert model.training
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    model.eval()
    for view, given in zip(found.views, (images, images.flip(-1)), strict=True):
        torch.testing.assert_close(net.fc(view), model(given))


def test_without_a_network_named_weights_are_refused_in_a_sentence(monkeypatch):
    def offline(*_, **__):
        raise FileNotFoundError("cannot find the requested files in the local cache")

    monkeypatch.setattr("timm.create_model", offline)
    with pytest.raises(ModelError, match="cannot be downloaded") as caught:
        Timm(arch="resnet18", weights="default")(2)
    assert "file" in caught.value.fix

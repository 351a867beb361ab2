"""Our optimizers against torch's, timm's and plain loops of their formulas."""

import copy

import pytest
import torch
from timm.optim import Lamb, Lars
from timm.optim import Lookahead as TimmLookahead
from torch import nn

from goodfit.ingredient import find, names
from goodfit.optim import Optim
from goodfit.optim.adamw import AdamW
from goodfit.optim.averages import EMA, SWA
from goodfit.optim.lamb import LAMB
from goodfit.optim.lars import LARS
from goodfit.optim.lookahead import Lookahead
from goodfit.optim.muon import Muon, _iterated, _product, orthogonalized
from goodfit.optim.schedule_free import ScheduleFree
from goodfit.optim.sgd import SGD


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 36, 5),
    )


def trained(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 5, first: int = 0):
    """The weights after some steps on fixed data."""
    for step in range(first, first + steps):
        draw = torch.Generator().manual_seed(step)
        images = torch.randn(8, 3, 8, 8, generator=draw)
        classes = torch.randint(5, (8,), generator=draw)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), classes).backward()
        optimizer.step()
    return [p.detach().clone() for p in model.parameters()]


def assert_alike(ours, theirs, tolerance: float = 2e-6) -> None:
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def timm_groups(model: nn.Module, decay: float):
    weights = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    return [{"params": weights, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]


@pytest.mark.parametrize("nesterov", [False, True])
def test_lars_is_timms(nesterov):
    ours, theirs = net(), net()
    mine = LARS(lr=2.0, weight_decay=1e-3, nesterov=nesterov)(ours)
    his = Lars(timm_groups(theirs, 1e-3), lr=2.0, momentum=0.9, nesterov=nesterov, eps=0.0)
    assert_alike(trained(ours, mine), trained(theirs, his))


def test_lars_takes_the_papers_first_step():
    model, settings = nn.Linear(4, 3, bias=False), LARS(lr=2.0, eta=0.01, weight_decay=0.1)
    w = model.weight.detach().clone()
    optimizer = settings(model)
    model(torch.ones(1, 4)).sum().backward()
    g = model.weight.grad.clone()
    optimizer.step()
    trust = 0.01 * w.norm() / (g.norm() + 0.1 * w.norm())
    torch.testing.assert_close(model.weight.detach(), w - 2.0 * trust * (g + 0.1 * w))


def test_lamb_is_timms():
    ours, theirs = net(), net()
    mine = LAMB(lr=0.01, weight_decay=0.02)(ours)
    his = Lamb(timm_groups(theirs, 0.02), lr=0.01, max_grad_norm=None, eps=1e-6)
    assert_alike(trained(ours, mine), trained(theirs, his))


def test_lookahead_is_timms():
    ours, theirs = net(), net()
    mine = Lookahead(lr=0.1, settings={"momentum": 0.9}, sync_every=2, weight_decay=0.0)(ours)
    base = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    his = TimmLookahead(base, alpha=0.5, k=2)
    for p in theirs.parameters():
        p.grad = torch.zeros_like(p)
    his.sync_lookahead()  # else its slow weights start at the first synchronization
    assert_alike(trained(ours, mine), trained(theirs, his))


def test_muon_is_torchs_on_matrices():
    """torch iterates in bfloat16, whose three digits the tolerance allows."""
    model = nn.Sequential(nn.Linear(12, 16, bias=False), nn.Tanh(), nn.Linear(16, 8, bias=False))
    model.append(nn.Linear(8, 2, bias=False))  # the head, which Muon leaves to AdamW
    twin = copy.deepcopy(model)
    mine = Muon(lr=0.02, weight_decay=0.1)(model)
    hidden = [twin[0].weight, twin[2].weight]
    his = torch.optim.Muon(hidden, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for net_, optimizer in ((model, mine), (twin, his)):
        net_(torch.linspace(-1, 1, 60).view(5, 12)).square().sum().backward()
        optimizer.step()
    for i in (0, 2):
        ours, theirs = model[i].weight.detach(), twin[i].weight.detach()
        assert (ours - theirs).norm() < 0.01 * theirs.norm()


@pytest.mark.parametrize("shape", [(20, 7), (7, 20), (9, 9)])
def test_orthogonalizing_keeps_directions_and_evens_out_sizes(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    u, s, v = torch.linalg.svd(orthogonalized(matrix[None])[0], full_matrices=False)
    assert 0.6 < s.min() <= s.max() < 1.3
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    assert (left @ right - u @ v).abs().max() < 1e-3  # the polar factor is unchanged


@pytest.mark.parametrize("steps", [1, 3, 5])
def test_the_product_of_the_steps_is_the_published_iteration(steps):
    x = torch.randn(2, 6, 20, generator=torch.Generator().manual_seed(1))
    x = x * torch.logspace(0, -4, 6)[:, None] / 20  # sizes as unequal as those of gradients
    assert torch.allclose(_product(x @ x.mT, steps) @ x, _iterated(x, steps), atol=1e-5)


@pytest.mark.parametrize("adaptive", [False, True])
def test_schedule_free_is_its_three_sequences(adaptive):
    model = nn.Linear(3, 2, bias=False)
    settings = ScheduleFree(lr=0.1, adaptive=adaptive, weight_decay=0.01)
    optimizer = settings(model)
    z = x = model.weight.detach().clone().double()
    square, images = torch.zeros(2, 3).double(), torch.tensor([[1.0, -2.0, 0.5]])
    total = 0.0
    for step in range(1, 8):
        lr = 0.1 * min(1, step / 3)
        y = 0.1 * z + 0.9 * x
        torch.testing.assert_close(model.weight.detach().double(), y, rtol=1e-5, atol=1e-6)
        g = (2 * (images.double() @ y.T)).T @ images.double()
        square = 0.999 * square + 0.001 * g**2
        d = g / ((square / (1 - 0.999**step)).sqrt() + 1e-8) if adaptive else g
        z = z - lr * (d + 0.01 * y)
        total += lr**2
        x = x + lr**2 / total * (z - x)
        optimizer.param_groups[0]["lr"] = lr
        optimizer.zero_grad()
        model(images).square().sum().backward()
        optimizer.step()
    with optimizer.swapped():
        torch.testing.assert_close(model.weight.detach().double(), x, rtol=1e-5, atol=1e-6)
    y = 0.1 * z + 0.9 * x
    torch.testing.assert_close(model.weight.detach().double(), y, rtol=1e-5, atol=1e-6)


def test_adamw_leaves_norms_and_biases_undecayed():
    ours, theirs = net(), net()
    mine = AdamW(lr=0.01, weight_decay=0.3)(ours)
    his = torch.optim.AdamW(timm_groups(theirs, 0.3), lr=0.01)
    assert_alike(trained(ours, mine), trained(theirs, his), 1e-5)


@pytest.mark.parametrize("kind", names(Optim))
def test_every_optimizer_resumes_exactly(kind, tmp_path):
    settings = find(Optim, kind)()
    straight, halved, resumed = net(), net(), net()
    expected = trained(straight, settings(straight), 7)
    first = settings(halved)
    trained(halved, first, 4)
    torch.save([halved.state_dict(), first.state_dict()], tmp_path / "half.pt")
    weights, state = torch.load(tmp_path / "half.pt", weights_only=True)
    resumed.load_state_dict(weights)
    second = settings(resumed)
    second.load_state_dict(state)
    for a, b in zip(trained(resumed, second, 3, first=4), expected, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("kind", names(Optim))
def test_every_optimizer_lowers_the_loss_and_follows_the_schedule(kind):
    model = net()
    optimizer = find(Optim, kind)()(model)
    torch.manual_seed(1)
    images, classes = torch.randn(8, 3, 8, 8), torch.arange(8) % 5
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images), classes)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    before = [p.detach().clone() for p in model.parameters()]
    optimizer.step()
    assert_alike(before, [p.detach() for p in model.parameters()], 1e-6)


def test_swa_is_torchs_averaged_model():
    model, optimizer = net(), None
    optimizer = SGD(lr=0.05)(model)
    mine, his = SWA(), torch.optim.swa_utils.AveragedModel(model)
    for step in range(4):
        trained(model, optimizer, 1, first=step)
        mine.update(model)
        his.update_parameters(model)
    batches = [
        torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(i)) for i in range(3)
    ]
    torch.optim.swa_utils.update_bn(batches, his)
    mine.settle(model, batches)
    with mine.swapped(model):
        for name, theirs in his.module.state_dict().items():
            ours = model.state_dict()[name]
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_ema_is_the_weighted_sum_of_the_past():
    model, average = nn.Linear(2, 1, bias=False), EMA(decay=0.8, ramp=False)
    past = []
    for step in range(6):
        with torch.no_grad():
            model.weight.fill_(float(step))
        average.update(model)
        past.append(float(step))
    shares = [0.8**5] + [0.2 * 0.8 ** (5 - i) for i in range(1, 6)]
    expected = sum(share * value for share, value in zip(shares, past, strict=True))
    torch.testing.assert_close(average.average["weight"], torch.full((1, 2), expected))

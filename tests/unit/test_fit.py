import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from goodfit.augment.mixup import Mixup
from goodfit.batch import Batch
from goodfit.errors import GoodfitError, TrainingError
from goodfit.fit import _Watch, fit
from goodfit.schedules.linear import Linear


def batches(count: int = 3, size: int = 4) -> list[Batch]:
    torch.manual_seed(1)
    index = torch.arange(count * size).view(count, size)
    return [Batch(torch.rand(size, 1, 4, 4), torch.eye(3)[i % 3], i) for i in index]


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3))


def trained(model: nn.Module, data: list[Batch], steps: int, **settings) -> list:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return list(
        fit(model, data, optimizer=optimizer, loss=F.cross_entropy, steps=steps, **settings)
    )


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_it_is_the_loop_that_everybody_writes():
    ours, theirs = net(), net()
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9)
    for batch in batches():
        optimizer.zero_grad()
        F.cross_entropy(theirs(batch.images), batch.targets).backward()
        optimizer.step()
    trained(ours, batches(), steps=3)
    assert same(ours, theirs)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_model_that_was_evaluated_between_updates_trains_on(wrapped):
    """Also where it was evaluated without what torch.compile or DDP has put around it."""
    net, modes = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Dropout(), nn.Linear(8, 3)), []
    net[2].register_forward_hook(lambda layer, *_: modes.append(layer.training))
    model = nn.Sequential(net) if wrapped else net
    for _ in fit(
        model,
        batches(),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        loss=F.cross_entropy,
        steps=4,
    ):
        net.eval()
    assert modes == [True] * 4


def test_batches_start_again_when_they_end():
    assert [s.number for s in trained(net(), batches(2), steps=5)] == [1, 2, 3, 4, 5]


def test_the_schedule_scales_the_peak_of_every_group():
    steps = trained(net(), batches(), steps=4, schedule=Linear(warmup=0.0))
    assert [round(s.lr, 6) for s in steps] == [0.1, 0.075, 0.05, 0.025]


def test_accumulated_batches_equal_one_large_batch():
    small, large = net(), net()
    parts = batches(2, 4)
    whole = Batch(
        *(torch.cat([getattr(p, f) for p in parts]) for f in ("images", "targets", "index"))
    )
    trained(small, parts, steps=1, accumulate=2)
    trained(large, [whole], steps=1)
    for a, b in zip(small.parameters(), large.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)  # sums in another order


def test_accumulated_batches_of_unequal_size_are_weighed_by_their_images():
    small, large = net(), net()
    a, b = batches(1, 5)[0], batches(1, 2)[0]
    whole = Batch(
        torch.cat([a.images, b.images]), torch.cat([a.targets, b.targets]), torch.arange(7)
    )
    trained(small, [a, b], steps=1, accumulate=2)
    trained(large, [whole], steps=1)
    for x, y in zip(small.parameters(), large.parameters(), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-6, atol=1e-7)


def test_a_run_in_two_parts_equals_one_run():
    whole, halves = net(), net()
    trained(whole, batches(), steps=6, augment=[Mixup()], schedule=Linear())
    optimizer = torch.optim.SGD(halves.parameters(), lr=0.1, momentum=0.9)
    settings = {
        "optimizer": optimizer,
        "loss": F.cross_entropy,
        "steps": 6,
        "augment": [Mixup()],
        "schedule": Linear(),
    }
    for step in fit(halves, batches(), **settings):
        if step.number == 3:
            break
    list(fit(halves, batches(), first=4, **settings))
    assert same(whole, halves)


def test_clipping_bounds_the_update():
    model = net()
    before = [p.clone() for p in model.parameters()]
    [step] = trained(model, batches(1), steps=1, clip_norm=0.01)
    moved = sum(
        ((p - q) ** 2).sum() for p, q in zip(model.parameters(), before, strict=True)
    ).sqrt()
    assert step.grad_norm > 0.01
    assert float(moved) == pytest.approx(0.1 * 0.01, rel=1e-3)


def test_penalties_pull_but_do_not_count_as_loss():
    def heavy(model: nn.Module) -> torch.Tensor:
        return 100 * sum((p**2).sum() for p in model.parameters())

    plain, pulled = net(), net()
    [a] = trained(plain, batches(1), steps=1)
    [b] = trained(pulled, batches(1), steps=1, penalties=[heavy])
    assert float(a.loss) == float(b.loss)
    assert not same(plain, pulled)


class TwoHeads(nn.Module):
    aux_weight = 0.5

    def __init__(self):
        super().__init__()
        self.body, self.head, self.aux = net()[:3], nn.Linear(8, 3), nn.Linear(8, 3)

    def forward(self, x):
        x = self.body(x)
        return (self.head(x), self.aux(x)) if self.training else self.head(x)


def test_auxiliary_heads_count_with_the_models_weight():
    model = TwoHeads()
    [batch] = batches(1)
    with torch.no_grad():
        main, aux = (F.cross_entropy(out, batch.targets) for out in model(batch.images))
    [step] = trained(model, [batch], steps=1)
    assert float(step.loss) == pytest.approx(float(main + 0.5 * aux), rel=1e-6)


class Broken(nn.Module):
    def forward(self, x):
        return x / 0


def test_a_loss_that_is_not_finite_stops_before_the_update_and_names_the_layer():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), Broken(), nn.Linear(8, 3))
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(TrainingError) as caught:
        trained(model, batches(), steps=3)
    assert caught.value.at == "2"
    assert "step 1" in caught.value.problem
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))


def test_images_that_are_not_finite_are_named_by_their_index():
    data = batches()
    data[1].images[2, 0, 0, 0] = float("nan")
    with pytest.raises(TrainingError) as caught:
        trained(net(), data, steps=3)
    assert caught.value.at == "the input"
    assert "[6]" in str(caught.value)


class RootOfZero(nn.Module):
    """Finite forward, but its derivative at 0 is not."""

    def forward(self, x):
        return (x * 0).sqrt()


def test_a_gradient_that_is_not_finite_names_the_layer_it_came_from():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), RootOfZero(), nn.Linear(8, 3))
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(TrainingError) as caught:
        trained(model, batches(), steps=3)
    assert caught.value.at == "1"
    assert caught.value.seen["first"] == "the gradient of its output"
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))


def test_a_penalty_that_is_not_finite_is_not_blamed_on_a_layer():
    def heavy(model: nn.Module) -> torch.Tensor:
        return sum((p**2).sum() for p in model.parameters()) * float("inf")

    with pytest.raises(TrainingError) as caught:
        trained(net(), batches(1), steps=1, penalties=[heavy])
    assert "a penalty" in str(caught.value)


@pytest.mark.parametrize("broken", [0, 2])
def test_on_an_accelerator_it_is_said_one_update_later_and_the_weights_stay_finite(
    monkeypatch, broken
):
    loop = sys.modules["goodfit.fit"]  # `goodfit.fit` itself is the function
    monkeypatch.setattr(loop, "_Watch", lambda *given, late: _Watch(*given, late=True))
    data = batches(3)
    data[broken].images[1] = float("inf")
    model, seen = net(), []  # the steps that were yielded before the error
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(TrainingError) as caught:
        seen.extend(fit(model, data, optimizer=optimizer, loss=F.cross_entropy, steps=3))
    assert f"step {broken + 1}" in caught.value.problem
    assert caught.value.at == "the input"
    assert [step.number for step in seen] == list(range(1, broken + 2))
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())


class Miscompiled(nn.Module):
    """What torch.compile makes of a model, with a fault that the model itself does not have."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._orig_mod = model

    def forward(self, x):
        logits = self._orig_mod(x)
        logits.register_hook(lambda gradient: gradient * torch.nan)
        return logits


def test_a_gradient_that_only_compiled_code_gets_wrong_is_blamed_on_the_compiler():
    with pytest.raises(TrainingError) as caught:
        trained(Miscompiled(net()), batches(1), steps=1)
    assert "torch.compile" in caught.value.seen["first"]
    assert "train.compile = false" in caught.value.seen["first"]


def test_a_compiled_model_is_looked_at_layer_by_layer():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), Broken(), nn.Linear(8, 3))
    compiled = torch.compile(model, backend="eager")
    with pytest.raises(TrainingError) as caught:
        trained(compiled, batches(), steps=3)
    assert caught.value.at == "2"


def test_an_empty_data_set_is_said():
    with pytest.raises(GoodfitError, match="no batch"):
        trained(net(), [], steps=1)


def test_two_pass_optimizers_may_call_the_closure_twice():
    model = net()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4)
    steps = list(fit(model, batches(1), optimizer=optimizer, loss=F.cross_entropy, steps=3))
    assert float(steps[-1].loss) < float(steps[0].loss)

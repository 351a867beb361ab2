"""The doctor leaves no trace, survives what raises, folds symptoms, and prints in four parts."""

import copy
import json
import random
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from goodfit.check import Finding, Report, check, check_file, explain, rule_names
from goodfit.check.causes import EXPLAINS, folded
from goodfit.check.holm import holm
from goodfit.check.program import Part, Program
from goodfit.check.rules import Rule
from goodfit.errors import RecipeError
from goodfit.ingredient import find

CORE = """input-nonfinite input-scale input-degenerate train-val-shift train-val-leak
duplicate-samples labels-invalid labels-uninformative label-mapping-mismatch
class-imbalance class-missing unshuffled-batches val-not-deterministic symmetric-init
signal-vanishing signal-exploding initial-loss-off dead-units saturated-units
no-nonlinearity constant-output gradient-vanishing gradient-exploding gradient-nonfinite
no-gradient output-activation output-width loss-reduction loss-target-mismatch loss-sign
params-not-optimized frozen-params lr-too-high lr-too-low weight-decay-scale
optimizer-hyperparameters cannot-overfit-batch eval-expectation-mismatch
eval-nondeterministic dropout-rate dropout-on-output bn-small-batch bn-stats stuck-mode
unused-parameters unregistered-modules batch-leakage""".split()  # noqa: SIM905
FOUND = Finding(
    "dead-units", "warning", "layers.3", {"dead": "30% of 100 units", "limit": "10%"}, "use <GELU>"
)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.drop, self.head = nn.Dropout(0.3), nn.Linear(4, 3)
        self.calls = 0
        self.fails_at = 10**9

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.calls > self.fails_at:
            raise ValueError("not today")
        return self.head(self.drop(torch.relu(self.norm(self.conv(x))).mean((2, 3))))


def trained_net(
    kind: type[torch.optim.Optimizer], **options: Any
) -> tuple[nn.Module, torch.optim.Optimizer, Any]:
    torch.manual_seed(0)
    model = Net()
    optimizer = kind(
        [
            {"params": [*model.conv.parameters(), *model.norm.parameters()]},
            {"params": model.head.parameters(), "lr": 0.02},
        ],
        **options,
    )  # type: ignore[arg-type, call-arg]
    x, y = torch.randn(96, 1, 6, 6), torch.randint(0, 3, (96,))
    loader = DataLoader(
        TensorDataset(x, y), 16, shuffle=True, generator=torch.Generator().manual_seed(3)
    )
    F.cross_entropy(model(x[:16]), y[:16]).backward()
    optimizer.step()
    model.drop.eval()
    model.register_forward_hook(lambda *_: None)
    return model, optimizer, loader


def everything(model: Any, optimizer: Any, loader: Any) -> list[Any]:
    """All state that a check could touch, as comparable values."""
    tensors = [*model.parameters(), *model.buffers()]
    state = [
        (name, v.clone() if isinstance(v, Tensor) else v)
        for s in optimizer.state.values()
        for name, v in sorted(s.items())
    ]
    groups = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
    return [
        [t.detach().clone() for t in tensors],
        [None if t.grad is None else t.grad.clone() for t in tensors],
        [id(t.grad) for t in tensors],
        [m.training for m in model.modules()],
        [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in model.modules()],  # noqa: E501
        [p.requires_grad for p in model.parameters()],
        state, copy.deepcopy(groups), loader.generator.get_state(),
        torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy(), model.calls,
    ]  # fmt: skip


def same(a: Any, b: Any) -> bool:
    if isinstance(a, (Tensor, np.ndarray)):
        return bool((a == b).all())
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
        (torch.optim.AdamW, {"lr": 1e-3}),
        (torch.optim.LBFGS, {"lr": 0.1}),
    ],
)
def test_everything_is_as_it_was_bit_for_bit(kind, options):
    if kind is torch.optim.LBFGS:
        model = Net()
        model.register_forward_hook(lambda *_: None)
        optimizer = kind(model.parameters(), **options)
        _, _, loader = trained_net(torch.optim.SGD, lr=0.1)
    else:
        model, optimizer, loader = trained_net(kind, **options)
    before = everything(model, optimizer, loader)
    check(model, loader, loader, loss=F.cross_entropy, optimizer=optimizer)
    for was, now in zip(before, everything(model, optimizer, loader), strict=True):
        assert same(was, now)


@pytest.mark.parametrize("fails_at", [1, 3, 40])
def test_everything_is_as_it_was_after_an_exception(fails_at):
    model, optimizer, loader = trained_net(torch.optim.SGD, lr=0.1, momentum=0.9)
    model.fails_at = fails_at
    before = everything(model, optimizer, loader)
    report = check(model, loader, loss=F.cross_entropy, optimizer=optimizer)
    for was, now in zip(before, everything(model, optimizer, loader), strict=True):
        assert same(was, now)
    if fails_at == 1:
        assert [f.rule for f in report.findings] == ["step-raises"]


def test_a_loss_that_holds_the_original_is_pointed_at_the_clone():
    model, optimizer, loader = trained_net(torch.optim.SGD, lr=0.1)

    def loss(z: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(z, y) + 100 * sum(p.square().sum() for p in model.parameters())

    report = check(model, loader, loss=loss, optimizer=optimizer, select=["weight-decay-scale"])
    assert [f.where for f in report.findings] == ["the loss"]


def test_the_optimizer_of_a_clone_goes_on_as_the_original_would():
    model, optimizer, loader = trained_net(torch.optim.AdamW, lr=1e-3)
    program = Program(model, Part(list(loader)), optimizer=optimizer)
    clone = program.clone()
    assert clone.optimizer is not None
    for p, q in zip(model.parameters(), clone.model.parameters(), strict=True):
        assert p is not q
        q.grad = torch.ones_like(q)
    twin, twins_optimizer = copy.deepcopy((model, optimizer))
    for q in twin.parameters():
        q.grad = torch.ones_like(q)
    clone.optimizer.step()
    twins_optimizer.step()
    assert all(
        torch.equal(a, b) for a, b in zip(clone.model.parameters(), twin.parameters(), strict=True)
    )


@pytest.mark.parametrize("stage", ["forward", "loss", "backward"])
def test_what_raises_is_a_finding_with_its_place(stage):
    model, _, loader = trained_net(torch.optim.SGD, lr=0.1)
    if stage == "forward":
        model.head = nn.Linear(5, 3)

    def loss(z: Tensor, y: Tensor) -> Tensor:
        if stage == "loss":
            raise RuntimeError("this loss is broken")
        value = F.cross_entropy(z, y)
        return value if stage == "forward" else torch.stack([value, value])

    report = check(model, loader, loss=loss)
    [found] = [f for f in report.findings if f.rule in ("step-raises", "loss-reduction")]
    assert found.severity == "error"
    assert found.where == "head" if stage == "forward" else found.where


@pytest.mark.parametrize("named", [True, False])
def test_inputs_may_be_a_dict_as_keywords_or_as_one_argument(named):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3)

        if named:

            def forward(self, pixels, hour):
                return self.layer(pixels + hour)

        else:

            def forward(self, batch):
                return self.layer(batch["pixels"] + batch["hour"])

    batches = [({"pixels": torch.randn(8, 4), "hour": torch.ones(8, 1)}, torch.arange(8) % 3)] * 4
    report = check(Net(), batches)
    assert "step-raises" not in [f.rule for f in report.findings]


@pytest.mark.parametrize("output", ["tuple", "dict"])
def test_outputs_may_be_tuples_and_dicts(output):
    class Wrapped(Net):
        def forward(self, x: Tensor) -> Any:
            z = super().forward(x)
            return (z, 0 * z) if output == "tuple" else {"aux": 0 * z, "scores": z}

    torch.manual_seed(0)
    model = Wrapped()
    x, y = torch.randn(64, 1, 6, 6), torch.randint(0, 3, (64,))
    pick = (lambda out: out[0]) if output == "tuple" else (lambda out: out["scores"])
    report = check(model, [(x, y)], loss=lambda out, t: F.cross_entropy(pick(out), t), logits=pick)
    assert "step-raises" not in [f.rule for f in report.findings]
    assert not [why for why in report.skipped.values() if "Error" in why]


def test_symptoms_go_under_their_cause():
    cause = Finding("input-scale", "warning", "the inputs", {}, "normalize")
    symptom = Finding("initial-loss-off", "warning", "head", {}, "shrink")
    causes, symptoms = folded([symptom, cause])
    assert [f.rule for f in causes] == ["input-scale"]
    assert [(f.rule, f.because) for f in symptoms] == [("initial-loss-off", "input-scale")]


def test_advice_explains_nothing():
    cause = Finding("input-scale", "advice", "the inputs", {}, "normalize")
    symptom = Finding("initial-loss-off", "warning", "head", {}, "shrink")
    assert folded([symptom, cause])[1] == []


def test_no_circle_of_causes_swallows_everything():
    rules = [Finding(rule, "warning", "x", {}, "y") for rule in EXPLAINS]
    causes, _ = folded(rules)
    assert causes


def test_holm_is_stricter_than_each_test_alone():
    assert holm([0.004, 0.0001], tests=10) == [False, True]


def test_a_finding_prints_in_four_parts():
    assert str(FOUND) == (
        "warning[dead-units]\n  at      layers.3\n  dead    30% of 100 units\n  limit   10%\n  fix     use <GELU>"  # noqa: E501
    )


def test_the_report_says_ok_only_without_alarms():
    assert Report([Finding("a", "advice", "x", {}, "y")]).ok
    assert not Report([FOUND]).ok


def test_json_html_and_github_carry_the_finding(tmp_path):
    report = Report([FOUND], rules=1)
    assert json.loads(report.to_json())["findings"][0]["where"] == "layers.3"
    page = report.to_html(tmp_path / "report.html").read_text()
    assert "use &lt;GELU&gt;" in page
    assert "http" not in page
    assert (
        report.to_github()
        == "::warning title=dead-units::layers.3: dead: 30%25 of 100 units; limit: 10%25. Fix: use <GELU>"  # noqa: E501
    )


def test_every_core_rule_is_there():
    assert set(CORE) <= set(rule_names())


@pytest.mark.parametrize("rule", rule_names())
def test_its_page_has_the_four_headings(rule):
    page = explain(rule)
    for heading in ("## Why it matters", "## What to do", "## When it is wrong", "Source:"):
        assert heading in page
    assert find(Rule, rule)().needs


def test_unknown_rules_are_refused_with_a_suggestion():
    with pytest.raises(RecipeError, match="dead-unit"):
        check(nn.Linear(2, 2), [(torch.zeros(4, 2), torch.zeros(4).long())], select=["dead-unit"])


def test_ignored_rules_do_not_run():
    batches = [(torch.full((8, 2), float("nan")), torch.arange(8) % 2)]
    assert check(nn.Linear(2, 2), batches, select=["input-nonfinite"], ignore=[]).errors
    both = ["input-nonfinite", "step-raises"]
    assert not check(nn.Linear(2, 2), batches, select=both, ignore=["input-nonfinite"]).findings


def test_a_function_of_the_users_returns_the_pieces(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import torch\nfrom torch import nn\n"
        "def make():\n    x = torch.randn(64, 4); x[3, 1] = float('nan')\n"
        "    return nn.Linear(4, 2), [(x, torch.arange(64) % 2)]\n"
    )
    report = check_file(f"{file}:make", select=["input-nonfinite"])
    assert [f.where for f in report.findings] == ["train batch 0, sample 3"]

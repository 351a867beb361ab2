"""Watch a training loop at under two percent of its time, and say when something goes wrong.

    watcher = Watcher(model, optimizer, total=steps)
    for step in fit(...):
        for finding in watcher.step(step.number, step.loss):
            print(finding)

Only every `every` steps anything is measured: hooks are put on for one forward pass and taken
off again, and losses are kept as tensors, so that nothing waits for the device in between.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from goodfit.check.finding import Finding, worst_first
from goodfit.check.probes.curves import Curves
from goodfit.check.seen import Seen

RECTIFYING = (nn.ReLU, nn.ReLU6)
SAMPLE = 4096  # values of each weight that the size of an update is measured on


@dataclass
class Dead:
    """Units of a rectifier over the sampled batches."""

    alive: Tensor
    images: int = 0


class Watcher:
    """Findings of the running rules: dead units, update size, NaN, curves, batch-norm drift.

    every: steps between two measurements. total: steps of the whole run, when known.
    chance: the loss of a net that knows nothing (ln C), when known.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        every: int = 50,
        total: int | None = None,
        chance: float | None = None,
    ) -> None:
        self.model, self.optimizer, self.every = model, optimizer, max(2, every)
        self.total, self.chance = total, chance
        self._losses: list[Tensor | float] = []
        self._windows: list[tuple[int, float]] = []
        self._val: list[tuple[int, float, float]] = []
        self._told: set[tuple[str, str]] = set()
        self._weights: dict[str, Tensor] = {}
        self._dead: dict[str, Dead] = {}
        self._norms: dict[str, Tensor] = {}
        self._handles: list[Any] = []
        self._large = self._small = 0
        self._peak = 0.0
        self.findings: list[Finding] = []

    def step(
        self,
        number: int,
        loss: Tensor | float,
        *,
        val_loss: float = math.nan,
        val_accuracy: float = math.nan,
    ) -> list[Finding]:
        """Call after every update; returns what is new."""
        self._losses.append(loss.detach() if isinstance(loss, Tensor) else loss)
        found: list[Finding] = []
        if not math.isnan(val_loss):
            self._val.append((number, val_loss, val_accuracy))
            found += self._curves()
        phase = number % self.every
        if phase == self.every - 1:
            self._arm()
        elif phase == 0:
            found += self._measure(number)
        new = [f for f in worst_first(found) if (f.rule, f.where) not in self._told]
        self._told |= {(f.rule, f.where) for f in new}
        self.findings += new
        return new

    def close(self) -> None:
        """Take all hooks off."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _arm(self) -> None:
        """Before the step that is measured: keep some weights, and listen to one forward pass."""
        self._weights = {
            name: p.detach().flatten()[:SAMPLE].clone()
            for name, p in self.model.named_parameters()
            if p.requires_grad and p.ndim > 1
        }
        for name, module in self.model.named_modules():
            if isinstance(module, RECTIFYING):
                self._handles.append(module.register_forward_hook(self._listen(name)))

    def _listen(self, name: str) -> Any:
        def hook(_: nn.Module, __: Any, out: Tensor) -> None:
            if out.ndim < 2 or not torch.is_grad_enabled():
                return
            over = [d for d in range(out.ndim) if d != (1 if out.ndim == 4 else out.ndim - 1)]
            alive = (
                (out.detach() > 0).any(dim=over)
                if len(over) == 1
                else (out.detach().amax(over) > 0)
            )
            known = self._dead.get(name)
            if known is None or known.alive.shape != alive.shape:
                self._dead[name] = Dead(alive, len(out))
            else:
                self._dead[name] = Dead(known.alive | alive, known.images + len(out))

        return hook

    def _measure(self, number: int) -> list[Finding]:
        self.close()
        found: list[Finding] = []
        values = read(self._losses)
        self._losses.clear()
        bad = [i for i, v in enumerate(values) if not math.isfinite(v)]
        if bad:
            at = number - len(values) + bad[0] + 1
            return [
                Finding(
                    "gradient-nonfinite",
                    "error",
                    f"step {at}",
                    {"loss": f"{values[bad[0]]}"},
                    "stop; start again from the last checkpoint with a tenth of the learning rate",
                )
            ]
        self._windows.append((number, sum(values) / len(values)))
        lr = float(self.optimizer.param_groups[0]["lr"])
        self._peak = max(self._peak, lr)
        found += self._updates(lr)
        found += self._units()
        found += self._drift(number)
        found += self._curves()
        return found

    def _updates(self, lr: float) -> list[Finding]:
        """Weights that move by far too much, or not at all, in one step."""
        moved: dict[str, Tensor] = {}
        for name, p in self.model.named_parameters():
            old = self._weights.get(name)
            if old is not None:
                now = p.detach().flatten()[:SAMPLE]
                moved[name] = (now - old).norm() / old.norm().clamp_min(1e-12)
        ratios = dict(zip(moved, read(list(moved.values())), strict=True))
        self._weights.clear()
        if not ratios or lr == 0:
            return []
        where = max(ratios, key=lambda n: ratios[n])
        median = sorted(ratios.values())[len(ratios) // 2]
        # weights before a norm may turn fast and learn all the same: only a loss that stays is one
        falls = self._windows[-1][1] < 0.9 * self._windows[0][1]
        self._large = self._large + 1 if median > 0.1 and not falls else 0
        self._small = self._small + 1 if median < 1e-8 and lr >= 0.5 * self._peak else 0
        if self._large >= 3:
            return [
                Finding(
                    "lr-too-high",
                    "warning",
                    where.rpartition(".")[0] or where,
                    {
                        "update": f"{median:.0%} of a weight per step in the median layer, "
                        f"three times in a row"
                    },
                    f"set the learning rate to {lr / 10:.2g}",
                    {"optimizer.lr": float(f"{lr / 10:.3g}")},
                )
            ]
        if self._small >= 3:
            return [
                Finding(
                    "lr-too-low",
                    "warning",
                    "the optimizer",
                    {
                        "update": f"{median:.1e} of a weight per step in the median layer, "
                        f"three times in a row"
                    },
                    f"set the learning rate to {lr * 10:.2g}",
                    {"optimizer.lr": float(f"{lr * 10:.3g}")},
                )
            ]
        return []

    def _units(self) -> list[Finding]:
        found = []
        alive = read([dead.alive.float().mean() for dead in self._dead.values()])
        for (name, dead), lives in zip(self._dead.items(), alive, strict=True):
            share = 1 - lives
            if dead.images >= 64 and share > 0.6 and len(dead.alive) >= 4:
                found.append(
                    Finding(
                        "dead-units",
                        "error" if share > 0.9 else "warning",
                        name,
                        {
                            "dead": f"{share:.0%} of {len(dead.alive)} units, over "
                            f"{dead.images} images",
                            "limit": "60%",
                        },
                        "lower the peak learning rate tenfold, or use GELU here",
                    )
                )
            if dead.images >= 512:
                self._dead[name] = Dead(torch.zeros_like(dead.alive))
        return found

    def _drift(self, number: int) -> list[Finding]:
        """Running means that jump by more than a standard deviation between measurements."""
        found = []
        jumps: dict[str, Tensor] = {}
        for name, m in self.model.named_modules():
            if not isinstance(m, _BatchNorm) or m.running_mean is None or m.running_var is None:
                continue
            old = self._norms.get(name)
            self._norms[name] = m.running_mean.detach().clone()
            if old is not None and number >= 10 * self.every:
                far = (m.running_mean - old).abs() / (m.running_var + m.eps).sqrt()
                jumps[name] = far.mean()
        for name, jump in zip(jumps, read(list(jumps.values())), strict=True):
            if jump > 1.0:
                found.append(
                    Finding(
                        "bn-stats",
                        "warning",
                        name,
                        {
                            "drift": f"running means moved by {jump:.1f} standard deviations "
                            f"in {self.every} steps"
                        },
                        "lower the learning rate threefold, and recalibrate batch norm before "
                        "testing",
                    )
                )
        return found

    def curves(self) -> Curves:
        """The curves so far."""
        lr = float(self.optimizer.param_groups[0]["lr"])
        return Curves(
            tuple(s for s, _ in self._windows),
            tuple(v for _, v in self._windows),
            tuple(s for s, _, _ in self._val),
            tuple(v for _, v, _ in self._val),
            tuple(a for _, _, a in self._val if not math.isnan(a)),
            (),
            lr,
            max(lr, self._peak),
            self.total,
            self.chance,
        )

    def _curves(self) -> list[Finding]:
        # here, so that what only predicts does not load scipy
        from goodfit.check.rules.loss_oscillation import LossOscillation
        from goodfit.check.rules.loss_plateau import LossPlateau
        from goodfit.check.rules.overfitting import Overfitting
        from goodfit.check.rules.underfitting import Underfitting

        seen = Seen(self.curves())
        rules = (Overfitting(), Underfitting(), LossPlateau(), LossOscillation())
        found = [finding for rule in rules for finding in rule(seen)]
        return [f for f in found if f.chance is None or f.chance < 0.01]


def read(numbers: Sequence[Tensor | float]) -> list[float]:
    """Numbers from the device in one go: to ask for each would wait for each."""
    if all(isinstance(number, Tensor) for number in numbers) and numbers:
        together: list[float] = torch.stack([n.float() for n in numbers]).tolist()  # type: ignore[union-attr]
        return together
    return [float(number) for number in numbers]

"""The audit of a model: find what is random, test each part by itself, judge all together."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from goodfit.audit._average import OUTPUT, averages, flat, is_random, run
from goodfit.audit._finding import Audit, Finding, Gap, holm
from goodfit.audit._forms import LEAST, Average
from goodfit.audit._norms import OFF, NormCheck, checked_norms
from goodfit.audit._watch import (
    Inputs,
    Seen,
    captured,
    copied,
    differing,
    random_states_kept,
    seeded,
    watched,
)
from goodfit.batch import as_float
from goodfit.errors import ModelError

_IMAGES = 32  # draws are made with the first ones; norms see all
_OF_LOGITS = 16  # draws of the whole model
_ALPHA = ("AlphaDropout", "FeatureAlphaDropout")


def audit(
    model: nn.Module, batch: Any, *, draws: int = 256, false_alarm: float = 0.01, seed: int = 0
) -> Audit:
    """Compare, for every random part of `model`, the average of training with evaluation.

    batch: a Batch, a tensor of images, or a tuple that begins with one; TRAINING images, since
    running statistics are compared with them; 32 are enough. draws: how many of training's draws
    are averaged for each part. false_alarm: probability that any part of a right model is called
    wrong. Works on a copy. Raises ModelError when the model cannot run on the batch.
    """
    model = getattr(model, "_orig_mod", model)  # of torch.compile
    if isinstance(model, nn.parallel.DistributedDataParallel):
        model = model.module
    images = batch if isinstance(batch, Tensor) else batch[0]
    device = next((p.device for p in model.parameters()), images.device)
    with random_states_kept(), torch.no_grad():
        try:
            return _Auditor(model, as_float(images).to(device), draws, false_alarm, seed).audit()
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise ModelError(
                f"{type(model).__name__} cannot be audited on this batch",
                seen=f"{type(error).__name__}: {str(error).splitlines()[0][:200]}",
                fix="give a batch that the model takes in training and in evaluation",
            ) from error


class _Auditor:
    """One audit: a copy of the model, and what is known of it."""

    def __init__(
        self, model: nn.Module, images: Tensor, draws: int, false_alarm: float, seed: int
    ) -> None:
        self.model, self.images = copied(model), images
        self.few, self.draws, self.seed = images[:_IMAGES], draws, seed
        self.false_alarm = false_alarm
        self.modules = dict(self.model.named_modules())

    def audit(self) -> Audit:
        buffers = [b.clone() for b in self.model.buffers()]
        self.model.train()
        norms = checked_norms(self.model, self.images, self.seed)
        train, again = (watched(self.model, self.few, self.seed) for _ in "ab")
        for buffer, value in zip(self.model.buffers(), buffers, strict=True):
            buffer.copy_(value)  # training has moved running statistics
        self.model.eval()
        evaluated, twice = (watched(self.model, self.few, self.seed) for _ in "ab")
        hidden = [*differing(train, again), *differing(evaluated, twice)]
        names = list(dict.fromkeys([*train.drew, *evaluated.drew, *hidden]))
        inputs = captured(self.model, self.few, set(names), self.seed)
        found = {n: self._averages(n, inputs[n]) for n in names if n in inputs}
        findings = self._judged({n: a for n, a in found.items() if a}, norms)
        missing = [self._incomparable(n) for n, a in found.items() if not a]
        modes = self._modes(names, evaluated)
        whole = self._whole([n for n in names if n in inputs])
        return Audit((*findings, *missing, *modes, *whole), self.false_alarm)

    def _averages(self, name: str, inputs: Inputs) -> dict[str, Average]:
        module = self.modules[name].eval()
        if is_random(module, inputs, self.seed):
            seen = {"evaluation": "gives another output for the same input"}
            always = Average(0.0, Gap(0, 0, 0), biased=True, seen=seen, random_in_eval=True)
            return {OUTPUT: always}
        return averages(module, inputs, self.draws, self.seed)

    def _judged(
        self, found: dict[str, dict[str, Average]], norms: dict[str, NormCheck]
    ) -> Iterable[Finding]:
        """All tests of this audit, judged together; of a module's places the worst is told."""
        rows = [(name, *place) for name, places in found.items() for place in places.items()]
        tested = {n: c for n, c in norms.items() if c.p is not None}
        p_values = [average.p for *_, average in rows] + [c.p or 0.0 for c in tested.values()]
        rejected = holm(p_values, self.false_alarm)
        judged: dict[str, list[Finding]] = {name: [] for name in found}
        for (name, place, average), off in zip(rows, rejected, strict=False):
            judged[name].append(self._layer(name, place, average, off))
        for findings in judged.values():
            yield max(findings, key=_severity)
        is_off = dict(zip(tested, rejected[len(rows) :], strict=True))
        for name, check in norms.items():
            yield self._norm(name, check, is_off.get(name, False))

    def _layer(self, name: str, place: str, found: Average, off: bool) -> Finding:
        kind = type(self.modules[name]).__name__
        where = name or "the model"
        if place != OUTPUT:
            found = found._replace(seen={"compared": place, **found.seen})
        if found.random_in_eval:
            fix = "make it deterministic in evaluation: draw only if self.training"
            if kind == "FractionalMaxPool2d":
                fix = "use goodfit's fractional-max-pool, or average over several passes"
            return Finding(where, kind, "wrong", found.seen, fix)
        if not off and not found.curved:
            return Finding(where, kind, "exact", found.seen, "nothing to do", found.gap)
        if kind in _ALPHA:
            fix = "nothing to do: it keeps the moments of a layer, not each value"
            return Finding(where, kind, "approximate", found.seen, fix, found.gap)
        if off and found.biased:
            seen = {**found.seen, "gap": str(found.gap)}
            fix = "scale by 1 / keep in training or by keep in evaluation, one of the two"
            return Finding(where, kind, "wrong", seen, fix, found.gap)
        fix = "nothing to do behind a nonlinearity; average over draws to be exact"
        return Finding(where, kind, "approximate", found.seen, fix, found.gap)

    def _norm(self, name: str, check: NormCheck, off: bool) -> Finding:
        kind, seen = type(self.modules[name]).__name__, {"statistics": check.note}
        if off and check.divergence > OFF:
            fix = "recompute them: goodfit.layers.batch_norm.precise_batch_norm(model, batches)"
            return Finding(name, kind, "wrong", seen, fix)
        verdict = "exact" if check.note.startswith("frozen") else "approximate"
        return Finding(name, kind, verdict, seen, "nothing to do")  # type: ignore[arg-type]

    def _incomparable(self, name: str) -> Finding:
        seen = {"outputs": "have another shape in training than in evaluation"}
        fix = "compare by hand, or average whole nets over draws"
        kind = type(self.modules[name]).__name__
        return Finding(name or "the model", kind, "approximate", seen, fix)

    def _modes(self, names: list[str], evaluated: Seen) -> Iterable[Finding]:
        """Modules around random ones that scale once more: other in training, nothing drawn."""
        self.model.train()
        for name, module in self.modules.items():
            if name in names or isinstance(module, _NormBase):
                module.training = False
        averaged = watched(self.model, self.few, self.seed)
        places = differing(averaged, evaluated)
        inputs = captured(self.model, self.few, set(places), self.seed)
        for name in places:
            holds = [n for n in names if n.startswith(f"{name}." if name else "") and n != name]
            trained, tested = self._both_modes(self.modules[name], inputs[name], names)
            if trained.shape != tested.shape:
                continue  # auxiliary outputs
            factor = ((trained * tested).sum() / (tested * tested).sum().clamp_min(1e-30)).item()
            gap = ((trained - tested).norm() / tested.norm().clamp_min(1e-30)).item()
            straight = (trained - factor * tested).norm() < 1e-3 * tested.norm()
            if gap > LEAST and ((holds and name) or straight):
                seen = {"training": f"{factor:.4g} times evaluation, with all randomness averaged"}
                fix = "scale in the random layer or around it, not both"
                kind = type(self.modules[name]).__name__
                yield Finding(
                    name or "the model",
                    kind,
                    "wrong",
                    seen,
                    fix,
                    Gap(factor - 1, factor - 1, factor - 1),
                )

    def _both_modes(self, module: nn.Module, inputs: Inputs, names: list[str]) -> list[Tensor]:
        """Outputs in training with all randomness averaged, and in evaluation."""
        random = {id(self.modules[n]) for n in names}
        outputs = []
        for mode in (True, False):
            for m in module.modules():
                m.training = mode and id(m) not in random and not isinstance(m, _NormBase)
            seeded(self.seed)
            outputs.append(flat(run(module, inputs)))
        return outputs

    def _whole(self, names: list[str]) -> Iterable[Finding]:
        """The gap of the logits, for information: nonlinearities bend every average a little."""
        if not names:
            return
        self.model.eval()
        expected = flat(self.model(self.few))
        for name in names:
            self.modules[name].training = True
        seeded(self.seed)
        size = (expected**2).sum().clamp_min(1e-30)
        along = []
        for _ in range(_OF_LOGITS):
            y = flat(self.model(self.few))
            if y.shape != expected.shape:
                return
            along.append(((y * expected).sum() / size).item() - 1)
        self.model.eval()
        values = torch.tensor(along, dtype=torch.float64)
        mean, half = values.mean().item(), 1.96 * values.std().item() / len(along) ** 0.5
        seen = {"logits": f"average {1 + mean:.3f} of evaluation over {len(along)} draws"}
        fix = "nothing to do; predict(model, images, samples=K) averages whole nets"
        yield Finding(
            "the model", "logits", "approximate", seen, fix, Gap(mean, mean - half, mean + half)
        )


def _severity(finding: Finding) -> tuple[int, float]:
    rank = ("exact", "approximate", "wrong").index(finding.verdict)
    return rank, abs(finding.gap.value) if finding.gap else 0.0

"""How far is one view of an image from the average over the augmentation that training used?"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn

from goodfit.audit._finding import Audit, Finding, Gap, holm
from goodfit.audit._watch import copied, random_states_kept
from goodfit.batch import Batch, as_float
from goodfit.rand import Rng


def audit_augment(
    model: nn.Module,
    changes: Sequence[Any],
    batch: Batch,
    *,
    draws: int = 32,
    false_alarm: float = 0.01,
    seed: int = 0,
) -> Audit:
    """Compare what testing uses with the average of probabilities over `draws` of each change.

    Testing uses the image as it is, or the weighted views that the augmentation declares. Where
    it declares views they must be the average, and the verdict can be "wrong"; elsewhere one view
    is an approximation, and the gap says how far off: the mean over images of the total variation
    between both class distributions, with its interval, corrected for the noise of the draws.
    """
    with random_states_kept(), torch.no_grad():
        net = copied(model).eval()
        device = next((p.device for p in net.parameters()), batch.images.device)
        batch = batch.to(device)
        rows = [_compared(net, [c], batch, draws, seed) for c in changes]
        if len(changes) > 1:
            rows.append(_compared(net, changes, batch, draws, seed))
    exact = [name for name, views, *_ in rows if views]
    rejected = dict(
        zip(exact, holm([p for _, views, p, *_ in rows if views], false_alarm), strict=True)
    )
    findings = []
    for name, views, _, gap, moved in rows:
        seen = {
            "testing uses": f"{views} views" if views else "one view",
            "changed class": f"{moved:.1%} of images, against the average of {draws} draws",
        }
        if rejected.get(name):
            fix = "correct the weights or the draws of its views: their averages differ"
            findings.append(Finding(name, "augmentation", "wrong", seen, fix, gap))
        elif views:
            findings.append(Finding(name, "augmentation", "exact", seen, "nothing to do", gap))
        else:
            fix = "nothing to do; predict(model, images, augment=..., samples=K) averages draws"
            findings.append(Finding(name, "augmentation", "approximate", seen, fix, gap))
    return Audit(tuple(findings), false_alarm)


def _compared(
    net: nn.Module, changes: Sequence[Any], batch: Batch, draws: int, seed: int
) -> tuple[str, int, float, Gap, float]:
    """(name, number of exact views or 0, p of their being exact, gap, share of changed classes)."""
    name = changes[0].name if len(changes) == 1 else "all together"
    views = [(1.0, batch)]
    if len(changes) == 1 and getattr(changes[0], "marginal", "") == "views":
        views = changes[0].views(batch)
    tested = sum((w * _probabilities(net, view) for w, view in views), torch.zeros(()))
    total, along = torch.zeros_like(tested), []
    squares = torch.zeros_like(tested)
    generator = torch.Generator().manual_seed(0)
    signs = (torch.randint(2, (3, tested.numel()), generator=generator) * 2 - 1).to(tested)
    for draw in range(draws):
        changed = batch._replace(epoch=batch.epoch + draw)
        for number, change in enumerate(changes):
            changed = change(changed, Rng(seed, f"{change.name}#{number}", changed))
        p = _probabilities(net, changed)
        total, squares = total + p, squares + p**2
        along.append((signs @ (p - tested).flatten()).cpu().numpy())
    mean = total / draws
    var = (squares / draws - mean**2).clamp_min(0) / (draws - 1)  # of the mean
    raw = (mean - tested).abs().sum(1) / 2
    noise = (2 / torch.pi * var).sqrt().sum(1) / 2  # what raw would be, were both the same
    distance = (raw**2 - noise**2).clamp_min(0).sqrt()
    half = 1.96 * (distance.std() / len(distance) ** 0.5).item() if len(distance) > 1 else 0.0
    value = distance.mean().item()
    t = stats.ttest_1samp(np.stack(along), 0.0).pvalue
    pvalue = float(min(1.0, 3 * np.nan_to_num(t, nan=1.0).min()))
    moved = (mean.argmax(1) != tested.argmax(1)).double().mean().item()
    gap = Gap(value, max(0.0, value - half), value + half)
    return name, len(views) if len(views) > 1 else 0, pvalue, gap, moved


def _probabilities(net: nn.Module, batch: Batch) -> Tensor:
    logits: Tensor = net(as_float(batch.images))
    return logits.double().softmax(1)

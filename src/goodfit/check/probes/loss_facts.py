"""What the loss does as a function of the scores: shape, sign, reduction, who counts."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from goodfit.check.program import Clone, reseed
from goodfit.check.work import Work, joined, truth


@dataclass(frozen=True)
class LossFacts:
    """Measured on the user's targets; nan where it could not be measured.

    Only the start, `unpaired` and `ignored` are known where the loss takes something else than
    the scores: a `logits` that computes them anew, or a loss that draws.

    doubled: loss of a batch taken twice over that of the batch. constant: at zero scores.
    rewarded: share of samples whose true score the loss wants higher than the mean of the others.
    elsewhere: share for which it wants one wrong score higher than all other scores together.
    easiest: how surely the samples that count have the higher true score (area under the ROC).
    counted: share of samples that have a gradient.
    unpaired: the loss stays the same when targets are dealt to other samples.
    shift: the loss does not change when all scores of a sample rise alike (softmax inside).
    linear: the loss is linear in the scores (it wants log-probabilities).
    best: the loss when the true class gets the highest score the model can give, others the lowest.
    """

    start: float = math.nan
    constant: float = math.nan
    doubled: float = math.nan
    rewarded: float = math.nan
    punished: float = math.nan
    elsewhere: float = 0.0
    judged: int = 0
    easiest: float = 0.5
    counted: float = 1.0
    unpaired: bool = False
    shift: bool = False
    linear: bool = False
    depends_on_others: float = 0.0
    weights: dict[int, float] = field(default_factory=dict)  # class: its gradients, relative
    ignored: dict[int, int] = field(default_factory=dict)  # class: samples without any gradient
    best: float = math.nan
    low: float = math.nan  # of the scores when the last layers are scaled up
    high: float = math.nan
    rows_sum: float = math.nan  # largest distance of a row's sum from one
    columns_sum: float = math.nan
    negative: float = math.nan  # smallest score
    zeros: float = 0.0  # share of scores that are exactly zero
    accuracy: float = math.nan  # at the start, evaluation mode
    outputs: int = 0
    images: int = 0
    towards: float = math.nan  # where the loss moves scores, correlated with targets of their shape
    log_rows: float = math.nan  # largest |logsumexp| of a row


def loss_facts(work: Work) -> LossFacts:
    """Play with the scores of one batch."""
    clone = work.program.clone()
    reseed(work.program.seed + 4)
    x, y = joined(work.program.train.batches, work.most)
    x, y = work.small(work.most) if not isinstance(y, Tensor) else (x, y)
    clone.model.train()
    with torch.no_grad():
        output = clone.forward(x)
        scores = clone.pick(output).detach()
        start = float(clone.loss(output, y))
    facts: dict[str, object] = {
        "start": start,
        "outputs": scores.shape[-1] if scores.ndim > 1 else 1,
        "images": len(x),
    }
    classes = truth(y, scores)

    def loss(z: Tensor, t: object = y) -> Tensor:
        return clone.loss_of_scores(z, t, like=output if t is y else None)

    facts |= _quiet(lambda: {"unpaired": _unpaired(clone, output, scores, y)})
    again = _quiet(lambda: {"start": float(loss(scores))}).get("start", math.nan)
    same = abs(float(again) - start) < 1e-3 * max(1.0, abs(start))  # type: ignore[arg-type]
    if not same or not clone.stands(output):
        if classes is not None and isinstance(output, Tensor) and len(output) == len(classes):
            facts |= _quiet(lambda: _ignored(lambda z: clone.loss(z, y), output, classes))
        return LossFacts(**facts)  # type: ignore[arg-type]
    facts |= _quiet(lambda: {"constant": float(loss(torch.zeros_like(scores)).detach())})
    if isinstance(y, Tensor) and y.is_floating_point() and y.shape == scores.shape:
        facts |= _quiet(lambda: {"towards": _towards(loss, scores, y)})
    if isinstance(y, Tensor):
        facts |= _quiet(lambda: _doubled(loss, scores, y))
    facts |= _quiet(lambda: _ranges(scores))
    facts |= _quiet(lambda: {"shift": _shift(loss, scores), "linear": _linear(loss, scores)})
    if classes is not None and scores.ndim in (1, 2) and len(classes) == len(scores):
        table = scores if scores.ndim == 2 else scores[:, None]

        def of_table(z: Tensor) -> Tensor:
            return loss(z.reshape(scores.shape))

        facts |= _quiet(lambda: _rewards(of_table, table, classes))
        facts |= _quiet(lambda: _ignored(of_table, table, classes))
        facts |= _quiet(lambda: _mixing(of_table, table))
        facts |= _quiet(lambda: _accuracy(clone, x, classes))
        facts |= _quiet(lambda: _bounds(work, x, of_table, table, classes))
    return LossFacts(**facts)  # type: ignore[arg-type]


def _quiet(measure: object) -> dict[str, object]:
    try:
        return measure()  # type: ignore[operator, no-any-return]
    except Exception:
        return {}


def _doubled(loss: object, scores: Tensor, y: Tensor) -> dict[str, object]:
    once = float(loss(scores[:64], y[:64]))  # type: ignore[operator]
    twice = float(loss(torch.cat([scores[:64]] * 2), torch.cat([y[:64]] * 2)))  # type: ignore[operator]
    return {"doubled": twice / once if abs(once) > 1e-12 else math.nan}


def _towards(loss: Callable[..., Tensor], scores: Tensor, y: Tensor, steps: int = 60) -> float:
    """Correlation of the targets with where free scores go that nothing but the loss moves."""
    begin = 0.1 * torch.randn_like(scores.float())
    z = begin.clone().requires_grad_()
    optimizer = torch.optim.Adam([z], lr=float(y.float().std().clamp_min(1e-3)) / 20)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(z.to(scores.dtype)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    moved, aim = (z.detach() - begin).flatten(), y.float().flatten()
    pair = torch.stack([moved, aim])
    return float(torch.corrcoef(pair)[0, 1])


def _ranges(scores: Tensor) -> dict[str, object]:
    if scores.ndim != 2:
        return {}
    z = scores.float()
    return {
        "rows_sum": float((z.sum(1) - 1).abs().max()),
        "columns_sum": float((z.sum(0) - 1).abs().max()) if len(z) > 1 else math.nan,
        "negative": float(z.min()),
        "zeros": float((z == 0).float().mean()),
        "log_rows": float(z.logsumexp(1).abs().max()),
    }


def _shift(loss: object, scores: Tensor) -> bool:
    a = float(loss(scores))  # type: ignore[operator]
    b = float(loss(scores + 1.5))  # type: ignore[operator]
    return scores.ndim > 1 and scores.shape[1] > 1 and abs(a - b) < 1e-3 * max(1.0, abs(a))


def _linear(loss: object, scores: Tensor) -> bool:
    z = torch.randn_like(scores.float())
    at = [float(loss(s * z)) for s in (0.0, 1.0, 2.0)]  # type: ignore[operator]
    return abs(at[1] - at[0]) > 1e-6 and abs(at[2] - 2 * at[1] + at[0]) < 1e-4 * abs(at[1] - at[0])


def _rewards(loss: object, scores: Tensor, classes: Tensor) -> dict[str, object]:
    """The sign of the loss's wish for each sample's true score, at small random scores."""
    z = (0.1 * torch.randn_like(scores.float())).requires_grad_()
    (g,) = torch.autograd.grad(loss(z), z)  # type: ignore[operator]
    k, z = g.shape[1], z.detach()
    if k == 1:
        wish = -g[:, 0] * (2 * classes.clamp(0, 1) - 1)
        alone = torch.zeros_like(wish, dtype=torch.bool)
    else:
        inside = (classes >= 0) & (classes < k)
        true = g.gather(1, classes.clamp(0, k - 1)[:, None])[:, 0]
        wish = ((g.sum(1) - true) / (k - 1) - true)[inside]
        classes, g, z = classes[inside], g[inside], z[inside]
        up = (-g).clamp_min(0).scatter(1, classes[:, None], 0)
        alone = up.amax(1) > up.sum(1) / 2 if k > 2 else torch.zeros_like(wish, dtype=torch.bool)
    scale = g.abs().max().clamp_min(1e-30)
    none = g.abs().amax(1) <= 1e-7 * scale
    clear = wish[~none]
    judged = len(clear)
    return {
        "rewarded": float((clear > 0).float().mean()) if judged else math.nan,
        "punished": float((clear < 0).float().mean()) if judged else math.nan,
        "elsewhere": float(alone[~none].float().mean()) if judged else 0.0,
        "judged": judged,
        "easiest": _easiest(z, classes, ~none),
        "counted": float((~none).float().mean()),
    }


def _easiest(z: Tensor, classes: Tensor, counted: Tensor) -> float:
    """How surely a sample that counts has a higher true score than one that does not."""
    if z.shape[1] == 1:
        lead = z[:, 0] * (2 * classes.clamp(0, 1) - 1)
    else:
        lead = z.gather(1, classes[:, None])[:, 0] - z.mean(1)
    ahead = lead[counted][:, None] > lead[~counted]
    return float(ahead.float().mean()) if ahead.numel() else 0.5


def _ignored(loss: object, like: Tensor, classes: Tensor, draws: int = 5) -> dict[str, object]:
    """Classes none of whose samples has a gradient, at any of a few small random outputs.

    A loss of the hardest few leaves out many a sample: a class is ignored only if luck would
    not leave out all of it, given how many of the others count.
    """
    counts, sizes = [], []
    for _ in range(draws):
        z = (0.1 * torch.randn_like(like.float())).requires_grad_()
        (g,) = torch.autograd.grad(loss(z), z)  # type: ignore[operator]
        size = g.flatten(1).abs().amax(1)
        sizes.append(size / size.mean().clamp_min(1e-30))
        counts.append(size > 1e-7 * size.max().clamp_min(1e-30))
    counted = torch.stack(counts).float()
    ignored, weights = {}, {}
    typical = torch.stack(sizes).mean(0)
    most = like.shape[1] if like.ndim > 1 and like.shape[1] > 1 else math.inf
    for c in classes.unique().tolist():  # type: ignore[no-untyped-call]
        mine = classes == c
        n = int(mine.sum())
        if 0 <= c < most and n >= 3:
            weights[int(c)] = float(typical[mine].mean())
        if c < 0 or c >= most or n < 3 or n == len(classes) or bool(counted[:, mine].any()):
            continue
        if (1 - float(counted[:, ~mine].mean())) ** (n * draws) < 1e-6:
            ignored[int(c)] = n
    return {"ignored": ignored, "weights": weights}


def _unpaired(clone: Clone, output: object, scores: Tensor, y: Tensor) -> bool:
    """Whether targets may be dealt to other samples and the loss, which uses them, stays."""
    if not isinstance(y, Tensor) or y.ndim == 0 or len(y) != len(scores) or len(y) < 8:
        return False

    def at(targets: Tensor) -> float:
        reseed(8)
        with torch.no_grad():
            return float(clone.loss(output, targets))

    value = at(y)
    dealt = [y.roll(1, 0), y.flip(0), y[torch.randperm(len(y), device=y.device)]]
    moved = all(bool((t != y).float().mean() > 0.1) for t in dealt)
    spread = float(scores.float().std(0).mean()) / len(y) ** 0.5  # what chance would change
    if not moved or spread < 1e-4 * abs(value) or abs(at(y) - value) > 1e-7 * abs(value):
        return False
    uses = abs(at(y[:1].expand_as(y)) - value) > 1e-4 * abs(value)
    return uses and all(abs(at(t) - value) < 1e-6 * abs(value) for t in dealt)


def _mixing(loss: object, scores: Tensor) -> dict[str, object]:
    """How much the direction of a sample's gradient turns when the other samples' scores change."""
    first = torch.randn_like(scores.float())
    second = first + 4 * torch.randn_like(first[:1])  # other columns for all, so that sums change
    second[0] = first[0]
    sides = []
    for z in (first, second):
        z = z.clone().requires_grad_()
        sides.append(torch.autograd.grad(loss(z), z)[0][0])  # type: ignore[operator]
    a, b = sides
    if min(float(a.norm()), float(b.norm())) < 1e-12 or a.numel() < 2:
        return {}
    cosine = float(torch.nn.functional.cosine_similarity(a, b, dim=0))
    return {"depends_on_others": 1 - cosine}


def _accuracy(clone: Clone, x: Tensor, classes: Tensor) -> dict[str, object]:
    from goodfit.check.work import guess

    clone.model.eval()
    with torch.no_grad():
        right = guess(clone.scores(x)) == classes
    return {"accuracy": float(right.float().mean())}


def _bounds(
    work: Work, x: Tensor, loss: object, scores: Tensor, classes: Tensor
) -> dict[str, object]:
    """The range of the scores when the last weights are scaled up, and the best loss inside it."""
    from goodfit.check.probes.flow import heads_of
    from goodfit.check.probes.trace import layer_name, trace

    clone = work.program.clone()
    clone.model.train()
    seen = trace(clone.model, x[:16], clone.pick)
    if not seen.followed:
        return {}
    params = dict(clone.model.named_parameters())
    owners = {layer_name(seen.nodes[index]) for index in heads_of(seen)}
    heads = {n for n in params if n.rpartition(".")[0] in owners}
    low, high = [], []
    with torch.no_grad():
        reseed(work.program.seed + 4)
        before = clone.scores(x[:64]).float()
        for name in heads & params.keys():
            p = params[name]
            p.copy_(torch.randn_like(p) * p.float().std(correction=0).clamp_min(0.05) + 2 * p)
        reseed(work.program.seed + 4)
        drawn = clone.scores(x[:64]).float()
        if float((drawn - before).abs().max()) < 0.05 * float(before.abs().max()):
            return {}  # the way from the last weights to the scores could not be followed
        for scale in (30.0, 30.0):
            for name in heads & params.keys():
                params[name].mul_(scale)
            reseed(work.program.seed + 4)
            z = clone.scores(x[:64]).float()
            low.append(float(z.min()))
            high.append(float(z.max()))
    bounded_low = low[1] > 2 * low[0] - 1e-6 if low[0] < 0 else True
    bounded_high = high[1] < 2 * high[0] + 1e-6
    facts: dict[str, object] = {
        "low": low[1] if bounded_low else -math.inf,
        "high": high[1] if bounded_high else math.inf,
    }
    if scores.shape[1] == 1 and (bounded_low or bounded_high):
        facts["best"] = _best_of_one(loss, scores, classes, facts)
    elif bounded_high and bounded_low and scores.shape[1] > 1 and high[1] - low[1] > 1e-6:
        z = torch.full_like(scores, low[1])
        z.scatter_(1, classes.clamp(0, scores.shape[1] - 1)[:, None], high[1])
        facts["best"] = float(loss(z))  # type: ignore[operator]
    return facts


def _best_of_one(loss: object, scores: Tensor, classes: Tensor, facts: dict[str, object]) -> float:
    """The least loss when one score has to tell two classes apart inside its range."""
    low, high = float(facts["low"]), float(facts["high"])  # type: ignore[arg-type]
    sides = [
        [end] if math.isfinite(end) else [0.0, sign, 5 * sign, 50 * sign]
        for end, sign in ((low, -1.0), (high, 1.0))
    ]
    positive = classes[:, None] > 0
    values = [
        float(loss(torch.where(positive, b, a).to(scores)))  # type: ignore[operator]
        for a in map(torch.tensor, sides[0])
        for b in map(torch.tensor, sides[1])
    ]
    return min((v for v in values if math.isfinite(v)), default=math.nan)

"""Do the inputs say anything about the targets? Nearest neighbours and ridge regression say."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from goodfit.check.probes.features import like_words, plain, words
from goodfit.check.probes.samples import Samples

MOST = 1500  # samples per side that probes look at


@dataclass(frozen=True)
class Learnable:
    """Plain classifiers trained on one half of train and tested on the rest.

    train: held-out accuracy within train. val: accuracy on val. chance: of the commonest class.
    confusion: (k, k), true val class against the class that probes predict for it.
    """

    train: float
    val: float
    chance: float
    tested: int
    tested_val: int
    classes: int
    confusion: Tensor | None = None
    val_within: float = math.nan  # held-out accuracy within val
    stump: float = math.nan  # best single feature's held-out accuracy in train
    stump_val: float = math.nan
    stump_at: int = -1
    stump_within: float = math.nan  # best single feature's held-out accuracy within val
    features: int = 1  # among which it was chosen
    values: int = 1 << 30  # how many of them, the first ones, are values of the inputs
    wrong: float = math.nan  # labels that the better classifier contradicts on held-out samples
    sure_wrong: float = math.nan  # the same among the quarter that it is surest about
    surest_wrong: float = math.nan  # and among the tenth
    sure: int = 0
    notes: dict[str, float] = field(default_factory=dict)

    @property
    def informed(self) -> bool:
        """Whether the classifiers plainly beat chance within train."""
        error = (self.chance * (1 - self.chance) / max(1, self.tested)) ** 0.5
        return bool(self.train > self.chance + 4 * error)


def learnable(samples: Samples) -> Learnable | None:
    """Fit and test the plain classifiers."""
    train = samples.train
    if train.y is None or len(train) < 60:
        return None
    found = judged(samples, plain)
    if found is not None and not found.informed and like_words(train.x[:MOST]):
        return judged(samples, words)
    return found


def judged(samples: Samples, view: Callable[[Tensor], Tensor]) -> Learnable | None:
    """The plain classifiers on one view of the inputs."""
    train, val = samples.train, samples.val
    if train.y is None:
        return None
    keep = spread(len(train), MOST)
    features, y = view(train.x[keep]), train.y[keep]
    known = (y >= 0) & features.isfinite().all(1)
    features, y = features[known], y[known]
    k = int(y.max()) + 1 if len(y) else 0
    if len(y) < 60 or len(y.unique()) < 2:  # type: ignore[no-untyped-call]
        return None
    mean, std = features.mean(0), features.std(0)
    scaled = (features - mean) / std.clamp_min(1e-6 + 1e-3 * float(std.max()))
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(y), generator=generator)
    first, second = order[: len(y) // 2], order[len(y) // 2 :]
    parts = [(first, second), (second, first)]
    rights, doubts = {}, {}
    for name, classifier in (("near", neighbours), ("means", ridge)):
        votes = torch.empty(len(y), k)
        for fit, test in parts:
            votes[test] = classifier(scaled[fit], y[fit], scaled[test], k)
        right = votes.argmax(1) == y
        rights[name], doubts[name] = int(right.sum()), contradictions(votes, right)
    name = max(rights, key=lambda n: rights[n])
    classifier = neighbours if name == "near" else ridge
    shares = torch.bincount(y, minlength=k).float() / len(y)
    val_right, confusion, tested_val, within = math.nan, None, 0, math.nan
    stump, stump_val, at, stump_within = math.nan, math.nan, -1, math.nan
    if val is not None and val.y is not None and len(val) >= 30:
        pick = spread(len(val), MOST)
        vf, vy = view(val.x[pick]), val.y[pick]
        good = (vy >= 0) & vf.isfinite().all(1)
        vf, vy = (vf[good] - mean) / std.clamp_min(1e-6 + 1e-3 * float(std.max())), vy[good]
        if len(vy) >= 30:
            guessed = classifier(scaled, y, vf, k).argmax(1)
            size = max(k, int(vy.max()) + 1)
            confusion = torch.zeros(size, size, dtype=torch.long)
            confusion.index_put_((vy, guessed), torch.ones_like(vy), accumulate=True)
            val_right, tested_val = float((guessed == vy).float().mean()), len(vy)
            half = len(vy) // 2
            if half >= 30 and len(vy[:half].unique()) > 1:  # type: ignore[no-untyped-call]
                inside = classifier(vf[:half], vy[:half], vf[half:], size).argmax(1)
                within = float((inside == vy[half:]).float().mean())
                rights_within, _ = stumps(vf[:half], vy[:half], vf[half:], vy[half:], size)
                stump_within = float(rights_within.max())
            alone, means = stumps(scaled[first], y[first], scaled[second], y[second], k)
            at = int(alone.argmax())
            guessed = (vf[:, None, at] - means[None, :, at]).abs().argmin(1)
            stump, stump_val = float(alone[at]), float((guessed == vy).float().mean())
    return Learnable(
        rights[name] / len(y),
        val_right,
        float(shares.max()),
        len(y),
        tested_val,
        k,
        confusion,
        within,
        stump,
        stump_val,
        at,
        stump_within,
        features.shape[1],
        min(4096, train.x[0].numel()) if train.x.ndim == 3 else 1 << 30,
        *doubts[name],
        {n: r / len(y) for n, r in rights.items()},
    )


def spread(count: int, most: int) -> Tensor:
    """Evenly spaced indices, at most `most`."""
    return torch.arange(count) if count <= most else torch.linspace(0, count - 1, most).long()


def neighbours(fit: Tensor, y: Tensor, test: Tensor, k: int, among: int = 7) -> Tensor:
    """Votes for each class by the nearest samples, nearer ones counting more."""
    near = torch.cdist(test, fit).topk(min(among, len(fit)), largest=False)
    votes = torch.zeros(len(test), k).scatter_add_(
        1, y[near.indices], 1 / (near.values + 1e-3 * near.values.mean() + 1e-12)
    )
    return votes / votes.sum(1, keepdim=True)


def ridge(fit: Tensor, y: Tensor, test: Tensor, k: int) -> Tensor:
    """Scores by least squares on one-hot targets with a ridge, through the kernel matrix."""
    center = fit.mean(0)
    a, b = fit - center, test - center
    gram = a @ a.T
    targets = F.one_hot(y, k).float()
    prior = targets.mean(0)
    strength = 0.1 * gram.diagonal().mean() + 1e-9
    solved = torch.linalg.solve(gram + strength * torch.eye(len(gram)), targets - prior)
    scores: Tensor = (b @ a.T) @ solved + prior
    return scores


def stumps(fit: Tensor, y: Tensor, test: Tensor, ty: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Accuracy (d,) of every single feature by the nearest class mean, and the means (k, d)."""
    counts = torch.bincount(y, minlength=k).clamp_min(1).float()
    means = torch.zeros(k, fit.shape[1]).index_add_(0, y, fit) / counts[:, None]
    present = torch.bincount(y, minlength=k) > 0
    means[~present] = 1e9
    rights = torch.zeros(fit.shape[1])
    for j in range(0, fit.shape[1], 256):
        nearest = (test[:, None, j : j + 256] - means[None, :, j : j + 256]).abs().argmin(1)
        rights[j : j + 256] = (nearest == ty[:, None]).float().mean(0)
    return rights, means


def contradictions(votes: Tensor, right: Tensor) -> tuple[float, float, float, int]:
    """Share of labels contradicted: of all, of the surest quarter, of the surest tenth; its size.

    Where classes overlap, sure predictions are right; where labels are wrong at random, sureness
    does not help.
    """
    top = votes.topk(min(2, votes.shape[1]), 1).values
    order = (top[:, 0] - top[:, -1]).argsort(descending=True)
    wrong = (~right[order]).float()
    quarter, tenth = len(wrong) // 4, max(1, len(wrong) // 10)
    return (
        float(wrong.mean()),
        float(wrong[:quarter].mean()),
        float(wrong[:tenth].mean()),
        quarter,
    )

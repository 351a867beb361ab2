"""Train and val inputs do not come from the same preprocessing.

## Why it matters
A net trained on normalized images and tested on raw ones answers at chance, and its loss curve
looks like overfitting. The same holds for swapped colors, other sizes or upside-down images.

## What to do
Build one transform for normalization and sizes and give it to train, val and prediction. Random
augmentation belongs to train only; everything deterministic belongs to all.

## When it is wrong
When val is meant to come from another world (another camera, another year): silence the rule.
Augmentation in train only is expected: unless a second pass over train delivers the same values,
the rule ignores what that explains (a moderate change of brightness, contrast, position, sharpness
or noise) and looks for large offsets and scales and for reversed signs.

Evidence: statistical: moments of single images in standard errors, half of val beyond train's 1%
and 99% quantiles, a plain classifier that learns either side but does not carry over, however the
classes are renumbered, or the net itself, which after a few dozen steps knows train images held
out from it and not val's; Holm over the report. Different shapes are exact.

Source: two-sample tests against the spread of single images: half of val beyond train's 1% and 99%
quantiles has a chance below 1e-60 from 100 images of one distribution.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from scipy.optimize import linear_sum_assignment
from scipy.stats import binom, norm
from torch import Tensor

from goodfit.check.finding import Finding, Severity
from goodfit.check.probes.held_out import HeldOut
from goodfit.check.probes.learnable import Learnable
from goodfit.check.probes.samples import Samples
from goodfit.check.rules import Rule
from goodfit.check.seen import Seen
from goodfit.ingredient import Fraction, Positive

FIX = "apply the same deterministic transform (sizes, color order, mean and std) to train and val"


def contrast(a: Tensor) -> tuple[float, float]:
    """Mean of a per-image number and its distance from zero in standard errors."""
    return float(a.mean()), float(a.mean() / (a.std() / len(a) ** 0.5).clamp_min(1e-12))


def contrasts(x: Tensor) -> Tensor:
    """Logarithm of each image's standard deviation."""
    return x.flatten(1).std(1).clamp_min(1e-12).log()


def fineness(x: Tensor) -> Tensor:
    """Logarithm of the variance between neighbouring pixels over that of the whole image."""
    x = x - x.mean((2, 3), keepdim=True)
    fine = x.diff(dim=3).square().mean((1, 2, 3)) + x.diff(dim=2).square().mean((1, 2, 3))
    return (fine / x.square().mean((1, 2, 3)).clamp_min(1e-12)).clamp_min(1e-12).log()


class TrainValShift(Rule):
    severity: ClassVar[Severity] = "error"
    statistical: ClassVar[bool] = True
    needs: ClassVar[tuple[type, ...]] = (Samples,)
    also: ClassVar[tuple[type, ...]] = (Learnable, HeldOut)
    offset: Positive = 1.0  # shift of the mean, in standard deviations of the values
    scale: Positive = 2.2  # ratio of contrasts
    plain_offset: Positive = 0.5  # the same two where train is known not to be augmented
    plain_scale: Positive = 1.5
    outside: Fraction = 0.5  # of val images beyond all but one in a hundred of train's
    sure: Positive = 6.0  # standard errors
    lost: Fraction = (
        0.5  # of what a classifier knows on either side, when carried from train to val
    )

    def __call__(self, seen: Seen) -> Iterator[Finding]:
        data = seen[Samples]
        if data.val is None or min(len(data.train), len(data.val)) < 24:
            return
        a, b = data.train.x, data.val.x
        if not bool(a.isfinite().all()) or not bool(b.isfinite().all()):
            return
        if a.shape[1:] != b.shape[1:]:
            learned = seen.get(HeldOut)
            if a.ndim == 4 and b.ndim == 4 and a.shape[1] == b.shape[1]:
                a, b = (t.mean((2, 3), keepdim=True) for t in (a, b))
            elif learned is not None and learned.val_images:  # the net is made for both
                yield from self.by_the_net(learned)
                return
            else:
                yield self.finding(
                    "val inputs",
                    train=f"shape {tuple(a.shape[1:])}",
                    val=f"shape {tuple(b.shape[1:])}",
                    fix=FIX,
                )
                return
        found = list(self.moments(a, b, data.steady))
        learnable = seen.get(Learnable)
        if not found and learnable is not None and not data.augmented:
            found = list(self.carried(learnable))
        learned = seen.get(HeldOut)
        if not found and learned is not None:
            found = list(self.by_the_net(learned))
        yield from found

    def by_the_net(self, found: HeldOut) -> Iterator[Finding]:
        """The net knows train images that it was not trained on, and of val's far fewer."""
        if not found.comparable or found.renumberable:
            return
        carried = found.val - found.val_chance
        z = (found.known - carried) / (0.25 / found.images + 0.25 / found.val_images) ** 0.5
        if carried < (1 - self.lost) * found.known and z > self.sure:
            yield self.finding(
                "val inputs",
                chance=float(norm.sf(z)),
                train=f"{found.train:.0%} of {found.images} images held out from a short training",
                val=f"{found.val:.0%} of {found.val_images}",
                fix=FIX,
            )

    def carried(self, found: Learnable) -> Iterator[Finding]:
        """Either side can be learned, and what is learned on train says little on val."""
        if found.confusion is None or min(found.tested, found.tested_val) < 100:
            return
        rows, columns = linear_sum_assignment(-found.confusion.numpy())
        across = float(found.confusion[rows, columns].sum()) / found.tested_val
        within = min(found.train, found.val_within)
        error = (0.25 / found.tested + 0.5 / found.tested_val) ** 0.5
        if across < found.chance + (1 - self.lost) * (within - found.chance) and within > across:
            yield self.finding(
                "val inputs",
                chance=float(norm.sf((within - across) / error)),
                within=f"{found.train:.0%} accuracy of a plain classifier on held-out train, "
                f"{found.val_within:.0%} on held-out val",
                across=f"{across:.0%} from train to val, whatever the classes are called",
                fix=FIX,
            )

    def moments(self, a: Tensor, b: Tensor, steady: bool) -> Iterator[Finding]:
        fa, fb = a.flatten(1), b.flatten(1)
        ma, mb, sa, sb = float(fa.mean()), float(fb.mean()), float(fa.std()), float(fb.std())
        means = torch.cat([fa.mean(1) - ma, fb.mean(1) - mb])
        error = float(means.std()) * (1 / len(a) + 1 / len(b)) ** 0.5
        shift = abs(ma - mb) / max(min(sa, sb), 1e-12)
        certain = abs(ma - mb) > self.sure * max(error, 1e-12)
        ratio = max(sa, sb) / max(min(sa, sb), 1e-12)
        said: dict[str, Any] = {
            "train": f"mean {ma:.3g}, standard deviation {sa:.3g}",
            "val": f"mean {mb:.3g}, standard deviation {sb:.3g}",
        }
        offset = self.plain_offset if steady else self.offset
        scale = self.plain_scale if steady else self.scale
        if (shift > offset and certain) or ratio > scale:
            spreads = [x.std(1).clamp_min(1e-12).log() for x in (fa, fb)]
            wide = float(torch.cat([s - s.mean() for s in spreads]).std())
            turns = abs(float(spreads[0].mean() - spreads[1].mean())) / max(
                wide * (1 / len(a) + 1 / len(b)) ** 0.5, 1e-9
            )
            z = max(abs(ma - mb) / max(error, 1e-12), turns)
            yield self.finding("val inputs", chance=float(4 * norm.sf(z)), fix=FIX, **said)
            return
        if a.ndim != 4 or min(a.shape[2:]) < 4:
            if a.ndim == 2:
                yield from self.features(fa, fb)
            return
        turned = list(self.reversed(a, b))
        yield from turned or (self.beyond(a, b) if steady else [])

    def beyond(self, a: Tensor, b: Tensor) -> Iterator[Finding]:
        """Numbers of single images that lie beyond train's for most of val."""
        if min(len(a), len(b)) < 100:
            return
        for name, number in (("contrast", contrasts), ("share of fine detail", fineness)):
            ta, tb = number(a), number(b)
            low, high = torch.quantile(ta, torch.tensor([0.01, 0.99]))
            below, above = float((tb < low).float().mean()), float((tb > high).float().mean())
            if max(below, above) > self.outside:
                yield self.finding(
                    "val inputs",
                    severity="warning",
                    chance=float(binom.sf(round(max(below, above) * len(tb)) - 1, len(tb), 0.05)),
                    beyond=f"{max(below, above):.0%} of val images have a {name} "
                    f"{'below' if below > above else 'above'} 99% of train's",
                    train=f"median {float(ta.median().exp()):.3g}",
                    val=f"median {float(tb.median().exp()):.3g}",
                    fix=FIX,
                )
                return

    def features(self, a: Tensor, b: Tensor) -> Iterator[Finding]:
        """Single features that moved."""
        pooled = torch.cat([a - a.mean(0), b - b.mean(0)]).std(0).clamp_min(1e-6)
        gap = (a.mean(0) - b.mean(0)).abs() / pooled
        ratio = (a.std(0) + 1e-6) / (b.std(0) + 1e-6)
        moved = (gap > 1.0) | (
            (ratio.log().abs() > 1.1) & (torch.minimum(a.std(0), b.std(0)) > 1e-3)
        )
        if float(moved.float().mean()) > 0.3:
            worst = int(gap.argmax())
            spread = ratio.log().abs() * (2 / len(a) + 2 / len(b)) ** -0.5
            z = torch.maximum(gap / (1 / len(a) + 1 / len(b)) ** 0.5, spread).max()
            yield self.finding(
                f"val input feature {worst}",
                chance=min(1.0, float(2 * a.shape[1] * norm.sf(float(z)))),
                moved=f"{float(moved.float().mean()):.0%} of the features",
                train=f"mean {float(a.mean(0)[worst]):.3g}",
                val=f"mean {float(b.mean(0)[worst]):.3g}",
                fix=FIX,
            )

    def reversed(self, a: Tensor, b: Tensor) -> Iterator[Finding]:
        """Signed contrasts that are plain in train and have the opposite sign in val."""
        half = a.shape[2] // 2
        views = {
            "the first color against the last": lambda x: (
                x[:, 0].mean((1, 2)) - x[:, -1].mean((1, 2))
            ),
            "the upper half against the lower": lambda x: (
                x[:, :, :half].mean((1, 2, 3)) - x[:, :, -half:].mean((1, 2, 3))
            ),
        }
        for name, view in views.items():
            (ma, za), (mb, zb) = contrast(view(a)), contrast(view(b))  # type: ignore[no-untyped-call]
            if (
                min(abs(za), abs(zb)) > self.sure
                and ma * mb < 0
                and min(abs(ma), abs(mb)) > 0.3 * max(abs(ma), abs(mb))
            ):
                yield self.finding(
                    "val inputs",
                    chance=float(2 * len(views) * norm.sf(min(abs(za), abs(zb)))),
                    contrast=name,
                    train=f"{ma:+.3g} ({za:+.0f} standard errors)",
                    val=f"{mb:+.3g} ({zb:+.0f} standard errors)",
                    fix=FIX,
                )
                return
        map_a, map_b = (t.mean(0).flatten() - t.mean() for t in (a, b))
        noise = (a.var(0).mean() / len(a) + b.var(0).mean() / len(b)).clamp_min(1e-20)
        structure = min(float(map_a.square().mean()), float(map_b.square().mean())) / float(noise)
        agree = float(torch.nn.functional.cosine_similarity(map_a, map_b, dim=0))
        if structure > 8 and agree < -0.4:
            yield self.finding(
                "val inputs",
                map=f"the mean images of train and val correlate at {agree:+.2f}",
                fix=FIX,
            )

"""How often does chance alone make the doctor speak?

python -m benchmarks.check.false_alarms > benchmarks/results/check_chance.jsonl

Random small programs in which every null hypothesis of the statistical rules is true: train and
val are drawn alike and apart, classes are equally likely, batches are shuffled, labels follow from
the inputs, dropout is torch's. Only the draw differs from program to program, so each finding of
a statistical rule, advice too, is a false alarm; Holm's step-down promises at most 1 report in 100
that has one. Findings of the other rules, errors and warnings, are counted beside it.

One JSON line: the number of reports, those with a false alarm, its Wilson interval, which rules.
"""

import argparse
import json
import os
import random
import time
from collections import Counter
from typing import Any

import torch
from benchmarks.check.assemble import adam, assemble, sgd
from benchmarks.check.data import Data
from benchmarks.check.goodfit_doctor import report
from benchmarks.check.nets import PlainCNN, mlp
from benchmarks.check.program import Pieces
from torch import Tensor, nn

from goodfit.metrics.intervals import wilson


def drawn(seed: int) -> Pieces:
    """A program drawn at random, with nothing wrong in it."""
    choose = random.Random(seed)
    torch.manual_seed(seed)
    classes = choose.randint(2, 10)
    sizes = [choose.randint(300, 1500), choose.randint(120, 500), 100]
    images = choose.random() < 0.4
    channels, side = choose.choice([1, 3]), choose.choice([8, 12])
    shape = (channels, side, side) if images else (choose.randint(6, 40),)
    data = _data(choose, classes, shape, sizes)
    if images:
        model: nn.Module = PlainCNN(channels, classes)
    else:
        widths = [shape[0], *[choose.choice([16, 32, 64])] * choose.randint(1, 3), classes]
        model = mlp(widths, norm=choose.random() < 0.3)
        if choose.random() < 0.5:
            model = nn.Sequential(*model[:-1], nn.Dropout(choose.uniform(0.05, 0.5)), model[-1])
    optimizer = adam(model) if choose.random() < 0.5 else sgd(model, 0.02)
    return assemble(model, data, optimizer, size=choose.choice([16, 32, 64]), steps=100, seed=seed)


def _data(choose: random.Random, classes: int, shape: tuple[int, ...], sizes: list[int]) -> Data:
    """Each class a cloud of its own, or two: far enough apart to be told."""
    clouds = torch.randn(classes, choose.randint(1, 2), *shape)
    if len(shape) == 3:
        clouds = nn.functional.avg_pool2d(clouds.flatten(0, 1), 3, 1, 1).view(clouds.shape) * 2
    noise, n = choose.uniform(0.3, 0.8), sum(sizes)
    y = torch.randint(classes, (n,))
    x = clouds[y, torch.randint(clouds.shape[1], (n,))] + noise * torch.randn(n, *shape)
    xs, ys = x.split(sizes), y.split(sizes)
    pairs: list[Tensor] = [part for pair in zip(xs, ys, strict=True) for part in pair]
    return Data(*pairs)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--programs", type=int, default=1000)
    ask.add_argument("--first", type=int, default=0, help="the first seed")
    args = ask.parse_args()
    torch.set_num_threads(1)
    chance, others = Counter[str](), Counter[str]()
    alarmed: list[tuple[int, list[str]]] = []
    start = time.perf_counter()
    for seed in range(args.first, args.first + args.programs):
        said = report(drawn(seed))
        found = said.findings + said.explained
        by_chance = sorted({f.rule for f in found if f.chance is not None})
        chance.update(by_chance)
        others.update({f.rule for f in found if f.chance is None and f.severity != "advice"})
        alarmed += [(seed, by_chance)] if by_chance else []
    share = wilson(len(alarmed), args.programs)
    row: dict[str, Any] = {"reports": args.programs, "with_false_alarm": len(alarmed)}
    row |= {"share": share.value, "low": share.low, "high": share.high, "rules": dict(chance)}
    row |= {"seeds": alarmed, "other_rules": dict(others), "promised": 0.01}
    row |= {"seconds": round(time.perf_counter() - start), "cores": os.cpu_count()}
    print(json.dumps(row | {"torch": torch.__version__}))


if __name__ == "__main__":
    main()

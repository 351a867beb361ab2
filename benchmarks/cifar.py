"""How accurate is `small-fast` after how many seconds of training, and airbench94 on this machine?

Every point of the curve is a run of its own with its schedule shortened to so many epochs. Ours is
the shipped recipe through `train`, every random choice inside. The other side is airbench94's
published net and recipe in our pieces: SGD in decoupled form, a triangular rate, lookahead,
flipped and shifted views at test time; in the faster of float32 and bfloat16 if asked. Both train
on the same nine tenths of the training images; the rest is `held_out`, on which the recipe was
chosen. With --all both train on every training image, as one does once the choices are made.
Seconds are those of training, without reading the files and without testing. Every run prints a
line of its own, and then all seeds of one length together.

python benchmarks/cifar.py --data cifar10/ --epochs 7 14 --seeds 3 >> benchmarks/results/cifar.jsonl
python benchmarks/cifar.py --data cifar10/ --side airbench94 --epochs 4 8 --seeds 3 >> ...

Source of the other side: Jordan 2024, arXiv:2404.00498.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from math import ceil, isfinite, nan
from statistics import mean, stdev
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from goodfit.augment.alternating_flip import AlternatingFlip
from goodfit.augment.pad_and_crop import PadAndCrop
from goodfit.augment.pipeline import Pipeline
from goodfit.data import guess
from goodfit.data.loader import Loader
from goodfit.init.patch_whitening import PatchWhitening
from goodfit.models.fast_net import FastNet
from goodfit.predict import Classifier, predict
from goodfit.preprocess.channel_stats import ChannelStats
from goodfit.run.machine import synchronize
from goodfit.run.start import train

BATCH, MOMENTUM, RATE, DECAY, BIAS = 1024, 0.85, 11.5, 0.0153, 64.0
SYNC = 5  # steps between two of lookahead


class Found(NamedTuple):
    held_out: float  # accuracy on training images that were left out; nan with --all
    test: float
    seconds: float  # of training


def arguments() -> argparse.Namespace:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--data", help="CIFAR-10 as folders train/ and test/, or .npz")
    ask.add_argument("--side", choices=["small-fast", "airbench94"], default="small-fast")
    ask.add_argument("--epochs", type=float, nargs="+", default=[14.0])
    ask.add_argument("--seeds", type=int, default=3)
    ask.add_argument("--first", type=int, default=0, help="the first seed")
    ask.add_argument("--bfloat16", action="store_true")
    ask.add_argument("--device", default="cpu")
    ask.add_argument("--all", action="store_true", help="hold nothing out of the training images")
    return ask.parse_args()


def ours(
    data: str, epochs: float, seed: int, bfloat16: bool, everything: bool, device: str
) -> Found:
    """The shipped recipe."""
    precision = "bfloat16" if bfloat16 else "float32"
    changes = (f"train.epochs={epochs}", f"train.seed={seed}", f"evaluate.every={epochs}")
    changes += (f"train.precision={precision}", "train.channels_last=true")
    changes += ("data.val=0",) if everything else ()
    with tempfile.TemporaryDirectory() as runs:
        run = train("small-fast", data, changes=changes, runs=runs, device=device)
        held_out = nan if everything else run.result["validation"]["accuracy"]["value"]
        return Found(held_out, run.accuracy, float(run.result["train_seconds"]))


def theirs(
    data: str, epochs: float, seed: int, bfloat16: bool, everything: bool, device: str
) -> Found:
    """airbench94's net and recipe."""
    torch.manual_seed(seed)
    splits = guess(data, val=0.0)() if everything else guess(data)()
    loader = Loader(splits.train, BATCH, shuffle=True, drop_last=True, seed=seed, device=device)
    tests = Loader(splits.test, 500, device=device)
    first = torch.cat([batch.images.cpu() for _, batch in zip(range(5), loader, strict=False)])
    for _ in loader.at(0, 0):  # every file is decoded: that is no training
        pass
    loader.at(0, 0)
    start = time.perf_counter()
    settings = FastNet(widths=(64, 256, 256), activation="gelu")
    net = settings(len(splits.train.classes))
    net.head.reset_parameters()
    net.scale = 1 / 9
    stats = ChannelStats().fitted(first)
    model = Classifier(stats(), net, splits.train.classes)
    PatchWhitening()(net, model.preprocess(first))
    model.to(device, memory_format=torch.channels_last)
    _train(model, net, loader, ceil(epochs * len(loader)), seed, bfloat16)
    seconds = time.perf_counter() - start
    held_out = nan if everything else _accuracy(model, Loader(splits.val, 500, device=device))
    return Found(held_out, _accuracy(model, tests), seconds)


def _accuracy(model: Classifier, loader: Loader) -> float:
    """Six views of each image, as airbench's."""
    hits = 0
    for batch in loader:
        rows = predict(model, batch.images, views="flip*shift", average="logits")
        hits += int((rows.argmax(1) == batch.targets.argmax(1)).sum())
    return hits / len(loader.source)


def _train(
    model: Classifier, net: nn.Module, loader: Loader, steps: int, seed: int, bfloat16: bool
) -> None:
    unit = 1024 * (1 + 1 / (1 - MOMENTUM))  # makes rate and decay independent of the momentum
    rate, decay = RATE / unit, DECAY * BATCH / unit
    shifts = [m.bias for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    known = {id(p) for p in shifts}
    others = [p for p in net.parameters() if p.requires_grad and id(p) not in known]
    groups = [
        {"params": shifts, "lr": rate * BIAS, "weight_decay": decay / (rate * BIAS)},
        {"params": others, "lr": rate, "weight_decay": decay / rate},
    ]
    optimizer = torch.optim.SGD(groups, momentum=MOMENTUM, nesterov=True)
    peaks = [group["lr"] for group in groups]
    slow = {name: value.clone() for name, value in net.state_dict().items()}
    change = Pipeline([AlternatingFlip(), PadAndCrop(pad_pixels=2)], seed)
    rise, number = int(0.23 * steps), 0
    model.train()
    while number < steps:
        for batch in loader:
            net.whiten.bias.requires_grad_(number < 3 * len(loader))
            up, down = number / max(1, rise), (number - rise) / (steps - rise)
            factor = 0.2 + 0.8 * up if number < rise else 1 - 0.93 * down
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * factor
            batch = change(batch)
            with torch.autocast(batch.images.device.type, torch.bfloat16, enabled=bfloat16):
                logits = model(batch.images).float()
            loss = F.cross_entropy(logits, batch.targets, label_smoothing=0.2, reduction="sum")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            number += 1
            if number % SYNC == 0 or number == steps:
                keep = 0.95**SYNC * (number / steps) ** 3 if number < steps else 1.0
                _look_ahead(net, slow, keep)
            if number == steps:
                synchronize(batch.images.device)
                return


@torch.no_grad()
def _look_ahead(net: nn.Module, slow: dict[str, torch.Tensor], keep: float) -> None:
    for name, value in net.state_dict().items():
        if value.is_floating_point():
            slow[name].lerp_(value, 1 - keep)
            value.copy_(slow[name])


def main() -> None:
    args = arguments()
    if args.data is None:
        print("nothing measured: cifar.py needs --data, CIFAR-10 as a folder", file=sys.stderr)
        return
    run = ours if args.side == "small-fast" else theirs
    about = {"side": args.side, "as": "bfloat16" if args.bfloat16 else "float32"}
    machine = f"{os.cpu_count()} CPU cores, {torch.get_num_threads()} threads, "
    machine += torch.backends.cpu.get_cpu_capability()
    about |= {"machine": torch.cuda.get_device_name() if args.device == "cuda" else machine}
    about |= {"torch": torch.__version__, "images": "all" if args.all else "nine tenths"}
    for epochs in args.epochs:
        found = []
        for seed in range(args.first, args.first + args.seeds):
            found.append(run(args.data, epochs, seed, args.bfloat16, args.all, args.device))
            row = {"what": "one run", "epochs": epochs, "seed": seed} | _rounded(found[-1])
            print(json.dumps(row | about), flush=True)
        together = Found(*(mean(values) for values in zip(*found, strict=True)))
        row = {"what": "accuracy after seconds", "epochs": epochs, "seeds": len(found)}
        row |= _rounded(together)
        row["sd"] = round(stdev(one.test for one in found), 4) if len(found) > 1 else None
        print(json.dumps(row | about), flush=True)


def _rounded(found: Found) -> dict[str, float]:
    places = {"held_out": 4, "test": 4, "seconds": 1}
    known = {name: value for name, value in found._asdict().items() if isfinite(value)}
    return {name: round(value, places[name]) for name, value in known.items()}


if __name__ == "__main__":
    main()

"""How long is an epoch of small images, end to end, and how much of it is not the training step?

The sides train the same net on the same uint8 images with padded crops and flips, in turns, in one
process: `fit` with our loader and whole-batch augmentation; the bare step on one prepared batch
that stays in memory, in our precision and layout; and those of `epoch_peers.py`, as far as they
are installed: the loop of the torchvision references (DataLoader with workers, per-image
transforms on PIL images) as it is and tuned, fastai, Composer, and timm's train.py.

python benchmarks/epoch.py --data cifar10/ >> benchmarks/results/epoch.jsonl

Without --data the images are noise, which costs the same. Images per second are medians over the
rounds; the spread is their interquartile range over the median.
"""

import argparse
import json
import os
import platform
import time
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median, quantiles

import numpy as np
import torch
import torchvision
from torch import Tensor, nn

from epoch_peers import MEAN, STD, Epoch, composer, fastai, loader, sgd, timm, torchvision_loop
from goodfit.augment.flip import Flip
from goodfit.augment.pad_and_crop import PadAndCrop
from goodfit.augment.pipeline import Pipeline
from goodfit.batch import as_float
from goodfit.data import guess
from goodfit.data.arrays import Arrays
from goodfit.data.loader import Loader
from goodfit.fit import fit
from goodfit.models.resnet import ResNet
from goodfit.predict import Classifier
from goodfit.preprocess.channel_stats import ChannelStats
from goodfit.run.machine import measured, synchronize

NETS = {
    "tiny resnet": ResNet(depth=8, width=10),  # the CIFAR ResNet-8, narrow
    "resnet-18": ResNet(depth=18, stem="full"),  # with ImageNet's stem, as people do first
}
PEERS = {"timm": "timm", "fastai": "fastai", "composer": "mosaicml"}
VERSIONS = {name: version(wheel) for name, wheel in PEERS.items() if find_spec(name)}


def arguments() -> argparse.Namespace:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--data", help="folder or .npz of images; noise if left out")
    ask.add_argument("--batch", type=int, default=128)
    ask.add_argument("--images", type=int, default=6400, help="per side and round")
    ask.add_argument("--rounds", type=int, default=5)
    ask.add_argument("--workers", type=int, default=2, help="of the DataLoader")
    ask.add_argument("--net", choices=NETS, action="append")
    ask.add_argument("--compile", action="store_true", help="ours, as `train` does in long runs")
    ask.add_argument("--device", default="cpu")
    ask.add_argument("--timm", type=Path, help="timm's train.py, which its wheel does not hold")
    return ask.parse_args()


def pixels(data: str | None, count: int) -> tuple[Tensor, Tensor]:
    """`count` images (n, 3, h, w) as uint8 and their class numbers."""
    if data is None:
        noise = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=noise)
        return images, torch.arange(count) % 10
    source = guess(data)().train
    places = torch.linspace(0, len(source) - 1, count).long().tolist()
    found = [source[place] for place in places]
    return torch.stack([image for image, _ in found]), torch.tensor([label for _, label in found])


def multiplications(net: nn.Module, side: int) -> float:
    """Millions of multiplications for one image in convolutions and linear layers."""
    total = 0

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        nonlocal total
        total += layer.weight.numel() * output[0].numel() // output.shape[1]

    layers = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    net.eval()(torch.zeros(1, 3, side, side))
    for hook in hooks:
        hook.remove()
    return total / 1e6


def ours(
    settings: ResNet, images: Tensor, labels: Tensor, batch: int, compiles: bool, device: str
) -> tuple[Epoch, Epoch, str]:
    """`fit` with the loader, and the bare step in the same precision and layout."""
    data = Arrays(images=images.numpy(), labels=labels.numpy(), val=0.0, test=0.0)
    source = data().train
    net = Classifier(ChannelStats(mean=MEAN, std=STD)(), settings(10), source.classes).to(device)
    loader = Loader(source, batch, shuffle=True, drop_last=True, device=device)
    first = next(iter(loader))
    speed = measured(
        net,
        first.images,
        first.targets,
        nn.functional.cross_entropy,
        [torch.float32, torch.bfloat16],
        [False, True],
    )
    layout = torch.channels_last if speed.channels_last else torch.contiguous_format
    net = net.to(memory_format=layout)
    model = torch.compile(net) if compiles else net
    optimizer = sgd(net)
    loader.at(0, 0)
    changes = Pipeline([PadAndCrop(pad_pixels=4), Flip()], compile=compiles)

    def epoch() -> tuple[int, float]:
        start = time.perf_counter()
        trained = fit(
            model,
            loader,
            optimizer=optimizer,
            loss=nn.functional.cross_entropy,
            steps=len(loader),
            augment=changes,
            precision=speed.precision,
        )
        count = sum(step.images for step in trained)
        synchronize(torch.device(device))
        return count, time.perf_counter() - start

    bare: nn.Module = settings(10).to(device, memory_format=layout)
    bare_optimizer = sgd(bare)
    bare = torch.compile(bare) if compiles else bare
    inputs = as_float(first.images).contiguous(memory_format=layout)

    def steps() -> tuple[int, float]:
        start = time.perf_counter()
        bare.train()
        for _ in range(len(loader)):
            enabled = speed.precision != torch.float32
            with torch.autocast(device, speed.precision, enabled=enabled):
                loss = nn.functional.cross_entropy(bare(inputs), first.targets)
            loss.backward()
            bare_optimizer.step()
            bare_optimizer.zero_grad()
        synchronize(torch.device(device))
        return len(loader) * batch, time.perf_counter() - start

    how = f"{str(speed.precision)[6:]}, channels {'last' if speed.channels_last else 'first'}"
    how += ", compiled" if compiles else ""
    return epoch, steps, how


def peers(args: argparse.Namespace, images: Tensor, labels: Tensor, name: str) -> dict[str, Epoch]:
    """All other sides that can be had here."""
    nets = partial(NETS[name], 10)
    batches = loader(images, labels, args.batch, args.workers, args.device)
    tuned = torchvision_loop(nets, batches, args.device, tuned=True)
    found = {
        "torchvision": torchvision_loop(nets, batches, args.device),
        "torchvision, bfloat16, channels last": tuned,
    }
    if args.device != "cpu":  # the others are asked on a CPU alone
        return found
    if find_spec("fastai"):
        found["fastai"] = fastai(nets, images, labels, args.batch, args.workers)
    if find_spec("composer"):
        found["composer"] = composer(nets, batches)
    if args.timm and name == "resnet-18":
        found |= timm(args.timm, images, labels, args.batch, args.workers)
    return found


def main() -> None:
    args = arguments()
    images, labels = pixels(args.data, args.images)
    machine = f"{os.cpu_count()} CPU cores, {torch.backends.cpu.get_cpu_capability()}"
    if args.device == "cuda":
        torch.backends.cudnn.benchmark = True  # for all sides
        machine = f"{torch.cuda.get_device_name()}, {os.cpu_count()} CPU cores"
    for name in args.net or NETS:
        torch.manual_seed(0)
        fast, bare, how = ours(NETS[name], images, labels, args.batch, args.compile, args.device)
        sides = {"goodfit": fast, "step alone": bare} | peers(args, images, labels, name)
        rates: dict[str, list[float]] = {side: [] for side in sides}
        names = list(sides)
        for turn in range(args.rounds + 1):
            for side in names[turn % len(names) :] + names[: turn % len(names)]:
                count, seconds = sides[side]()
                if turn:  # the first round builds plans and caches
                    rates[side].append(count / seconds)
        middle = {side: median(found) for side, found in rates.items()}
        for side, found in rates.items():
            low, _, high = quantiles(found, n=4) if len(found) > 1 else (found[0],) * 3
            row = {"what": name, "side": side, "images_per_second": round(middle[side])}
            row |= {"spread": round((high - low) / middle[side], 3), "rounds": len(found)}
            row |= {"goodfit_over_this": round(middle["goodfit"] / middle[side], 3)}
            row |= {"mmac": round(multiplications(NETS[name](10), 32), 1), "batch": args.batch}
            row |= {"goodfit_as": how, "data": "files" if args.data else "noise"}
            row |= {"machine": machine, "python": platform.python_version()}
            row |= {"torch": torch.__version__, "torchvision": torchvision.__version__}
            row |= {"numpy": np.__version__} | VERSIONS
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()

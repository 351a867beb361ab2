"""How long is an epoch of small images, end to end, and how much of it is not the training step?

Three sides train the same net on the same uint8 images with padded crops and flips, in turns, in
one process: `fit` with our loader and whole-batch augmentation; the loop of the torchvision
references (DataLoader with workers, per-image transforms on PIL images, float32); and the bare
step on one prepared batch that stays in memory, in our precision and layout.

python benchmarks/epoch.py --data cifar10/ >> benchmarks/results/epoch.jsonl

Without --data the images are noise, which costs the same. Images per second are medians over the
rounds; the spread is their interquartile range over the median.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from statistics import median, quantiles
from typing import NamedTuple

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from goodfit.augment.flip import Flip
from goodfit.augment.pad_and_crop import PadAndCrop
from goodfit.batch import as_float
from goodfit.data import guess
from goodfit.data.arrays import Arrays
from goodfit.data.loader import Loader
from goodfit.fit import fit
from goodfit.models.resnet import ResNet
from goodfit.predict import Classifier
from goodfit.preprocess.channel_stats import ChannelStats
from goodfit.run.machine import measured

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
NETS = {
    "tiny resnet": ResNet(depth=8, width=10),  # the CIFAR ResNet-8, narrow
    "resnet-18": ResNet(depth=18, stem="full"),  # with ImageNet's stem, as people do first
}


class Side(NamedTuple):
    """One way to train, and what it did."""

    name: str
    run: Callable[[], int]  # trains for a while and returns the number of images


def arguments() -> argparse.Namespace:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--data", help="folder or .npz of images; noise if left out")
    ask.add_argument("--batch", type=int, default=128)
    ask.add_argument("--images", type=int, default=6400, help="per side and round")
    ask.add_argument("--rounds", type=int, default=5)
    ask.add_argument("--workers", type=int, default=2, help="of the DataLoader")
    ask.add_argument("--net", choices=NETS, action="append")
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


def sgd(net: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, nesterov=True)


class ImageSet(Dataset[tuple[Tensor, int]]):
    """What torchvision's CIFAR10 does: arrays in memory, a PIL image for each access."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images = images.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels = labels.tolist()
        steps = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]
        steps += [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
        self.change = transforms.Compose(steps)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        return self.change(Image.fromarray(self.images[place])), self.labels[place]


def ours(settings: ResNet, images: Tensor, labels: Tensor, batch: int) -> tuple[Side, Side, str]:
    """`fit` with the loader, and the bare step in the same precision and layout."""
    data = Arrays(images=images.numpy(), labels=labels.numpy(), val=0.0, test=0.0)
    source = data().train
    net = Classifier(ChannelStats(mean=MEAN, std=STD)(), settings(10), source.classes)
    loader = Loader(source, batch, shuffle=True, drop_last=True)
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
    optimizer = sgd(net)
    loader.at(0, 0)

    def epoch() -> int:
        changes = [PadAndCrop(pad_pixels=4), Flip()]
        trained = fit(
            net,
            loader,
            optimizer=optimizer,
            loss=nn.functional.cross_entropy,
            steps=len(loader),
            augment=changes,
            precision=speed.precision,
        )
        return sum(step.images for step in trained)

    bare = settings(10).to(memory_format=layout)
    bare_optimizer = sgd(bare)
    inputs = as_float(first.images).contiguous(memory_format=layout)

    def steps() -> int:
        bare.train()
        for _ in range(len(loader)):
            enabled = speed.precision != torch.float32
            with torch.autocast("cpu", speed.precision, enabled=enabled):
                loss = nn.functional.cross_entropy(bare(inputs), first.targets)
            loss.backward()
            bare_optimizer.step()
            bare_optimizer.zero_grad()
        return len(loader) * batch

    how = f"{str(speed.precision)[6:]}, channels {'last' if speed.channels_last else 'first'}"
    return Side("goodfit", epoch), Side("step alone", steps), how


def theirs(settings: ResNet, images: Tensor, labels: Tensor, batch: int, workers: int) -> Side:
    """The loop of torchvision's references."""
    net = settings(10)
    optimizer = sgd(net)
    loader = DataLoader(
        ImageSet(images, labels), batch, shuffle=True, drop_last=True, num_workers=workers
    )

    def epoch() -> int:
        net.train()
        for x, y in loader:
            loss = nn.functional.cross_entropy(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return len(loader) * batch

    return Side("torchvision", epoch)


def main() -> None:
    args = arguments()
    images, labels = pixels(args.data, args.images)
    machine = f"{os.cpu_count()} CPU cores, {torch.backends.cpu.get_cpu_capability()}"
    for name in args.net or NETS:
        torch.manual_seed(0)
        fast, bare, how = ours(NETS[name], images, labels, args.batch)
        sides = [fast, theirs(NETS[name], images, labels, args.batch, args.workers), bare]
        rates: dict[str, list[float]] = {side.name: [] for side in sides}
        for turn in range(args.rounds + 1):
            for side in sides[turn % 3 :] + sides[: turn % 3]:
                start = time.perf_counter()
                count = side.run()
                if turn:  # the first round builds plans and caches
                    rates[side.name].append(count / (time.perf_counter() - start))
        middle = {side: median(found) for side, found in rates.items()}
        for side, found in rates.items():
            low, _, high = quantiles(found, n=4) if len(found) > 1 else (found[0],) * 3
            row = {"what": name, "side": side, "images_per_second": round(middle[side])}
            row |= {"spread": round((high - low) / middle[side], 3), "rounds": len(found)}
            row |= {"goodfit_over_this": round(middle["goodfit"] / middle[side], 3)}
            row |= {"mmac": round(multiplications(NETS[name](10), 32), 1), "batch": args.batch}
            row |= {"as": "float32, channels first" if side == "torchvision" else how}
            row |= {"data": "files" if args.data else "noise", "machine": machine}
            row |= {"python": platform.python_version(), "torch": torch.__version__}
            row |= {"torchvision": torchvision.__version__, "numpy": np.__version__}
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()

"""How many photographs a second become training images of 224 pixels?

All sides do the same: read and decode JPEG files, a random resized crop, a random flip, and color
jitter unless --no-jitter, then normalize to float batches. They run in turns, in one process, with
as many workers as there are cores. "in memory" is the same with photographs that stay decoded.
Freed memory is kept, for all sides. Torch's own operations have one thread, as DataLoader gives
them in its workers, unless --threads gives our main thread more: the workers have the cores.

python benchmarks/decode.py imagenet-300/ >> benchmarks/results/decode.jsonl

Images per second are medians over the rounds; the spread is their interquartile range over the
median. `ratio` is goodfit's rate over the peer's. Each is given by the wall clock and by the CPU
seconds of all processes, which a machine that does other work meanwhile disturbs less.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from goodfit.augment.color_jitter import ColorJitter
from goodfit.augment.flip import Flip
from goodfit.augment.pipeline import Pipeline
from goodfit.augment.random_crop import RandomCrop
from goodfit.data import Asked, Loader
from goodfit.data._files import Files, threads
from goodfit.memory import keep_freed_memory
from goodfit.preprocess.channel_stats import ChannelStats
from goodfit.rand import Rng

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Epoch = Callable[[], Iterator[int]]


def arguments() -> argparse.Namespace:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("folder", type=Path, help="JPEG files, at any depth")
    ask.add_argument("--images", type=int, default=600, help="per side and round")
    ask.add_argument("--batch", type=int, default=64)
    ask.add_argument("--rounds", type=int, default=5)
    ask.add_argument("--threads", type=int, default=1, help="of torch's own operations")
    ask.add_argument("--no-jitter", action="store_true")
    ask.add_argument("--workers", type=int, default=threads())
    return ask.parse_args()


def ours(paths: list[Path], batch: int, jitter: bool, workers: int, hold_bytes: int) -> Epoch:
    """The loader with parts, then whole-batch augmentation and preprocessing."""
    root = Path(os.path.commonpath(paths))
    names = [str(path.relative_to(root)) for path in paths]
    files = Files(root, names, np.zeros(len(paths), np.int64), ("any",), [b""] * len(paths))
    crop = RandomCrop()

    def boxes(sizes: Tensor, asked: Asked) -> Tensor:
        return torch.stack(crop.windows(sizes, Rng(0, "random-crop", asked)), dim=1).float()

    loader = Loader(
        files,
        batch,
        size=224,
        shuffle=True,
        drop_last=False,
        boxes=boxes,
        hold_bytes=hold_bytes,
        workers=workers,
    )
    change = Pipeline([Flip(), ColorJitter(hue=0)] if jitter else [Flip()])
    normalize = ChannelStats(mean=MEAN, std=STD)()

    def epoch() -> Iterator[int]:
        for found in loader:
            yield len(normalize(change(found).images))

    return epoch


class Photos(Dataset[tuple[Tensor, int]]):
    """Opened as torchvision and timm open them."""

    def __init__(self, paths: list[Path], change: Callable[[Image.Image], Tensor]) -> None:
        self.paths, self.change = paths, change

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        with open(self.paths[place], "rb") as file:
            return self.change(Image.open(file).convert("RGB")), 0


def batches(dataset: Dataset[tuple[Tensor, int]], batch: int, workers: int) -> Epoch:
    loader = DataLoader(
        dataset, batch, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )

    def epoch() -> Iterator[int]:
        for images, _ in loader:
            yield len(images)

    return epoch


def torchvision_side(paths: list[Path], batch: int, jitter: bool, workers: int) -> Epoch:
    steps = [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip()]
    steps += [transforms.ColorJitter(0.4, 0.4, 0.4)] if jitter else []
    steps += [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    return batches(Photos(paths, transforms.Compose(steps)), batch, workers)


def timm_side(paths: list[Path], batch: int, jitter: bool, workers: int) -> Epoch:
    from timm.data import create_loader

    class Unchanged(Photos):
        transform: Callable[[Image.Image], Tensor]

        def __getitem__(self, place: int) -> tuple[Tensor, int]:
            self.change = self.transform
            return super().__getitem__(place)

    loader = create_loader(
        Unchanged(paths, lambda image: image),
        (3, 224, 224),
        batch,
        is_training=True,
        use_prefetcher=False,
        color_jitter=0.4 if jitter else None,
        interpolation="bilinear",
        num_workers=workers,
        persistent_workers=workers > 0,
        device=torch.device("cpu"),
    )

    def epoch() -> Iterator[int]:
        for images, _ in loader:
            yield len(images)

    return epoch


def albumentations_side(paths: list[Path], batch: int, jitter: bool, workers: int) -> Epoch:
    import albumentations
    import cv2
    from albumentations.pytorch import ToTensorV2

    cv2.setNumThreads(0)
    steps = [albumentations.RandomResizedCrop((224, 224)), albumentations.HorizontalFlip()]
    color = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0, "p": 1}
    steps += [albumentations.ColorJitter(**color)] if jitter else []
    change = albumentations.Compose([*steps, albumentations.Normalize(MEAN, STD), ToTensorV2()])

    class Decoded(Photos):
        def __getitem__(self, place: int) -> tuple[Tensor, int]:
            image = cv2.imread(str(self.paths[place]), cv2.IMREAD_COLOR)
            return change(image=cv2.cvtColor(image, cv2.COLOR_BGR2RGB))["image"], 0

    return batches(Decoded(paths, lambda image: image), batch, workers)


def cpu_seconds() -> float:
    """Of this process and its workers, as far as the system tells (Linux does)."""
    total = time.process_time()
    for children in Path("/proc/self/task").glob("*/children"):
        for pid in children.read_text().split():
            used = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += (int(used[11]) + int(used[12])) / os.sysconf("SC_CLK_TCK")
    return total


def main() -> None:
    args = arguments()
    keep_freed_memory()  # the peers' worker processes inherit it
    torch.set_num_threads(args.threads)
    found = sorted(
        path for path in args.folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg")
    )
    paths = (found * -(-args.images // len(found)))[: args.images]
    jitter = not args.no_jitter
    known = (paths, args.batch, jitter, args.workers)
    sides = {
        "goodfit": ours(*known, hold_bytes=0),
        "goodfit, in memory": ours(*known, hold_bytes=1 << 32),
        "torchvision": torchvision_side(*known),
        "timm": timm_side(*known),
    }
    try:
        sides["albumentations"] = albumentations_side(*known)
    except (ImportError, KeyError) as error:  # KeyError: with an OpenCV it does not know
        print(f"albumentations is left out: {error!r}", file=sys.stderr)
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for turn in range(args.rounds + 1):
        for side, epoch in sides.items():
            start = time.perf_counter(), cpu_seconds()
            images = sum(epoch())
            end = time.perf_counter(), cpu_seconds()
            if turn:  # the first round starts workers and fills memory
                rates[side].append((images / (end[0] - start[0]), images / (end[1] - start[1])))
    for side, seen in rates.items():
        row: dict[str, object] = {"what": side, "rounds": len(seen)}
        for place, clock in enumerate(("second", "cpu_second")):
            middle = {name: median(rate[place] for rate in rates[name]) for name in rates}
            low, _, high = quantiles([rate[place] for rate in seen], n=4)
            row |= {f"images_per_{clock}": round(middle[side])}
            row |= {f"spread_per_{clock}": round((high - low) / middle[side], 3)}
            row |= {f"ratio_per_{clock}": round(middle["goodfit"] / middle[side], 2)}
            in_memory = round(middle["goodfit, in memory"] / middle[side], 2)
            row |= {f"ratio_in_memory_per_{clock}": in_memory}
        row |= {"jitter": jitter, "files": len(found), "workers": args.workers}
        row |= {"threads": args.threads}
        row |= {"machine": f"{os.cpu_count()} CPU cores, {torch.backends.cpu.get_cpu_capability()}"}
        row |= {"python": platform.python_version()}
        row |= {n: version(n) for n in ("torch", "torchvision", "timm", "simplejpeg", "pillow")}
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()

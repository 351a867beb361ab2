"""How do a linear probe and fine-tuning compare with the tutorial's loop, in accuracy and seconds?

Two classes of photographs, train/ and val/ as in the tutorial, and one set of weights. The loop is
that of "Transfer Learning for Computer Vision" (Chilamkurthy, torchvision): all layers, SGD with
momentum 0.9 at 0.001, divided by ten every 7 epochs, batches of 4, random resized crops and flips;
tested after every epoch, of which each has a row, on the center 7/8. It gets channels_last, which
is faster here, and all its images decoded in memory. Ours goes through `transfer`, which divides
train/ and chooses on its own part of it; val/ is our test split, used once, and for the loop it is
what it is in the tutorial. Seconds are those of the CPU, in one thread, so that a busy machine
does not matter: of the loop without decoding and tests, of ours with everything there is, from
opening the data to the report.

python benchmarks/transfer.py --data ants-bees/ --weights lite0.safetensors >> results.jsonl
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from goodfit.data.folder import Folder
from goodfit.transfer import transfer

MOMENTUM, RATE, BATCH, STEP, DROP = 0.9, 1e-3, 4, 7, 0.1  # the tutorial's


def arguments() -> argparse.Namespace:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--data", type=Path, required=True, help="folder with train/ and val/")
    ask.add_argument("--weights", required=True, help="of the net, as safetensors")
    ask.add_argument("--arch", default="tf_efficientnet_lite0", help="timm's name of the net")
    ask.add_argument("--image-size", type=int, default=224, help="of all sides, in pixels")
    ask.add_argument("--side", action="append", help="tutorial, probe, two-phase, ...")
    ask.add_argument("--tutorial-epochs", type=int, default=25)
    ask.add_argument("--epochs", type=float, default=15, help="of our fine-tuning")
    ask.add_argument("--seed", type=int, nargs="+", default=[0])
    return ask.parse_args()


class Decoded(datasets.ImageFolder):
    """A folder whose images are decoded once, since the question is not about JPEG."""

    def __init__(self, root: Path, transform: Any) -> None:
        super().__init__(str(root), transform)
        self.kept = [self.loader(path) for path, _ in self.samples]

    def __getitem__(self, place: int) -> tuple[Any, int]:
        return self.transform(self.kept[place]), self.samples[place][1]


def tutorial(args: argparse.Namespace, seed: int) -> Iterator[dict[str, Any]]:
    """The loop: after every epoch, accuracy on val/ and seconds of training so far."""
    torch.manual_seed(seed)
    net: Any = timm.create_model(args.arch)
    net.load_state_dict(load_file(args.weights))
    mean, std = net.pretrained_cfg["mean"], net.pretrained_cfg["std"]
    net.reset_classifier(2)
    net = net.to(memory_format=torch.channels_last)
    size = args.image_size
    pixels = [transforms.ToTensor(), transforms.Normalize(mean, std)]
    random = [transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip()]
    center = [transforms.Resize(round(size * 8 / 7)), transforms.CenterCrop(size)]
    train = Decoded(args.data / "train", transforms.Compose([*random, *pixels]))
    val = Decoded(args.data / "val", transforms.Compose([*center, *pixels]))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE, momentum=MOMENTUM)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, STEP, DROP)
    seconds = 0.0
    for epoch in range(1, args.tutorial_epochs + 1):
        net.train()
        began = time.process_time()
        for images, labels in DataLoader(train, BATCH, shuffle=True):
            optimizer.zero_grad()
            criterion(net(images.to(memory_format=torch.channels_last)), labels).backward()
            optimizer.step()
        schedule.step()
        seconds += time.process_time() - began
        net.eval()
        with torch.inference_mode():
            right = sum(
                int((net(x.to(memory_format=torch.channels_last)).argmax(1) == y).sum())
                for x, y in DataLoader(val, 16)
            )
        row = {"epochs": epoch, "accuracy": round(right / len(val), 4)}
        yield row | {"cpu_seconds": round(seconds, 1), "images": len(val)}


def ours(args: argparse.Namespace, mode: Any, seed: int, folder: Path) -> dict[str, Any]:
    """One mode of `transfer`; the seed divides the images, too."""
    changes = (f"model.arch={args.arch}", f"train.seed={seed}", f"train.epochs={args.epochs}")
    changes += (f"train.image_size={args.image_size}",)
    changes += (
        "train.channels_last=true",
        "train.precision=float32",
        f"evaluate.every={args.epochs}",
    )
    began = time.process_time()
    run = transfer(
        Folder(path=folder, val=0.2, seed=seed),
        args.weights,
        mode=mode,
        changes=changes,
        runs=folder.parent / "runs",
        name=f"{mode}-{seed}",
    )
    return {
        "epochs": 0 if mode == "probe" else args.epochs,
        "accuracy": round(run.accuracy, 4),
        "cpu_seconds": round(time.process_time() - began, 1),
        "images": run.result["metrics"]["images"],
        "probe": run.directory.read("transfer.json").get("probe"),
    }


def main() -> None:
    args = arguments()
    torch.set_num_threads(1)
    about = {"image_size": args.image_size, "cores": os.cpu_count(), "torch": torch.__version__}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "data"
        folder.mkdir()
        (folder / "train").symlink_to((args.data / "train").absolute())
        (folder / "test").symlink_to((args.data / "val").absolute())
        for seed in args.seed:
            for side in args.side or ["probe", "tutorial"]:
                tuned = side == "tutorial"
                rows = tutorial(args, seed) if tuned else [ours(args, side, seed, folder)]
                for row in rows:
                    print(json.dumps({"side": side, "seed": seed} | row | about), flush=True)


if __name__ == "__main__":
    main()

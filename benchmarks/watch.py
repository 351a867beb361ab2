"""What share of the training time does the doctor's watch take?

python benchmarks/watch.py >> benchmarks/results/watch.jsonl

Small nets are the hard case: their steps are short and a look costs the same. Each is trained on
noise as `goodfit train` does it, whose watcher looks every 50 steps, with an evaluation's figures
handed to it every 100. Its own time is taken around each call and each of its hooks and set
against the whole loop's; on a CPU nothing of it runs at another time. Shares are medians over the
rounds, in processor time, so that other work on the machine does not count.
"""

import argparse
import json
import os
from collections.abc import Callable
from statistics import median
from time import process_time
from typing import Any

import torch
from torch import nn

from goodfit.augment.flip import Flip
from goodfit.augment.pad_and_crop import PadAndCrop
from goodfit.check.watch import Watcher
from goodfit.data.arrays import Arrays
from goodfit.data.loader import Loader
from goodfit.fit import fit
from goodfit.models.cnn import CNN
from goodfit.models.fast_net import FastNet
from goodfit.models.resnet import ResNet
from goodfit.predict import Classifier
from goodfit.preprocess.channel_stats import ChannelStats

NETS: dict[str, tuple[Callable[..., nn.Module], int, int, int]] = {  # channels, pixels, batch
    "cnn of digits": (CNN(widths=(32, 64), per_stage=2), 1, 8, 64),
    "tiny resnet": (ResNet(depth=8, width=10), 3, 32, 128),
    "net of small-fast": (FastNet(widths=(64, 192, 256), activation="relu"), 3, 32, 128),
    "resnet-18, small stem": (ResNet(depth=18, stem="small"), 3, 32, 32),
}


class Timed(Watcher):
    """The watcher, with the seconds that it took."""

    seconds = 0.0

    def step(self, *args: Any, **named: Any) -> Any:
        start = process_time()
        found = super().step(*args, **named)
        self.seconds += process_time() - start
        return found

    def _listen(self, name: str) -> Any:
        inner = super()._listen(name)

        def hook(*args: Any) -> None:
            start = process_time()
            inner(*args)
            self.seconds += process_time() - start

        return hook


def share(name: str, steps: int) -> tuple[float, float]:
    """The watcher's share of one run, and milliseconds per step."""
    settings, channels, side, batch = NETS[name]
    noise = torch.Generator().manual_seed(0)
    shape = (50 * batch, channels, side, side)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=noise)
    labels = torch.arange(len(images)) % 10
    source = Arrays(images=images.numpy(), labels=labels.numpy(), val=0.0, test=0.0)().train
    stats = ChannelStats(mean=[0.5] * channels, std=[0.25] * channels)()
    net = Classifier(stats, settings(10, channels), source.classes)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    watcher = Timed(net, optimizer, total=steps, chance=2.303)
    trained = fit(
        net,
        Loader(source, batch, shuffle=True, drop_last=True),
        optimizer=optimizer,
        loss=nn.functional.cross_entropy,
        steps=steps,
        augment=[PadAndCrop(pad_pixels=1), Flip()],
    )
    start = process_time()
    for step in trained:
        looked: dict[str, Any] = {}
        if step.number % 100 == 0:
            looked = {"val_loss": 2.3, "val_accuracy": 0.1}
        watcher.step(step.number, step.loss, **looked)
    seconds = process_time() - start
    return watcher.seconds / seconds, 1000 * seconds / steps


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--steps", type=int, default=400)
    ask.add_argument("--rounds", type=int, default=3)
    ask.add_argument("--net", choices=NETS, action="append")
    args = ask.parse_args()
    torch.set_num_threads(1)
    for name in args.net or NETS:
        runs = [share(name, args.steps) for _ in range(args.rounds)]
        row: dict[str, Any] = {"net": name, "share": round(median(s for s, _ in runs), 5)}
        row |= {"shares": [round(s, 5) for s, _ in runs], "promised": 0.02}
        row |= {"step_ms": round(median(ms for _, ms in runs), 2), "steps": args.steps}
        row |= {"machine": f"{os.cpu_count()} CPU cores, {torch.backends.cpu.get_cpu_capability()}"}
        print(json.dumps(row | {"torch": torch.__version__}), flush=True)


if __name__ == "__main__":
    main()

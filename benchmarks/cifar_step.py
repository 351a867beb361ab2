"""What does training with `small-fast` cost, as a share of training with airbench94?

Both nets go forward and backward in turns in one process, so other work on the machine slows both.
Ours is timed at every image size of the recipe and airbench94's with and without a gradient for
its first bias, which it freezes after three epochs. An optimizer's step costs the same for any
batch, so it is timed by itself and counted once per batch of its recipe: 1,024 images there.
airbench94's net is FastNet with widths 64, 256, 256 and GELU, in float32 or bfloat16, whichever
is faster here. The last line weighs sizes and epochs as the two recipes do: `share` is an epoch of
ours over an epoch of theirs, `of_8_epochs` our whole run over their 8 epochs.

python benchmarks/cifar_step.py >> benchmarks/results/cifar_step.jsonl
"""

import argparse
import json
import os
import time
from statistics import median, quantiles

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from goodfit.models.fast_net import FastNet
from goodfit.optim.sgd import SGD
from goodfit.recipe.read import read

THEIR_BATCH, THEIR_EPOCHS, BIAS_EPOCHS = 1024, 8, 3

ask = argparse.ArgumentParser(description=__doc__)
ask.add_argument("--batch", type=int, default=250, help="images in a timed pass")
ask.add_argument("--rounds", type=int, default=9)
ask.add_argument("--bfloat16", action="store_true", help="autocast both sides")
args = ask.parse_args()


def seconds_of(net: nn.Module, images: Tensor) -> float:
    """Forward and backward."""
    targets = torch.arange(len(images)) % 10
    net.zero_grad()
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=args.bfloat16):
        loss = F.cross_entropy(net(images).float(), targets, label_smoothing=0.2)
    loss.backward()
    return time.perf_counter() - start


def seconds_of_update(optimizer: torch.optim.Optimizer) -> float:
    start = time.perf_counter()
    optimizer.step()
    return time.perf_counter() - start


def pixels(side: int) -> Tensor:
    images = torch.randn(args.batch, 3, side, side)
    return images.contiguous(memory_format=torch.channels_last)


torch.manual_seed(0)
recipe = read("small-fast")
sizes = recipe.train.sizes or ((0.0, 32),)
ends = [start for start, _ in sizes[1:]] + [1.0]
parts = {side: end - start for (start, side), end in zip(sizes, ends, strict=True)}

ours, theirs = recipe.model(10), FastNet(widths=(64, 256, 256), activation="gelu")(10)
frozen = FastNet(widths=(64, 256, 256), activation="gelu")(10)
frozen.whiten.bias.requires_grad_(False)
cases = {("airbench94", 32): theirs, ("airbench94, bias frozen", 32): frozen}
cases |= {("small-fast", side): ours for side in parts}
for net in (ours, theirs, frozen):
    net.to(memory_format=torch.channels_last)
updates = {
    "small-fast": (recipe.optimizer(ours), recipe.train.batch_size),
    "airbench94": (SGD()(theirs), THEIR_BATCH),
}

passes: dict[tuple[str, int], list[float]] = {case: [] for case in cases}
steps: dict[str, list[float]] = {name: [] for name in updates}
for turn in range(args.rounds + 2):
    for case, net in cases.items():
        took = seconds_of(net, pixels(case[1]))
        if turn > 1:  # the first ones build plans and caches
            passes[case].append(took / args.batch)
    for name, (optimizer, batch) in updates.items():
        took = seconds_of_update(optimizer)
        if turn > 1:
            steps[name].append(took / batch)


def image_seconds(case: tuple[str, int]) -> list[float]:
    """Of each round: one image's pass and its part of an update."""
    update = steps[case[0].split(",")[0]]
    return [a + b for a, b in zip(passes[case], update, strict=True)]


found = {case: image_seconds(case) for case in cases}
trained, kept = found["airbench94", 32], found["airbench94, bias frozen", 32]
early = BIAS_EPOCHS / THEIR_EPOCHS
base = [early * a + (1 - early) * b for a, b in zip(trained, kept, strict=True)]

machine = f"{os.cpu_count()} CPU cores, {torch.get_num_threads()} threads, "
about = {"batch": args.batch, "rounds": args.rounds}
about |= {"machine": machine + torch.backends.cpu.get_cpu_capability()}
about |= {"as": "bfloat16" if args.bfloat16 else "float32", "torch": torch.__version__}
for (name, side), took in found.items():
    low, middle, high = quantiles([a / b for a, b in zip(took, base, strict=True)], n=4)
    row = {"what": name, "side": side, "images_per_second": round(1 / median(took))}
    row |= {"share": round(middle, 3), "quartiles": [round(low, 3), round(high, 3)]}
    if name in steps:
        row["update"] = round(median(steps[name]) / median(took), 3)  # share of the optimizer
    print(json.dumps(row | about))
epoch = [
    sum(part * found["small-fast", side][turn] for side, part in parts.items()) / base[turn]
    for turn in range(args.rounds)
]
low, middle, high = quantiles(epoch, n=4)
row = {"what": "small-fast, whole run", "sizes": list(sizes), "share": round(middle, 3)}
row |= {"quartiles": [round(low, 3), round(high, 3)], "epochs": recipe.train.epochs}
print(json.dumps(row | {"of_8_epochs": round(middle * recipe.train.epochs / 8, 3)} | about))

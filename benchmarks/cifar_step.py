"""What does a training step of `small-fast` cost, as a share of one of airbench94's net?

Both nets take steps in turns in one process, so other work on the machine slows both. Ours is
timed at every image size of the recipe; the last line weighs the sizes as the recipe does, which
turns epochs into seconds: an epoch of ours costs `share` of an epoch of theirs. airbench94's net is
FastNet with widths 64, 256, 256 and GELU, in float32 or bfloat16, whichever is faster here.

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

ask = argparse.ArgumentParser(description=__doc__)
ask.add_argument("--batch", type=int, default=250)
ask.add_argument("--rounds", type=int, default=7)
ask.add_argument("--bfloat16", action="store_true", help="autocast both sides")
args = ask.parse_args()


def step_time(net: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor) -> float:
    """Seconds of one update."""
    targets = torch.arange(len(images)) % 10
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=args.bfloat16):
        loss = F.cross_entropy(net(images).float(), targets, label_smoothing=0.2)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return time.perf_counter() - start


def pixels(side: int) -> Tensor:
    images = torch.randn(args.batch, 3, side, side)
    return images.contiguous(memory_format=torch.channels_last)


torch.manual_seed(0)
recipe = read("small-fast")
sizes = recipe.train.sizes or ((0.0, 32),)
ends = [start for start, _ in sizes[1:]] + [1.0]
shares = {side: end - start for (start, side), end in zip(sizes, ends, strict=True)}

theirs = FastNet(widths=(64, 256, 256), activation="gelu")(10)
sides = {("airbench94", 32): (theirs, SGD()(theirs))}
for side in shares:
    ours = recipe.model(10)
    sides["small-fast", side] = (ours, recipe.optimizer(ours))
for net, _ in sides.values():
    net.to(memory_format=torch.channels_last)

times: dict[tuple[str, int], list[float]] = {key: [] for key in sides}
for turn in range(args.rounds + 2):
    for key, (net, optimizer) in sides.items():
        took = step_time(net, optimizer, pixels(key[1]))
        if turn > 1:  # the first steps build plans and caches
            times[key].append(took)

machine = f"{os.cpu_count()} CPU cores, {torch.backends.cpu.get_cpu_capability()}"
about = {"batch": args.batch, "rounds": args.rounds, "machine": machine}
about |= {"as": "bfloat16" if args.bfloat16 else "float32", "torch": torch.__version__}
base = times["airbench94", 32]
for (name, side), found in times.items():
    low, _, high = quantiles([a / b for a, b in zip(found, base, strict=True)], n=4)
    row = {"what": name, "side": side, "images_per_second": round(args.batch / median(found))}
    row |= {"share": round(median(found) / median(base), 3), "quartiles": [low, high]}
    row["quartiles"] = [round(q, 3) for q in (low, high)]
    print(json.dumps(row | about))
whole = sum(part * median(times["small-fast", side]) for side, part in shares.items())
row = {"what": "small-fast, whole run", "sizes": list(sizes), "share": whole / median(base)}
print(json.dumps(row | {"share": round(row["share"], 3), "epochs": recipe.train.epochs} | about))

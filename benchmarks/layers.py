"""How long does each random layer take, beside torch's own of the same shape?

Forward and backward of a training step, both sides alternating in one process; `ratio` is ours
over theirs, the median of the ratios of neighboring runs. One JSON line for each layer.

python benchmarks/layers.py >> benchmarks/results/layers.jsonl
"""

import argparse
import json
import os
import platform
from collections.abc import Callable
from statistics import median, quantiles
from time import perf_counter

import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth as TorchvisionDepth

from goodfit.layers.alpha_dropout import AlphaDropout
from goodfit.layers.drop_connect import DropConnect
from goodfit.layers.dropout import Dropout
from goodfit.layers.fractional_max_pool import FractionalMaxPool2d
from goodfit.layers.stochastic_depth import StochasticDepth
from goodfit.layers.vanilla_dropout import VanillaDropout

ask = argparse.ArgumentParser(description=__doc__)
ask.add_argument("--repeats", type=int, default=41)
ask.add_argument("--threads", type=int, default=os.cpu_count())
args = ask.parse_args()
torch.set_num_threads(args.threads)

linear = nn.Linear(512, 10)


def masked_product(x: Tensor) -> Tensor:
    """DropConnect written down plainly."""
    mask = torch.rand(len(x), 10, 512) >= 0.5
    weight = mask * linear.weight / 0.5
    return torch.einsum("noi,ni->no", weight, x) + linear.bias


maps, large, features = (64, 64, 16, 16), (16, 64, 56, 56), (256, 512)
dropout = nn.Dropout(0.5)
cases: list[tuple[str, str, nn.Module, Callable[[Tensor], Tensor], tuple[int, ...]]] = [
    ("dropout", "torch dropout", Dropout(0.5), dropout, maps),
    ("dropout", "torch dropout", Dropout(0.5), dropout, large),
    ("dropout", "torch dropout", Dropout(0.5), dropout, features),
    ("vanilla-dropout", "torch dropout", VanillaDropout(0.5), dropout, maps),
    ("alpha-dropout", "torch alpha dropout", AlphaDropout(0.1), nn.AlphaDropout(0.1), maps),
    ("alpha-dropout", "torch dropout", AlphaDropout(0.1), dropout, maps),
    ("stochastic-depth", "torchvision", StochasticDepth(0.5), TorchvisionDepth(0.5, "row"), maps),
    ("stochastic-depth", "torch dropout", StochasticDepth(0.5), dropout, maps),
    ("drop-connect", "masked product", DropConnect(linear, 0.5), masked_product, features),
]
for law in ("random", "pseudorandom"):
    for over in (False, True):
        ours = FractionalMaxPool2d(law=law, overlapping=over)  # type: ignore[arg-type]
        name = f"fractional-max-pool, {law}, {'overlapping' if over else 'disjoint'}"
        theirs = nn.FractionalMaxPool2d(2, output_ratio=2**-0.5)
        cases += [(name, "torch fractional max pooling", ours, theirs, large)]
        cases += [(name, "torch dropout", ours, dropout, large)]


def seconds(layer: Callable[[Tensor], Tensor], x: Tensor, times: int) -> float:
    start = perf_counter()
    for _ in range(times):
        y = layer(x)
        y.backward(torch.ones_like(y))
        x.grad = None
    return (perf_counter() - start) / times


for name, other, mine, rival, shape in cases:
    x = torch.randn(shape, requires_grad=True)
    times = max(1, int(5e5 / x.numel()))
    runs = [(seconds(mine, x, times), seconds(rival, x, times)) for _ in range(args.repeats)]
    ratios = [a / b for a, b in runs[3:]]
    low, middle, high = quantiles(ratios, n=4)
    row = {"what": name, "beside": other, "shape": list(shape), "ratio": round(middle, 3)}
    row |= {"quartiles": [round(low, 3), round(high, 3)], "repeats": len(ratios)}
    row |= {"microseconds": round(1e6 * median(a for a, _ in runs), 1)}
    row |= {"machine": f"{platform.machine()}, {args.threads} threads", "torch": torch.__version__}
    print(json.dumps(row), flush=True)

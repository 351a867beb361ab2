"""How many images a second does prediction take, as it is and as `quickened` chose, here?

python benchmarks/predict.py --compile >> benchmarks/results/predict.jsonl
"""

import argparse
import json
import os
import platform
from statistics import median
from time import perf_counter

import torch
import torchvision
from torch import nn

from goodfit.predict import predict
from goodfit.predict.quick import quickened

ask = argparse.ArgumentParser(description=__doc__)
ask.add_argument("--device", default="cpu")
ask.add_argument("--images", type=int, default=256)
ask.add_argument("--side", type=int, default=32)
ask.add_argument("--repeats", type=int, default=5)
ask.add_argument("--compile", action="store_true")
args = ask.parse_args()

torch.manual_seed(0)
net = torchvision.models.resnet18(num_classes=10)
if args.side <= 64:  # the stem of small images
    net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
net = net.to(args.device).eval()
images = torch.rand(args.images, 3, args.side, args.side, device=args.device)
quick = quickened(net, images[:16], compile=args.compile)

took: dict[str, list[float]] = {"eager float32": [], "quickened": []}
for _ in range(args.repeats):  # in turn, so that both see the same machine
    for name, model, precision in (
        ("eager float32", net, torch.float32),
        ("quickened", quick.model, quick.precision),
    ):
        start = perf_counter()
        predict(model, images, batch_size=64, precision=precision)
        took[name].append(perf_counter() - start)

cuda = args.device == "cuda"
machine = torch.cuda.get_device_name() if cuda else f"{os.cpu_count()} cores, {platform.machine()}"
row = {"what": "predict, resnet18", "side": args.side, "how": quick.how}
row |= {f"{name}, images_per_second": round(args.images / median(t), 1) for name, t in took.items()}
row |= {"ratio": round(median(took["eager float32"]) / median(took["quickened"]), 2)}
row |= {"candidates_ms_per_image": {k: round(v * 1e3, 2) for k, v in quick.seconds.items()}}
row |= {"repeats": args.repeats, "machine": machine, "torch": torch.__version__}
row |= {"cpu": torch.backends.cpu.get_cpu_capability(), "threads": torch.get_num_threads()}
print(json.dumps(row))

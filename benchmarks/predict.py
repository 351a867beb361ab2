"""How many images a second does prediction take, as it is and as `quickened` chose, here?

python benchmarks/predict.py --compile >> benchmarks/results/predict.jsonl

The products of matrices of 1024 x 1024 in float32 say what the machine can do at most: where
eager float32 is near that already, three times as fast is out of reach in float32.
"""

import argparse
import json
import os
import platform
from collections.abc import Callable
from statistics import median
from time import perf_counter

import timm
import torch
import torchvision
from torch import nn

from goodfit.models.resnet import ResNet
from goodfit.predict import predict
from goodfit.predict.quick import quickened


def small_resnet18() -> nn.Module:
    """ResNet-18 with the stem of small images."""
    net = torchvision.models.resnet18(num_classes=10)
    net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    return net


NETS: dict[str, tuple[Callable[[], nn.Module], int, int]] = {  # net, side, batch
    "resnet-18, small stem": (small_resnet18, 32, 64),
    "resnet-18": (lambda: torchvision.models.resnet18(num_classes=10), 32, 128),
    "tiny resnet": (lambda: ResNet(depth=8, width=10)(10), 32, 256),
    "mobilenet-v3": (torchvision.models.mobilenet_v3_large, 224, 32),
    "efficientnet-lite0": (lambda: timm.create_model("efficientnet_lite0"), 224, 32),
}


def operations(net: nn.Module, images: torch.Tensor) -> int:
    """Multiplications and additions of one image in convolutions and linear layers."""
    total = 0

    def count(layer: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal total
        total += 2 * layer.weight.numel() * output[0].numel() // output.shape[1]

    layers = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.inference_mode():
        net(images[:1])
    for hook in hooks:
        hook.remove()
    return total


def peak(device: str) -> float:
    """Seconds of a product of two matrices of 1024 x 1024."""
    a = torch.rand(1024, 1024, device=device)
    start = perf_counter()
    (a @ a).sum().item()
    return perf_counter() - start


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--device", default="cpu")
    ask.add_argument("--net", choices=NETS, action="append")
    ask.add_argument("--batches", type=int, default=2)
    ask.add_argument("--repeats", type=int, default=5)
    ask.add_argument("--compile", action="store_true")
    args = ask.parse_args()
    cuda = args.device == "cuda"
    machine = f"{os.cpu_count()} cores, {platform.machine()}"
    machine = torch.cuda.get_device_name() if cuda else machine
    for name in args.net or NETS:
        torch.manual_seed(0)
        make, side, batch = NETS[name]
        net = make().to(args.device).eval()
        images = torch.rand(args.batches * batch, 3, side, side, device=args.device)
        quick = quickened(net, images[:batch], compile=args.compile)
        took: dict[str, list[float]] = {"eager float32": [], "quickened": []}
        peaks = []
        for _ in range(args.repeats):  # in turn, so that both see the same machine
            peaks.append(peak(args.device))
            for side_name, model, precision in (
                ("eager float32", net, torch.float32),
                ("quickened", quick.model, quick.precision),
            ):
                start = perf_counter()
                predict(model, images, batch_size=batch, precision=precision)
                took[side_name].append(perf_counter() - start)
        middle = {key: median(seconds) for key, seconds in took.items()}
        work = operations(net, images) * len(images) / 1e9
        row = {"what": f"predict, {name}", "side": side, "batch": batch, "how": quick.how}
        row |= {f"{k}, images_per_second": round(len(images) / t, 1) for k, t in middle.items()}
        row |= {"ratio": round(middle["eager float32"] / middle["quickened"], 2)}
        row |= {f"{k}, gflops": round(work / t, 1) for k, t in middle.items()}
        row |= {"gflops of a matrix product": round(2 * 1024**3 / 1e9 / median(peaks), 1)}
        row |= {"ms_per_image": {k: round(v * 1e3, 3) for k, v in quick.seconds.items()}}
        row |= {"repeats": args.repeats, "machine": machine, "torch": torch.__version__}
        row |= {"cpu": torch.backends.cpu.get_cpu_capability(), "threads": torch.get_num_threads()}
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()

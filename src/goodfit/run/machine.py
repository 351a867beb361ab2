"""What this machine is, and which precision and layout are fast on it: measured, never assumed."""

import os
import platform
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import goodfit

_PATIENCE = 4.0  # seconds that may go into a round of measuring
_FEW = 32  # images, below which a step is mostly preparation and its time says little


class Speed(NamedTuple):
    """How to run the steps, and the seconds that each candidate took."""

    precision: torch.dtype
    channels_last: bool
    seconds: dict[str, float]


def facts(device: torch.device) -> dict[str, Any]:
    """The machine, for machine.json."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {
        "goodfit": goodfit.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": platform.platform(),
        "device": str(device),
        "processor": name,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
        return names[0] if names else platform.machine()
    except OSError:
        return platform.processor() or platform.machine()


def measured(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    precisions: list[torch.dtype],
    layouts: list[bool],
    repeats: int = 3,
) -> Speed:
    """The fastest of the candidates for a training step of `model` on this batch.

    Times forward and backward passes, candidates in turn, on more and more of the images while
    there is time (on a GPU at once on all), and drops those that take twice as long as the best,
    four times on few images, as where bfloat16 is emulated. Gradients are dropped afterwards; use a
    copy of a model whose batch-norm statistics matter.
    """
    pairs = [(p, layout) for p in precisions for layout in layouts]
    if len(pairs) == 1:
        return Speed(*pairs[0], {})
    best = {pair: float("inf") for pair in pairs}
    sizes = _growing(len(images)) if images.device.type == "cpu" else [len(images)]
    for some in sizes:  # where it may be slow, a candidate is found out on a few images
        best = {pair: _step(model, images[:some], targets[:some], loss, *pair) for pair in best}
        least = min(best.values())
        most = (4 if some < _FEW else 2) * least
        best = {pair: took for pair, took in best.items() if took < most}
        if len(best) == 1 or 2 * least * len(best) > _PATIENCE:
            break
    for _ in range(repeats if sum(best.values()) < _PATIENCE / repeats else 0):
        for pair in best:
            best[pair] = min(best[pair], _step(model, images[:some], targets[:some], loss, *pair))
    fastest = min(
        best, key=lambda pair: best[pair] * (0.97 if pair == pairs[0] else 1)
    )  # the plain one on a tie
    seconds = {
        f"{str(p)[6:]}, channels {'last' if c else 'first'}": t for (p, c), t in best.items()
    }
    return Speed(*fastest, seconds)


def _growing(count: int) -> list[int]:
    """2, 8, 32, ... images up to `count`."""
    sizes = [size for size in (2, 8, 32, 128, 512) if size < count]
    return [*sizes, count]


def _step(
    model: nn.Module, images: Tensor, targets: Tensor, loss: Any, precision: torch.dtype, last: bool
) -> float:
    layout = torch.channels_last if last else torch.contiguous_format
    model.to(memory_format=layout)
    images = images.contiguous(memory_format=layout)
    device = images.device
    took = 0.0
    for _ in range(2):  # the first pass builds plans and caches
        synchronize(device)
        start = time.perf_counter()
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            output = model(images)
            logits = output if isinstance(output, Tensor) else output[0]
        loss(logits.float(), targets).backward()
        synchronize(device)
        took = time.perf_counter() - start
    model.zero_grad(set_to_none=True)
    return took


def synchronize(device: torch.device) -> None:
    """Wait until the device has done everything asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()

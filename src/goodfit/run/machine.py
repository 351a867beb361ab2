"""What this machine is, and which precision and layout are fast on it: measured, never assumed."""

import os
import platform
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import goodfit


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

    Times forward and backward passes, candidates in turn, and takes the minimum of each. Gradients
    are dropped afterwards; use a copy of a model whose batch-norm statistics matter.
    """
    pairs = [(p, layout) for p in precisions for layout in layouts]
    if len(pairs) == 1:
        return Speed(*pairs[0], {})
    best = {pair: float("inf") for pair in pairs}
    for turn in range(repeats):
        for pair in pairs:
            if turn and best[pair] > 3 * min(best.values()):
                continue  # hopeless, and slow: once was enough
            best[pair] = min(best[pair], _step(model, images, targets, loss, *pair))
    fastest = min(best, key=lambda pair: best[pair] * (0.97 if pair == pairs[0] else 1))
    seconds = {
        f"{str(p)[6:]}, channels {'last' if c else 'first'}": t for (p, c), t in best.items()
    }
    return Speed(*fastest, seconds)


def _step(
    model: nn.Module, images: Tensor, targets: Tensor, loss: Any, precision: torch.dtype, last: bool
) -> float:
    layout = torch.channels_last if last else torch.contiguous_format
    model.to(memory_format=layout)  # type: ignore[call-overload]
    images = images.contiguous(memory_format=layout)
    device = images.device
    took = 0.0
    for _ in range(2):  # the first pass builds plans and caches
        synchronize(device)
        start = time.perf_counter()
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            output = model(images)
            logits = output if isinstance(output, Tensor) else output[0]
        loss(logits.float(), targets).backward()  # type: ignore[no-untyped-call]
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

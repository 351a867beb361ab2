"""How the augmentation benchmarks measure: interleaved, in CPU seconds of one thread.

Everything compared runs in turn, again and again, in one process, so that what else the machine
does hits all alike; each round in a new random order, since who comes after a call that filled the
cache with its own memory finds the images cold. One thread and CPU time, so that waiting for a busy
core does not count; images per second are those of one core. Memory that one call frees is warm
for the next one, for all.
"""

import json
import os
import platform
import random
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version

import torch

from goodfit.memory import keep_freed_memory

Call = Callable[[], object]


def interleaved(calls: dict[str, Call], seconds: float, device: str = "cpu") -> dict[str, float]:
    """The median seconds of each call, all called in turn until `seconds` are over.

    CPU seconds on the CPU; elsewhere those on the clock, until the device is through.
    """
    torch.set_num_threads(1)
    keep_freed_memory()
    clock = time.process_time if device == "cpu" else _when_through
    took: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        for _ in range(1 if device == "cpu" else 5):
            call()
    turns, order = list(calls.items()), random.Random(0)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(took[next(iter(took))]) < 3:
        order.shuffle(turns)
        for name, call in turns:
            start = clock()
            call()
            took[name].append(clock() - start)
    return {name: statistics.median(times) for name, times in took.items()}


def _when_through() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


def row(what: str, side: int, images: int, took: dict[str, float], device: str = "cpu") -> str:
    """One JSON line: images per second of everyone, and ours over each of the others."""
    answer: dict[str, object] = {"what": what, "side": side, "images": images}
    answer |= {f"{name}_images_per_second": round(images / t) for name, t in took.items()}
    ours = {name: t for name, t in took.items() if name.startswith("goodfit")}
    for mine, my_time in ours.items():
        over = f"{mine.removeprefix('goodfit').strip('_')}_over".strip("_")
        answer |= {f"{over}_{n}": round(t / my_time, 2) for n, t in took.items() if n not in ours}
    if device == "cpu":
        answer |= {"threads": 1, "clock": "process CPU time", "machine": machine()}
    else:
        answer |= {"clock": "until the GPU is through", "machine": torch.cuda.get_device_name()}
    answer |= {name: version(name) for name in ("torch", "torchvision", "kornia")}
    return json.dumps(answer)


def machine() -> str:
    """The processor and how many cores of it there are."""
    try:
        with open("/proc/cpuinfo") as known:
            models = [line.partition(":")[2].strip() for line in known if "model name" in line]
    except OSError:
        models = []
    return f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores"

"""The processes that train together: one, or those that torchrun started."""

import os
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from goodfit.errors import GoodfitError
from goodfit.memory import keep_freed_memory


class World:
    """This process's rank, the number of processes, and its device."""

    def __init__(self, device: str | None = None) -> None:
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        self.device = pick_device(device, int(os.environ.get("LOCAL_RANK", "0")))
        if self.size > 1 and not dist.is_initialized():
            if self.device.type == "cuda":
                torch.cuda.set_device(self.device)
            dist.init_process_group("nccl" if self.device.type == "cuda" else "gloo")
        if self.device.type == "cpu":
            keep_freed_memory()

    @property
    def main(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def wrapped(self, model: nn.Module) -> nn.Module:
        """The model as DDP, where several processes train it."""
        if self.size == 1:
            return model
        if self.device.type == "cuda":
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        places = [self.device] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(
            model, device_ids=places, gradient_as_bucket_view=True
        )

    def agree(self, value: Any) -> Any:
        """Rank 0's value, on all processes."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(
            box, src=0, device=self.device if self.device.type == "cuda" else None
        )
        return box[0]

    def gathered(self, rows: Tensor) -> Tensor:
        """The rows of all processes, in rank order; each may bring another number of them."""
        if self.size == 1:
            return rows
        parts: list[Any] = [None] * self.size
        dist.all_gather_object(parts, rows.cpu())
        return torch.cat(parts).to(rows.device)

    def gathered_objects(self, mine: Any) -> list[Any]:
        """Every process's object, in rank order."""
        if self.size == 1:
            return [mine]
        parts: list[Any] = [None] * self.size
        dist.all_gather_object(parts, mine)
        return parts

    def close(self) -> None:
        """Leave the group."""
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()


def pick_device(name: str | None, local_rank: int = 0) -> torch.device:
    """The device called `name`, or the best there is: CUDA, then MPS, then the CPU."""
    if name in (None, "auto"):
        if torch.cuda.is_available():
            return torch.device("cuda", local_rank)
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise GoodfitError(
            f"there is no device {name!r} here",
            seen=str(error).splitlines()[0].split(". ")[0],
            fix="use --device cpu, or leave --device out to take the best there is",
        ) from None
    return torch.device("cuda", local_rank) if name == "cuda" else device

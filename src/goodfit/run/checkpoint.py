"""Checkpoints: everything a run needs to go on bit for bit; loading never executes code.

`last.pt` is the training state (weights, optimizer, averages, random state, position), written by
torch and read with `weights_only`. The weights that prediction uses are safetensors files.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from goodfit.errors import RunError
from goodfit.run.directory import _disk, replacing


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a training state; an interrupted or failed write leaves the old file intact."""
    with _disk(path), replacing(path) as beside:
        try:
            torch.save(state, beside)
        except RuntimeError as error:  # torch reports a full disk in its own way
            raise OSError(
                28, f"no space left, or the disk failed ({str(error).splitlines()[0]})"
            ) from None


def load_state(path: Path) -> dict[str, Any]:
    """Read a training state."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise RunError(
            "this run has no checkpoint yet",
            at=str(path),
            fix="train again: it ended before the first one",
        ) from None
    except Exception as error:  # a foreign file can fail in any way
        raise RunError(
            "this checkpoint is damaged or not one of goodfit's",
            at=str(path),
            seen=str(error).splitlines()[0][:120],
            fix="train again, or put an intact copy in its place",
        ) from None
    if not isinstance(state, dict) or "step" not in state:
        raise RunError(
            "this file is not a checkpoint of goodfit",
            at=str(path),
            fix="put the run's own checkpoint in its place",
        )
    return state


def save_weights(path: Path, model: nn.Module, about: dict[str, Any] | None = None) -> None:
    """Write a model's weights and buffers as safetensors, with `about` as its metadata."""
    tensors = {
        name: t.detach().cpu().contiguous().clone() for name, t in model.state_dict().items()
    }
    with _disk(path), replacing(path) as beside:
        try:
            save_file(tensors, beside, metadata={"goodfit": json.dumps(about or {})})
        except SafetensorError as error:
            raise OSError(28, str(error)) from None


def load_weights(path: Path, model: nn.Module) -> None:
    """Read weights into `model`; names and shapes must agree."""
    try:
        tensors = load_file(path)
        model.load_state_dict(tensors)
    except FileNotFoundError:
        raise RunError(
            "the run has no such weights", at=str(path), fix="finish it: `goodfit resume`"
        ) from None
    except (SafetensorError, OSError) as error:
        raise RunError(
            "these weights are damaged or not safetensors",
            at=str(path),
            seen=error,
            fix="train again",
        ) from None
    except RuntimeError as error:
        raise RunError(
            "these weights belong to another model",
            at=str(path),
            seen="; ".join(line.strip() for line in str(error).splitlines()[1:3]),
            fix="use the recipe that trained them",
        ) from None

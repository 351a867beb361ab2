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
from torch.optim import Optimizer

from goodfit.errors import RunError
from goodfit.run.directory import replacing, writing

_STATE = {"step", "model", "optimizer", "average", "random", "seconds", "best"}


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a training state; an interrupted or failed write leaves the old file intact."""
    with writing(path), replacing(path) as beside:
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


def restore(path: Path, model: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """Put a training state into model and optimizer; returns all of it."""
    state = load_state(path)
    if missing := _STATE - state.keys():
        raise RunError(
            "this file is not a checkpoint of goodfit's training",
            at=str(path),
            missing=", ".join(sorted(missing)),
            fix="put the run's own checkpoint in its place",
        )
    try:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    except (RuntimeError, ValueError, KeyError) as error:
        raise RunError(
            "this checkpoint belongs to another model or optimizer",
            at=str(path),
            seen="; ".join(line.strip() for line in str(error).splitlines()[:3])[:200],
            fix="put the run's own checkpoint in its place, or train again",
        ) from None
    return state


def random_state(device: torch.device) -> dict[str, Any]:
    """The state of torch's own generators, which random layers draw from."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random(state: dict[str, Any], device: torch.device) -> None:
    """Put the generators back where `random_state` found them."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


def save_weights(path: Path, model: nn.Module, about: dict[str, Any] | None = None) -> None:
    """Write a model's weights and buffers as safetensors, with `about` as its metadata."""
    tensors = {
        name: t.detach().cpu().contiguous().clone() for name, t in model.state_dict().items()
    }
    with writing(path), replacing(path) as beside:
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

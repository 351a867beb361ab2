"""Weights for a net, from a file or a state dict, without ever executing code."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from goodfit.errors import ModelError
from goodfit.models._stem import channels_of, first_conv

_WRAPPED = ("state_dict", "model", "state_dict_ema", "model_ema")  # what training scripts save
_PREFIXES = ("_orig_mod.", "module.")  # left behind by torch.compile and DDP
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")


def is_file(weights: str) -> bool:
    """Whether `weights` means a file rather than the name of published weights."""
    return weights.endswith(SUFFIXES) or "/" in weights or "\\" in weights


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file or of a torch checkpoint, read as data alone."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise ModelError("there is no such file of weights", at=str(path), fix="correct the path")
    try:
        if path.suffix == ".safetensors":
            state: object = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise _unreadable(path, error) from error
    except Exception as error:  # pickle raises whatever it likes on a damaged or foreign file
        raise _unreadable(path, error) from error
    for key in _WRAPPED:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ModelError(
            "the file has no table of named tensors",
            at=str(path),
            holds=type(state).__name__,
            fix="save the net's state_dict()",
        )
    return {_bare(str(name)): tensor for name, tensor in state.items()}


def load_matching(net: nn.Module, state: dict[str, Tensor], *, head: str, at: str) -> None:
    """Put `state` into `net`; only the classifier under the name `head` may stay fresh.

    The first convolution is adapted to the net's channels. Raises ModelError when anything else
    is missing, left over or of another shape.
    """
    own = net.state_dict()
    first, conv = first_conv(net)
    state = dict(state)
    weight = state.get(f"{first}.weight")
    if weight is not None and weight.ndim == 4 and weight.shape[1] != conv.in_channels:
        state[f"{first}.weight"] = channels_of(weight, conv.in_channels)
    heads = tuple(head.split(","))
    for name in [name for name in state if name.startswith(heads)]:
        if name not in own or own[name].shape != state[name].shape:
            del state[name]
    strange = [name for name in state if name not in own]
    missing = [
        n for n in own if n not in state and not n.startswith(heads) and n[-8:] != "_tracked"
    ]
    other = [n for n in state if n in own and own[n].shape != state[n].shape]
    if strange or missing or other:
        shapes = [f"{n} {tuple(state[n].shape)}, not {tuple(own[n].shape)}" for n in other]
        seen = {"missing": missing, "unknown": strange, "shape": shapes}
        raise ModelError(
            f"these weights are not those of this {type(net).__name__}",
            at=at,
            fix="choose the arch that the weights were trained with",
            **{title: _some(found) for title, found in seen.items() if found},
        )
    net.load_state_dict(state, strict=False)


def _unreadable(path: Path, error: Exception) -> ModelError:
    said = str(error).strip().splitlines() or [""]
    return ModelError(
        "the weights cannot be read without executing code, or the file is damaged",
        at=str(path),
        seen=f"{type(error).__name__}: {said[0][:120]}",
        fix="save them as safetensors, or torch.save(net.state_dict()), and copy the file again",
    )


def _bare(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

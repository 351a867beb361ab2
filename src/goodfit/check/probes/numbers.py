"""Numbers of one operation, taken while its tensors are at hand: later ones may write in place."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from goodfit.check.probes.operations import (
    AFFINE,
    CURVES,
    DROPOUTS,
    RECTIFIERS,
    SOFTMAXES,
    SQUASHERS,
)


@dataclass(frozen=True)
class Stats:
    """Numbers of one operation's output on the traced batch."""

    rms: float
    spread: float  # rms over the outputs of the standard deviation between samples
    finite: bool
    active: Tensor | None = None  # share of positive outputs per unit, for activations
    silent: Tensor | None = None  # units that are zero for every sample and place
    slope: float = 1.0  # mean |f'| over its value at unit-variance input, for squashing functions
    entropy: float = 1.0  # of softmax rows, over the logarithm of their length
    images_share: float = 1.0  # between-image share of the variance per channel


def options_of(op: str, args: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Settings that rules ask for: a dropout rate, the axis of a softmax, a kernel."""
    if op in DROPOUTS:
        return {
            "p": kwargs.get("p", args[1] if len(args) > 1 else 0.5),
            "training": kwargs.get("training", args[2] if len(args) > 2 else True),
        }
    if op in SOFTMAXES:
        return {
            "dim": kwargs.get(
                "dim", args[1] if len(args) > 1 and isinstance(args[1], int) else None
            )
        }
    if op.startswith("conv"):
        weight = kwargs.get("weight", args[1] if len(args) > 1 else None)
        groups = kwargs.get("groups", args[6] if len(args) > 6 else 1)
        source = args[0] if args else kwargs.get("input")
        return {
            "weight": tuple(weight.shape) if isinstance(weight, Tensor) else (),
            "groups": groups,
            "into": tuple(source.shape) if isinstance(source, Tensor) else (),
        }
    if op in AFFINE:
        sizes = [tuple(t.shape) for t in args if isinstance(t, Tensor)]
        return {"weight": sizes[1] if len(sizes) > 1 else (), "into": sizes[0] if sizes else ()}
    if op == "batch_norm":
        training = kwargs.get("training", args[5] if len(args) > 5 else False)
        source = args[0]
        return {
            "training": training,
            "into": tuple(source.shape),
            "noise": _batch_noise(source.detach()),
        }
    return {}


def _batch_noise(x: Tensor) -> float:
    """Independent values behind each batch statistic: the variance over that of the mean."""
    if x.ndim < 2 or len(x) < 2:
        return float(len(x))
    flat = x.float().flatten(2) if x.ndim > 2 else x.float()[..., None]
    means = flat.mean(2)
    whole = flat.transpose(0, 1).flatten(1).var(1)
    share = (means.var(0) / whole.clamp_min(1e-20)).clamp(1 / flat.shape[2], 1)
    share = share[whole > 1e-12]
    return float(len(x) / share.median()) if len(share) else float(len(x))


def slope_of(op: str, x: Tensor) -> float:
    """Mean |f'| of a squashing function on this input, over its mean on a standard normal input."""
    x = x.detach().float()
    if op in ("sigmoid", "expit"):
        slope, usual = torch.sigmoid(x) * torch.sigmoid(-x), 0.2066
    elif op == "tanh":
        slope, usual = 1 - torch.tanh(x) ** 2, 0.6057
    elif op == "softsign":
        slope, usual = (1 + x.abs()) ** -2, 0.38
    elif op == "hardsigmoid":
        slope, usual = (x.abs() < 3).float() / 6, 0.166
    else:
        slope, usual = (x.abs() < 1).float(), 0.683
    return float(slope.mean() / usual)


def attention_entropy(args: Any, kwargs: dict[str, Any]) -> float:
    """Entropy of the attention that a fused call computes inside."""
    try:
        query: Tensor = kwargs["query"] if "query" in kwargs else args[0]
        key: Tensor = kwargs["key"] if "key" in kwargs else args[1]
        scale = kwargs.get("scale") or query.shape[-1] ** -0.5
        weights = (
            (query.detach()[:8] @ key.detach()[:8].transpose(-1, -2) * scale).float().softmax(-1)
        )
        return _entropy(weights, -1)
    except Exception:
        return 1.0


def _entropy(p: Tensor, dim: int) -> float:
    if p.shape[dim] < 2:
        return 1.0
    bits = -(p * p.clamp_min(1e-30).log()).sum(dim).mean()
    return float(bits / torch.tensor(float(p.shape[dim])).log())


def stats_of(out: Tensor, op: str, slope: float = 1.0) -> Stats:
    with torch._C.DisableTorchFunction():
        out = out.float()
        finite = bool(out.isfinite().all())
        if not finite:
            out = torch.nan_to_num(out, 0.0, 0.0, 0.0)
        rms = float(out.square().mean().sqrt())
        spread = (
            float(out.var(0, correction=0).mean().sqrt()) if len(out) > 1 and out.ndim > 1 else 0.0
        )
        active = silent = None
        if op in RECTIFIERS | CURVES | SQUASHERS and out.ndim > 1:
            units = _units(out)
            active, silent = (units > 0).float().mean(0), (units == 0).all(0)
        entropy = _entropy(out, -1) if op == "softmax" and out.ndim > 2 else 1.0
    return Stats(rms, spread, finite, active, silent, slope, entropy)


def _units(out: Tensor) -> Tensor:
    """Outputs as (values, units): channels of maps, features of vectors and tokens."""
    if out.ndim >= 4 or (out.ndim == 3 and out.shape[1] > 4 * out.shape[2]):
        return out.transpose(0, 1).flatten(1).T
    return out.reshape(-1, out.shape[-1])

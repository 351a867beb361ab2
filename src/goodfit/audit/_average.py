"""Test one random module: does the average of its training outputs equal its evaluation?"""

from typing import Any

import torch
from torch import Tensor, nn

from goodfit.audit._forms import Average, Mask, Projections, TwoPoints
from goodfit.audit._watch import Inputs, cloned, seeded, tensors

_LARGE = 1_000_000  # outputs and weights of a module that gets fewer draws
_OF_LARGE = 64


def run(module: nn.Module, inputs: Inputs) -> Any:
    return module(*cloned(inputs.args), **cloned(inputs.kwargs))


def flat(output: Any) -> Tensor:
    """All outputs as one (n, values) matrix; one row if n is not plain."""
    parts = [t.detach() for t in tensors(output)]
    rows = {len(t) if t.ndim else 0 for t in parts}
    n = rows.pop() if len(rows) == 1 else 1
    n = n if n else 1
    return torch.cat([t.reshape(n, -1).float() for t in parts], 1) if parts else torch.zeros(1, 0)


def is_random(module: nn.Module, inputs: Inputs, seed: int, tries: int = 8) -> bool:
    """Whether the module, as it is, answers differently to the same input."""
    seeded(seed)
    first = flat(run(module, inputs))
    for _ in range(tries - 1):
        other = flat(run(module, inputs))
        if other.shape != first.shape:
            return True
        if (other - first).abs().max() > 1e-5 * first.abs().max().clamp_min(1e-30):
            return True
    return False


def average(module: nn.Module, inputs: Inputs, draws: int, seed: int) -> Average | None:
    """Compare `draws` training outputs with evaluation. None: shapes differ, not comparable.

    Forms are tried from the most to the least special; most give up at the first draws. Large
    modules cost more, and get at most _OF_LARGE draws.
    """
    module.eval()
    expected = flat(run(module, inputs))
    if expected.numel() + sum(p.numel() for p in module.parameters()) > _LARGE:
        draws = min(draws, _OF_LARGE)
    module.training = True  # of its own: what it holds is averaged
    try:
        for form in (Mask, TwoPoints, Projections):
            test, fits = form(expected), True
            seeded(seed)
            for _ in range(draws):
                y = flat(run(module, inputs))
                if y.shape != expected.shape:
                    return None
                fits = test.takes(y)
                if not fits or test.is_enough():
                    break
            if fits:
                return test.result()
    finally:
        module.eval()
    raise AssertionError("projections take every draw")

"""Whether a weight was written down by somebody: a blur, an edge filter, a table of sines.

An independent draw of numbers has neither ties nor neighbours that resemble each other. A filter
made by hand has: a binomial blur repeats three values, sines of a position are smooth in it.
"""

import torch
from torch import Tensor

SAMPLE = 4096  # values that ties are looked for in
DIGITS = 1e-5  # of the largest value: closer ones count as equal
LEAST = 0.3  # correlation of neighbours that is more than a chance of small weights


def designed(weight: Tensor) -> bool:
    """Whether the values have a structure that no draw has.

    Zeros and one constant everywhere are no design but an initialization that was forgotten,
    unless the constant averages: then the values of each output sum to one.
    """
    w = weight.detach().float()
    if w.ndim < 2 or not bool(w.isfinite().all()) or not bool(w.any()):
        return False
    if bool((w == w.flatten()[0]).all()):
        return abs(float(w[0].sum()) - 1) < 1e-3
    return ties(w) or smooth(w)


def ties(w: Tensor) -> bool:
    """Whether fewer than half of the sizes that are not zero are different from each other."""
    sizes = w.flatten()[:SAMPLE].abs()
    sizes = sizes[sizes > 0]
    if len(sizes) < 4:
        return False
    different = torch.unique((sizes / sizes.max() / DIGITS).round())
    return len(different) < 0.5 * len(sizes)


def smooth(w: Tensor) -> bool:
    """Whether neighbours along some dimension resemble each other more than draws do."""
    w = w - w.mean()
    for dim, size in enumerate(w.shape):
        if size < 3:
            continue
        a, b = w.narrow(dim, 0, size - 1), w.narrow(dim, 1, size - 1)
        scale = (a.square().mean() * b.square().mean()).sqrt().clamp_min(torch.finfo(w.dtype).tiny)
        if float((a * b).mean() / scale) > max(LEAST, 5 / a.numel() ** 0.5):
            return True
    return False

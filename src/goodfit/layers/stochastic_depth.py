"""Skip random residual branches, deep ones more often: training sees shorter nets.

    f(x, z) = z * x / keep_l;   z ~ Bernoulli(keep_l), one for each image
    keep_l = 1 - (l / L) * (1 - keep_L),   l = 1 .. L

x is what the l-th of L residual branches puts out, before it is added. `prob` = 1 - keep_L is how
often the deepest is skipped; 0.5 in the paper, 0.1 to 0.3 for nets of less than 50 blocks.

At test time every branch is used as it is: kept branches are scaled up in training, so the
average of a branch is exact. (The paper scales by keep_l at test instead. One of the two, never
both: where a model has stochastic depth of its own, ours takes its place.)

Works in any residual model of torchvision and timm and in your own: branches are found by the
places that blocks keep for it, or by tracing which module's output a block adds to its input.

Source: Huang et al. 2016, arXiv:1603.09382. Lecture: Regularization, Stochastic Depth.
"""

from typing import Annotated, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn

from goodfit.layers._attach import after
from goodfit.layers._base import Changed, Insertion, StochasticLayer, checked_prob
from goodfit.layers._residual import Branch, branches
from goodfit.layers._swap import no_place, replace

Kept = Bool[Tensor, " n"]


class StochasticDepth(StochasticLayer):
    """The end of a residual branch: whole images of the batch are zeroed."""

    def __init__(self, prob: float = 0.5) -> None:
        super().__init__()
        self.prob = checked_prob("stochastic-depth", prob)

    def draw(self, x: Float[Tensor, "n ..."]) -> Kept:
        return torch.rand(len(x), device=x.device) >= self.prob

    def given(self, x: Float[Tensor, "n ..."], z: Kept) -> Float[Tensor, "n ..."]:
        return x * (z * (1 / (1 - self.prob))).to(x.dtype).view(-1, *(1,) * (x.ndim - 1))

    def expect(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        return x

    def extra_repr(self) -> str:
        return f"prob={self.prob:g}"


class StochasticDepthInsertion(Insertion):
    prob: Annotated[float, Field(ge=0, lt=1)] = 0.5  # of the deepest branch
    decay: Literal["linear", "constant"] = "linear"

    def __call__(self, model: nn.Module) -> Changed:
        found, refused = branches(model)
        if not found:
            fix = "take a residual model, or end the branches of your blocks in a module"
            raise no_place(model, "residual branch that can be found", refused, fix)
        blocks = list(dict.fromkeys(branch.block for branch in found))
        for branch in found:
            depth = (blocks.index(branch.block) + 1) / len(blocks)
            prob = self.prob * (depth if self.decay == "linear" else 1)
            put(model, branch, StochasticDepth(prob))
        return Changed(tuple(branch.end for branch in found), refused)


def put(model: nn.Module, branch: Branch, layer: StochasticDepth) -> None:
    """`layer` at the end of the branch: in the block's own place for it, or behind a module."""
    layer.train(model.training)
    if branch.slot:
        replace(model, branch.end, layer)
    else:
        after(model.get_submodule(branch.end), layer, "stochastic_depth")

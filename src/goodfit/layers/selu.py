"""An ELU scaled so that deep nets without normalization keep mean 0 and variance 1 by themselves.

    f(x) = scale * x for x > 0, scale * alpha * (exp(x) - 1) otherwise
    scale = 1.0507009873554805,  alpha = 1.6732632423543772

At test time it is the same function; nothing is random.

It holds under three conditions, so they are checked or named: weights of variance 1 / fan_in
(init `lecun`), `alpha-dropout` in the place of dropout, and no batch norm, which would undo it;
a model with batch norm is refused. CIFAR-10 (see the page of relu): 93.0 / 93.2 / 93.9%.

Source: Klambauer et al. 2017, arXiv:1706.02515. Lecture: Activation Functions, SELU. The slide
has the cases the wrong way round: scale * x belongs to x > 0.
"""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from goodfit.errors import ModelError
from goodfit.layers._base import Activation, Changed


class Selu(Activation):
    def module(self) -> nn.Module:
        return nn.SELU()

    def __call__(self, model: nn.Module) -> Changed:
        norms = [name for name, m in model.named_modules() if isinstance(m, _BatchNorm)]
        if norms:
            raise ModelError(
                "SELU normalizes by itself; batch norm after it undoes that",
                at=norms[0],
                seen=f"{len(norms)} batch norms in {type(model).__name__}",
                fix="use `elu` here; or take a model without batch norm, with init `lecun` and "
                "`alpha-dropout` in the place of dropout",
            )
        plain = [name for name, m in model.named_modules() if _is_plain_dropout(m)]
        changed = super().__call__(model)
        warned = tuple((name, "plain dropout; SELU wants `alpha-dropout`") for name in plain)
        return changed._replace(refused=changed.refused + warned)


def _is_plain_dropout(module: nn.Module) -> bool:
    return "Dropout" in type(module).__name__ and "Alpha" not in type(module).__name__

"""Let every residual block start as the identity.

    y = x + F(x) with F = 0:   the last norm's gamma is zero; without a norm at the end of the
                               branch, the last layer's weight and bias are

Otherwise the variance doubles with each block. Where a norm follows the last convolution, its
gamma must be zeroed and not the convolution: a zero convolution before batch norm has gradients
hundreds of times too large. A branch that ends in a parameter of its own (LayerScale) is left
alone. Applied after an initialization of the weights. Hurts nets of one or two blocks a little:
they start as less.

Source: Goyal et al. 2017, arXiv:1706.02677 (gamma); Zhang et al. 2019, arXiv:1901.09321 (without
norms). Lecture: Weight Initialization, residual networks.
"""

import torch
from torch import Tensor, fx, nn

from goodfit.errors import ModelError
from goodfit.init import Init, Initialized, Weighted, left_alone
from goodfit.init._graph import additions, is_parameter, traced


class Residual(Init):
    @torch.no_grad()
    def __call__(self, model: nn.Module, images: Tensor | None = None) -> Initialized:
        graph = traced(model)
        ends = _by_name(model) if graph is None else _by_graph(model, graph)
        touched, own = [], []
        for place, module in ends:
            if module is None:
                own.append((place, "its branch ends in this parameter, which was left as it is"))
                continue
            for name, parameter in module.named_parameters(recurse=False):
                if name == "weight" or (name == "bias" and isinstance(module, Weighted)):
                    parameter.zero_()
                    touched.append(f"{place}.{name}")
        if not touched and not own:
            raise ModelError(
                "the model has no residual block",
                at=type(model).__name__,
                seen="no sum of a branch and a shortcut" if graph else "it cannot be traced",
                fix="remove this initialization",
            )
        named = {full for full, _ in own}
        rest = [pair for pair in left_alone(model, touched) if pair[0] not in named]
        others = tuple((full, "not the end of a residual branch") for full, _ in rest)
        return Initialized(tuple(dict.fromkeys(touched)), (*own, *others))


def _by_graph(model: nn.Module, graph: fx.Graph) -> list[tuple[str, nn.Module | None]]:
    """For every sum, the norm or layer at its branch's end; None for one with its own scale."""
    modules = dict(model.named_modules())
    found: dict[str, nn.Module | None] = {}
    for _, branch in additions(model, graph):
        node = branch
        while True:
            own = next((n for n in node.all_input_nodes if is_parameter(n)), None)
            if own is not None:  # LayerScale as a product, attention as a function
                found[_source(own)] = None
                break
            if node.op == "call_module":
                place = str(node.target)
                module = modules[place]
                if isinstance(module, Weighted) or _has_gamma(module):
                    found[place] = module
                    break
                if list(module.parameters()):  # LayerScale, attention: theirs to decide
                    found[place] = module.out_proj if hasattr(module, "out_proj") else None
                    break
            before = node.all_input_nodes
            if not before:
                break
            node = before[0]
    # attention modules end in their projection
    return [
        (f"{place}.out_proj" if hasattr(modules.get(place), "out_proj") else place, module)
        for place, module in found.items()
    ]


def _source(node: fx.Node) -> str:
    """The parameter's name that a value comes from."""
    while node.op != "get_attr":
        node = node.all_input_nodes[0]
    return str(node.target)


def _by_name(model: nn.Module) -> list[tuple[str, nn.Module | None]]:
    """For models that cannot be traced: blocks with a shortcut by name, and their last norm."""
    found: list[tuple[str, nn.Module | None]] = []
    for place, block in model.named_modules():
        own = dict(block.named_children())
        if not {"downsample", "shortcut", "skip"} & own.keys():
            continue
        ends = [
            (f"{place}.{name}", module)
            for name, module in own.items()
            if name not in ("downsample", "shortcut", "skip")
            and (isinstance(module, Weighted) or _has_gamma(module))
        ]
        found += ends[-1:]
    return found


def _has_gamma(module: nn.Module) -> bool:
    named = "norm" in type(module).__name__.lower()
    return named and isinstance(getattr(module, "weight", None), Tensor)

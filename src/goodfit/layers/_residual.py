"""Find the residual branches of any model: where they end, before they are added.

Blocks of timm and torchvision that know stochastic depth have a place for it, a `drop_path` or
`stochastic_depth`. In all others the block is traced symbolically, its children as black boxes:
a sum of which both sides depend on the same value is residual, and the side with more layers is
the branch.
"""

import operator
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import fx, nn

_SLOTS = ("drop_path", "stochastic_depth")  # how block attributes for it begin
_NO_SKIP = ("has_skip", "use_res_connect", "_is_residual", "apply_residual")
_SUMS = (operator.add, operator.iadd, torch.add)
_PROJECTIONS = ("down", "short", "skip", "proj", "ident", "match")  # names of skips with weights
_PRODUCTS = (operator.mul, operator.imul, torch.mul)


class Branch(NamedTuple):
    """One residual branch: its block, the module at its end, whether that is a place kept free."""

    block: str
    end: str
    slot: bool


def branches(model: nn.Module) -> tuple[list[Branch], tuple[tuple[str, str], ...]]:
    """All residual branches in the order of registration, and what was not usable and why."""
    found: list[Branch] = []
    refused: list[tuple[str, str]] = []
    inside: list[str] = []  # names of blocks that have slots; their insides are theirs
    for name, module in model.named_modules():
        if any(name.startswith(block) for block in inside) or isinstance(module, nn.Sequential):
            continue
        slots = _slots(module)
        if slots:
            inside.append(f"{name}." if name else "")
            ends = [f"{name}.{slot}".lstrip(".") for slot in slots if _skips(module)]
            found += [Branch(name, end, slot=True) for end in ends]
        elif any(True for _ in module.children()):
            for end, slot, why in _traced(module):
                where = f"{name}.{end}".lstrip(".")
                if why:
                    refused.append((where or "the model", why))
                elif not type(module).__module__.startswith("torch.nn."):
                    found.append(Branch(name or end, where, slot))
    return list(dict.fromkeys(found)), tuple(refused)


def _slots(block: nn.Module) -> list[str]:
    """The attributes that a block keeps for stochastic depth, filled or not."""
    known = [*block._modules, *(n for n, value in vars(block).items() if value is None)]
    return [n for n in known if n.startswith(_SLOTS) and not n.endswith(("prob", "rate", "es"))]


def _skips(block: nn.Module) -> bool:
    """Whether the block has a skip connection at all, as far as it says."""
    told = all(bool(getattr(block, name, True)) for name in _NO_SKIP)
    return told and getattr(block, "identity", block) is not None


class _Children(fx.Tracer):
    """Traces one forward; whatever it calls is a black box."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return True


def _traced(block: nn.Module) -> Iterator[tuple[str, bool, str]]:
    """(end of a branch, whether it is random depth already, why it cannot be used) per sum."""
    try:
        graph = _Children().trace(block)
    except Exception:  # data-dependent code: this block is no plain sum, and its parts come later
        return
    uses = [node.target for node in graph.nodes if node.op == "call_module"]
    for node in graph.nodes:
        sides = [a for a in node.args[:2] if isinstance(a, fx.Node)]
        if not _is_sum(node) or len(sides) < 2:
            continue
        first, second = ({*_above(side)} for side in sides)
        if not first & second:
            continue
        work = [_work(block, mine - other) for mine, other in ((first, second), (second, first))]
        longer = work.index(max(work))
        if work[0] == work[1] or not (min(work) == 0 or _is_projection(sides[1 - longer])):
            continue  # a sum of two branches, or of none
        end = _end(sides[longer])
        if end is None:
            yield "", False, "its branch ends in a function"
        elif _slots(block.get_submodule(end)):
            continue  # an earlier insertion; its turn comes
        elif _is_depth(block.get_submodule(end)):
            yield end, True, ""
        elif uses.count(end) > 1:
            yield end, False, "the module at the end of its branch is used more than once"
        else:
            yield end, False, ""


def _is_projection(node: fx.Node) -> bool:
    """Whether a skip connection with weights says that it is one."""
    return any(word in str(node.target).lower() for word in _PROJECTIONS)


def _is_sum(node: fx.Node) -> bool:
    if node.op == "call_method":
        return node.target in ("add", "add_")
    return node.op == "call_function" and node.target in _SUMS


def _is_depth(module: nn.Module) -> bool:
    return type(module).__name__ in ("StochasticDepth", "DropPath")


def _above(node: fx.Node) -> Iterator[fx.Node]:
    """The node and everything that it is computed from."""
    seen, todo = set(), [node]
    while todo:
        node = todo.pop()
        if node not in seen:
            seen.add(node)
            todo += node.all_input_nodes
            yield node


def _work(block: nn.Module, nodes: set[fx.Node]) -> int:
    """How many layers with weights these nodes call."""
    called = [block.get_submodule(str(n.target)) for n in nodes if n.op == "call_module"]
    layers = [m for module in called for m in module.modules()]
    return sum(1 for m in layers if any(True for _ in m.parameters(recurse=False)))


def _end(node: fx.Node) -> Any:
    """The module that ends the branch, seen through factors (layer scale)."""
    while node.op == "call_function" and node.target in _PRODUCTS:
        inner = [a for a in node.all_input_nodes if a.op != "get_attr"]
        if len(inner) != 1:
            return None
        node = inner[0]
    return node.target if node.op == "call_module" else None

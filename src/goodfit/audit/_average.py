"""Test one random module: does the average of its training outputs equal its evaluation?

Where the module's own code calls others after it has drawn (a function like F.dropout between two
layers), what these read is tested as well, before any nonlinearity of theirs bends it. Each then
reads what it reads in evaluation, so later places are judged by what was drawn since.
"""

from collections import Counter
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from goodfit.audit._forms import Average, Form, Mask, Projections, TwoPoints
from goodfit.audit._watch import Inputs, cloned, seeded, tensors

_LARGE = 1_000_000  # outputs and weights of a module that gets fewer draws
_OF_LARGE = 64
_LOOKS = 4  # draws that show at which places the module is random
OUTPUT = "its output"  # a place; the others are what the modules inside read

Values = dict[str, Tensor]  # by place, (n, values)


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
    return any(not _alike(flat(run(module, inputs)), first) for _ in range(tries - 1))


def averages(module: nn.Module, inputs: Inputs, draws: int, seed: int) -> dict[str, Average]:
    """Compare `draws` training outputs with evaluation, at every place where they differ.

    Places whose shapes differ cannot be compared and are left out. Forms are tried from the most
    to the least special; most give up at the first draws. Large modules cost more, and get at
    most _OF_LARGE draws.
    """
    inside = _Inside(module, inputs, seed)
    waiting, found = inside.expected, dict[str, Average]()
    if sum(v.numel() for v in (*waiting.values(), *module.parameters())) > _LARGE:
        draws = min(draws, _OF_LARGE)
    for form in (Mask, TwoPoints, Projections):
        tests = _tested({place: form(value) for place, value in waiting.items()}, inside, draws)
        found |= {place: test.result() for place, test in tests.items()}
        waiting = {place: value for place, value in waiting.items() if place not in found}
    return found


def _tested(tests: dict[str, Form], inside: "_Inside", draws: int) -> dict[str, Form]:
    """The tests that fitted all draws."""
    seeded(inside.seed)
    fitting, open_ = dict(tests), dict(tests)
    for _ in range(draws):
        if not open_:
            break
        drawn = inside.drawn()
        for place, test in list(open_.items()):
            if place in drawn and not test.takes(drawn[place]):
                del fitting[place], open_[place]
            elif test.is_enough():
                del open_[place]
    return fitting


class _Inside:
    """A module run again and again, with evaluation's inputs for the modules that it calls.

    expected: what evaluation gives at each place where training gives anything else.
    """

    def __init__(self, module: nn.Module, inputs: Inputs, seed: int) -> None:
        self.module, self.inputs, self.seed = module.eval(), inputs, seed
        self.replaced: dict[str, Inputs] = {}
        evaluated = self._run()
        self.zero = self._response_to_zero()
        places = self._random_places(evaluated)
        self.replaced = {p: evaluated[p] for p in places if p != OUTPUT}
        self.expected = {p: self._value(p, evaluated[p]) for p in places}

    def _random_places(self, evaluated: dict[str, Any]) -> list[str]:
        """The output and where else training differs from evaluation; not if shapes do."""
        fitting, random = set(evaluated), {OUTPUT}
        seeded(self.seed)
        for _ in range(_LOOKS):
            look = self._run(training=True)
            for place in tuple(fitting):
                if not _fits(look.get(place), evaluated[place]):
                    fitting.remove(place)
                elif not _alike(flat(look[place]), flat(evaluated[place])):
                    random.add(place)
        return [place for place in evaluated if place in fitting & random]

    def drawn(self) -> Values:
        """One draw of training, at all places."""
        run_ = self._run(training=True)
        return {p: self._value(p, run_[p]) for p in self.expected if p in run_}

    def _value(self, place: str, seen: Any) -> Tensor:
        return flat(seen) - self.zero if place == OUTPUT else flat(seen)

    def _response_to_zero(self) -> Tensor:
        """The output without input, where it is not random: a bias, which no factor scales."""
        nothing = Inputs(*(_zeroed(part) for part in self.inputs))
        seeded(self.seed)
        try:
            tested = flat(run(self.module, nothing))
            self.module.training = True
            trained = [flat(run(self.module, nothing)) for _ in range(2)]
        except Exception:  # a module may refuse zeros
            return torch.zeros(())
        finally:
            self.module.training = False
        constant = all(_alike(y, tested) for y in trained) and bool(tested.isfinite().all())
        return tested if constant else torch.zeros(())

    def _run(self, training: bool = False) -> dict[str, Any]:
        """What every module reads that the module's own code calls, and the output."""
        seen: dict[str, Any] = {}
        calls, depth = Counter[str](), [0]

        def enter(name: str, args: Any, kwargs: Any) -> Any:
            depth[0] += 1
            if depth[0] > 1:  # the code of an inner module calls this one
                return None
            calls[name] += 1
            place = f"what {name} reads" + (f" (call {calls[name]})" if calls[name] > 1 else "")
            seen[place] = Inputs(cloned(args), cloned(kwargs))
            known = self.replaced.get(place)
            if known is None or not _fits(known, seen[place]):
                return None
            return cloned(known.args), cloned(known.kwargs)

        def leave(*_: Any) -> None:
            depth[0] -= 1

        with ExitStack() as hooks:
            for name, inner in self.module.named_modules():
                if inner is self.module:
                    continue
                before = inner.register_forward_pre_hook(
                    lambda _, args, kwargs, name=name: enter(name, args, kwargs), with_kwargs=True
                )
                after = inner.register_forward_hook(leave)
                hooks.callback(before.remove)
                hooks.callback(after.remove)
            self.module.training = training  # of its own: what it holds is averaged
            try:
                seen[OUTPUT] = run(self.module, self.inputs)
            finally:
                self.module.training = False
        return seen


def _zeroed(value: Any) -> Any:
    zeros = cloned(value)
    for x in tensors(zeros):
        x.zero_()
    return zeros


def _fits(one: Any, other: Any) -> bool:
    return one is not None and flat(one).shape == flat(other).shape


def _alike(one: Tensor, other: Tensor) -> bool:
    """Equal, up to the noise of parallel sums."""
    if one.shape != other.shape:
        return False
    if not one.numel():
        return True
    return bool((one - other).abs().max() <= 1e-5 * other.abs().max().clamp_min(1e-30))

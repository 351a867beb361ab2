"""How much of a batch the probes work with: all of it, or less where a step would take long.

What the data are, how large batches are and what they hold is read from whole batches before.
"""

import time
from dataclasses import replace
from typing import Any

from torch import Tensor

from goodfit.check.program import Part, Program, reseed
from goodfit.check.work import Work, cut

STEP = 0.5  # seconds of this thread for a training step
FEWEST = 8  # images


def shorten(work: Work) -> None:
    """Go on with less of each batch where a training step takes long."""
    images = portion(work.program)
    if images is not None:
        program = work.program
        whole = max(len(x) for x, _ in program.train.batches if isinstance(x, Tensor))
        work.share = images / whole
        val = None if program.val is None else _cut(program.val, images)
        work.program = replace(program, train=_cut(program.train, images), val=val)
        work.most = 3 * images


def portion(program: Program) -> int | None:
    """Images of a batch whose step takes `STEP`, at least `FEWEST`; None: whole batches do."""
    x, y = program.train.batches[0]
    size = max((len(x) for x, _ in program.train.batches if isinstance(x, Tensor)), default=0)
    if size <= FEWEST or not isinstance(x, Tensor):
        return None
    try:
        took = min(_seconds(program, *cut(x, y, FEWEST)) for _ in range(2))
    except Exception:  # the dry run says where it raises
        return None
    most = int(FEWEST * STEP / max(took, 1e-9))
    return None if most >= size else max(FEWEST, most - most % 4)


def _seconds(program: Program, x: Any, y: Any) -> float:
    """Of a forward and a backward pass."""
    clone = program.clone()
    clone.model.train()
    reseed(program.seed)
    start = time.thread_time()
    clone.loss(clone.forward(x), y).backward()  # type: ignore[no-untyped-call]
    return time.thread_time() - start


def _cut(part: Part, images: int) -> Part:
    return replace(part, batches=[cut(x, y, images) for x, y in part.batches])

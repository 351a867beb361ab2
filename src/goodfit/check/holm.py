"""One false alarm in a hundred reports, not one in a hundred tests.

    sort p_1 <= ... <= p_m; keep p_i while p_i <= level / (m - i + 1)

A report runs many rules on many layers. Holm's step-down keeps the chance of any false alarm in
the whole report at `level`, whatever the tests' dependence.

Source: Holm 1979, "A simple sequentially rejective multiple test procedure".

>>> holm([0.001, 0.2, 0.004], tests=3, level=0.01)
[True, False, True]
>>> holm([0.004], tests=100, level=0.01)
[False]
"""

from collections.abc import Sequence


def holm(chances: Sequence[float], tests: int, level: float = 0.01) -> list[bool]:
    """Which of the p-values hold, when `tests` tests were made in all (shown here or not)."""
    tests = max(tests, len(chances))
    kept = [False] * len(chances)
    for rank, i in enumerate(sorted(range(len(chances)), key=chances.__getitem__)):
        if not chances[i] <= level / (tests - rank):
            break
        kept[i] = True
    return kept

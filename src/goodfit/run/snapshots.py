"""Snapshots: the weights at the end of every cycle of a schedule with restarts.

They are good and differ, so one run gives the members of an ensemble:
`goodfit ensemble RUN --members snapshots`.

Source: Huang et al. 2017, arXiv:1704.00109. Lecture: Model ensembles.
"""

from math import ceil
from typing import Any

from goodfit.schedules import SLACK


def snapshots_of(schedule: Any, steps: int) -> dict[int, str]:
    """Which updates end a cycle, and the names of the weights after them."""
    ends = schedule.ends() if hasattr(schedule, "ends") else ()
    return {
        ceil(end * steps - SLACK * steps): f"snapshot-{number:02d}"
        for number, end in enumerate(ends, 1)
    }

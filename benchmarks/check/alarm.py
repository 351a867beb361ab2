"""What a doctor says about a program, in the words of goodfit's rules."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Alarm:
    """One alarm: the rules that it amounts to, the place, and what it is called by its doctor.

    A doctor with other names for things gets every rule that its alarm can fairly stand for.
    """

    means: frozenset[str]
    where: str
    name: str
    fix: str = ""

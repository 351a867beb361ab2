"""What the probes saw: one typed record per probe, found by its type.

>>> from dataclasses import dataclass
>>> @dataclass(frozen=True)
... class Counted:
...     images: int
>>> Seen(Counted(3))[Counted].images
3
"""

from typing import TypeVar, cast

Record = TypeVar("Record")


class Seen:
    """Records by their type: `seen[Flow]` is the record that the probe of flow left."""

    def __init__(self, *records: object) -> None:
        self._records: dict[type, object] = {type(record): record for record in records}

    def __getitem__(self, kind: type[Record]) -> Record:
        return cast(Record, self._records[kind])

    def __contains__(self, kind: type) -> bool:
        return kind in self._records

    def get(self, kind: type[Record]) -> Record | None:
        """The record of this type, or None when its probe did not run or gave up."""
        return cast("Record | None", self._records.get(kind))

    def add(self, record: object) -> None:
        """Add what another probe saw."""
        self._records[type(record)] = record

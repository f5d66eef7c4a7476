"""What is due of keys, by what their records say: planned by whoever writes a record, before it is written.

Invariants: a record never names a time at which nobody looks; a schedule by expiry follows the version that the same
record shows as current, whoever changed that. The cost for a key without times is nothing.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from core.domain.keys import KeyClass, VirtualKey
from core.domain.rotation_schedules import kept_up
from core.domain.schedulable import AnyKey, current_life
from core.domain.source_keys import SourceKey
from core.ports import OrderedIndex
from core.services.due_times import position

ROTATIONS = "due/rotations"
RETIREMENTS = "due/retirements"


def in_step[Key: (VirtualKey, SourceKey)](key: Key) -> Key:
    """Return the record with a schedule that follows its current version."""
    schedule = kept_up(key.schedule, current_life(key))
    return key if schedule is key.schedule else replace(key, schedule=schedule)


def entry_of(key: AnyKey) -> Mapping[str, object]:
    """Return what a tree of due times holds of a key."""
    class_ = KeyClass.SOURCE if isinstance(key, SourceKey) else KeyClass.VIRTUAL
    return {"account": key.account, "group": key.group, "key": key.id, "class": class_.value}


class DueKeys:
    """The trees of keys' due times."""

    def __init__(self, index: OrderedIndex) -> None:
        self._index = index

    async def plan(self, keys: Iterable[AnyKey]) -> None:
        """Enter every time that the records are about to name."""
        trees: dict[str, dict[str, Mapping[str, object] | None]] = defaultdict(dict)
        for key in keys:
            if key.schedule is not None and key.schedule.next_on is not None:
                trees[ROTATIONS][position(key.schedule.next_on, key.id)] = entry_of(key)
            for retirement in key.retirements:
                trees[RETIREMENTS][position(retirement.on, key.id)] = entry_of(key)
        for tree, entries in trees.items():
            await self._index.apply(tree, entries)
